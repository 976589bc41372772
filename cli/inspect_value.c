/*
 * inspect_value.c - metadata values for people and for machines
 */
#include "cli/inspect.h"

#include <inttypes.h>
#include <string.h>

enum { FEW = 64, FEW_BYTES = 1024, ELEMENT_BYTES = 80 };

static enum gguf_type element_type(const struct gguf_value *value)
{
    return value->type == GGUF_ARRAY ? value->element : value->type;
}

/* The lengths of shown strings and arrays stay below this. */
static bool is_short(const struct gguf_value *value)
{
    if (value->type == GGUF_STRING)
        return gguf_value_str(value, 0).n <= FEW_BYTES;
    return value->count <= FEW;
}

const char *shape_text(char text[SHAPE_TEXT], const uint64_t *dims, int n_dims)
{
    size_t at = 1;

    snprintf(text, SHAPE_TEXT, "[");
    for (int i = 0; i < n_dims && at + 24 < SHAPE_TEXT; i++)
        at += (size_t)snprintf(text + at, SHAPE_TEXT - at, "%s%" PRIu64, i ? ", " : "",
                               dims[i]);
    snprintf(text + at, SHAPE_TEXT - at, "]");
    return text;
}

const char *weights_text(char text[SHAPE_TEXT], uint64_t n)
{
    if (n >= 1000000000)
        snprintf(text, SHAPE_TEXT, "%.2f billion weights", (double)n * 1e-9);
    else if (n >= 1000000)
        snprintf(text, SHAPE_TEXT, "%.2f million weights", (double)n * 1e-6);
    else
        snprintf(text, SHAPE_TEXT, "%" PRIu64 " weights", n);
    return text;
}

/* Element i as text, strings in quotes; always NUL-terminated. */
static void element_text(char text[ELEMENT_BYTES], const struct gguf_value *value,
                         uint64_t i)
{
    struct gguf_str str;
    char shown[ELEMENT_BYTES - 8];

    switch (element_type(value)) {
    case GGUF_STRING:
        str = gguf_value_str(value, i);
        text_escape(shown, sizeof(shown), str.text, str.n);
        snprintf(text, ELEMENT_BYTES, "\"%s%s\"", shown,
                 str.n >= sizeof(shown) ? "..." : "");
        break;
    case GGUF_F32:
    case GGUF_F64:
        snprintf(text, ELEMENT_BYTES, "%.9g", gguf_value_real(value, i));
        break;
    case GGUF_BOOL:
        snprintf(text, ELEMENT_BYTES, "%s", gguf_value_int(value, i) ? "true" : "false");
        break;
    case GGUF_U64:
        snprintf(text, ELEMENT_BYTES, "%" PRIu64, (uint64_t)gguf_value_int(value, i));
        break;
    default:
        snprintf(text, ELEMENT_BYTES, "%" PRId64, gguf_value_int(value, i));
    }
}

void key_text(char *text, size_t size, const struct gguf_value *value)
{
    char element[ELEMENT_BYTES];
    size_t at = 1;

    if (value->type != GGUF_ARRAY) {
        element_text(element, value, 0);
        snprintf(text, size, "%s", element);
        return;
    }
    snprintf(text, size, "[");
    for (uint64_t i = 0; i < value->count; i++) {
        element_text(element, value, i);
        if (at + strlen(element) + 8 > size) {
            at += (size_t)snprintf(text + at, size - at, "%s...", i ? ", " : "");
            break;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : "", element);
    }
    snprintf(text + at, size - at, "]");
}

static json_t *element_json(const struct gguf_value *value, uint64_t i)
{
    const struct gguf_str str = element_type(value) == GGUF_STRING
                                    ? gguf_value_str(value, i)
                                    : (struct gguf_str){0};

    switch (element_type(value)) {
    case GGUF_STRING:
        return ui_json_text(str.text, str.n);
    case GGUF_U64: /* JSON's readers, and jansson, stop at 2^63 - 1 */
        if (gguf_value_int(value, i) < 0)
            return json_real((double)(uint64_t)gguf_value_int(value, i));
        return json_integer(gguf_value_int(value, i));
    case GGUF_F32:
    case GGUF_F64:
        return ui_json_real(gguf_value_real(value, i));
    case GGUF_BOOL:
        return json_boolean(gguf_value_int(value, i));
    default:
        return json_integer(gguf_value_int(value, i));
    }
}

static json_t *elements_json(const struct gguf_value *value)
{
    json_t *list = json_array();

    for (uint64_t i = 0; list && i < value->count; i++) {
        if (json_array_append_new(list, element_json(value, i)) == 0)
            continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

json_t *key_json(const struct gguf_value *value, bool is_full)
{
    const bool is_array = value->type == GGUF_ARRAY;
    json_t *tree = json_object();
    char type[16];
    int bad = 0;

    snprintf(type, sizeof(type), "%s%s", gguf_type_name(element_type(value)),
             is_array ? "[]" : "");
    bad |= json_object_set_new(tree, "type", json_string(type));
    if (is_array)
        bad |= json_object_set_new(tree, "count", json_integer((json_int_t)value->count));
    if (is_full || is_short(value))
        bad |= json_object_set_new(
            tree, "value", is_array ? elements_json(value) : element_json(value, 0));
    if (!bad)
        return tree;
    json_decref(tree);
    return NULL;
}

void metadata_print(const struct gguf_value *value)
{
    char element[ELEMENT_BYTES];

    for (uint64_t i = 0; i < value->count; i++) {
        if (element_type(value) == GGUF_STRING) {
            struct gguf_str str = gguf_value_str(value, i);

            fwrite(str.text, 1, str.n, stdout);
        } else {
            element_text(element, value, i);
            fputs(element, stdout);
        }
        fputc('\n', stdout);
    }
}
