/*
 * test_golden.c - every member of the family to every type, tensor by tensor the bytes of llama.cpp
 *
 * data/golden/<member>/gguf.inventory.json says what convert_hf_to_gguf.py wrote, and
 * quantize.inventory.json what llama-quantize made of that.
 */
#include "convert/convert.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const members[] = {
    "e2b",
    "e4b",
    "31b",
    "26b-a4b",
    "12b",
    "e2b-assistant",
    "12b-assistant",
    "31b-assistant",
    "gemma3-text",
    "gemma3-4b",
    "embeddinggemma",
};

enum { N_MEMBERS = sizeof(members) / sizeof(members[0]) };

static json_t *inventory(const char *member, const char *which)
{
    char path[512];
    json_t *tree = NULL;
    struct error err = {0};

    snprintf(path, sizeof(path), "%s/golden/%s/%s.inventory.json", CARAT_DATA, member,
             which);
    cr_assert_eq(json_read_file(path, &tree, &err), OK, "%s", err.text);
    return tree;
}

/* The member as one file of that type, in a folder of the test's own. */
static struct gguf *converted(const char *folder, const char *member, const char *type,
                              bool keep_dead)
{
    const struct convert_options options = {
        .type = type, .ple_inline = true, .force = true, .source.keep_dead = keep_dead};
    struct convert_result result;
    struct gguf *file = NULL;
    struct error err = {0};
    char source[512], out[FIXTURE_PATH];

    snprintf(source, sizeof(source), "%s/golden/%s", CARAT_DATA, member);
    fixture_join(out, folder, "out.gguf");
    cr_assert_eq(convert_run(source, out, &options, NULL, &result, &err), OK, "%s %s: %s",
                 member, type, err.text);
    convert_result_free(&result);
    cr_assert_eq(gguf_open(out, &file, &err), OK, "%s", err.text);
    return file;
}

/* "Q4_0 0123...": a tensor's type and the first n digits of its bytes' SHA-256. */
static void describe(const struct gguf *file, const struct gguf_tensor *t,
                     size_t n_digits, char text[128])
{
    void *bytes = malloc((size_t)t->n_bytes);
    uint8_t digest[32];
    char hex[65];
    struct error err = {0};

    cr_assert_eq(
        file_read(gguf_file(file, 0), t->offset, bytes, (size_t)t->n_bytes, &err), OK,
        "%s", err.text);
    sha256_bytes(bytes, (size_t)t->n_bytes, digest);
    sha256_hex(digest, hex);
    snprintf(text, 128, "%s %.*s", block_type_name(t->type), (int)n_digits, hex);
    free(bytes);
}

static const struct gguf_tensor *find(const struct gguf *file, const json_t *entry)
{
    return gguf_find(file, json_string_value(json_object_get(entry, "name")));
}

/* Types of llama-quantize that this project writes. */
static const char *const quantized[] = {"Q4_0",   "Q4_1",   "Q5_0",   "Q5_1", "Q8_0",
                                        "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K"};

/* Every tensor of the file is as the inventory says; returns how many of the inventory's are not
 * in the file. */
static size_t expect_quantized(const struct gguf *file, const json_t *tensors,
                               const char *type)
{
    size_t n_absent = 0, i;
    const json_t *entry;
    char is[128];

    json_array_foreach(tensors, i, entry)
    {
        const json_t *every = json_object_get(entry, "every");
        const char *want =
            json_string_value(every ? every : json_object_get(entry, type));
        const struct gguf_tensor *t = find(file, entry);

        if (!t) {
            n_absent++;
            continue;
        }
        describe(file, t, 32, is);
        cr_expect_str_eq(is, want, "%s to %s: %s: %s (%s)",
                         json_string_value(json_object_get(entry, "name")), type, t->name,
                         is, want);
    }
    cr_expect_eq(gguf_count(file) + n_absent, json_array_size(tensors));
    return n_absent;
}

static void quantizes_as_llama_quantize(const char *member)
{
    json_t *tree = inventory(member, "quantize");
    const json_t *tensors = json_object_get(tree, "tensors");
    char folder[FIXTURE_PATH];

    fixture_folder(folder);
    for (size_t i = 0; i < sizeof(quantized) / sizeof(quantized[0]); i++) {
        struct gguf *file = converted(folder, member, quantized[i], true);

        cr_expect_eq(expect_quantized(file, tensors, quantized[i]), 0, "%s %s", member,
                     quantized[i]);
        gguf_close(file);
    }
    fixture_remove(folder);
    json_decref(tree);
}

Test(golden, e2b_quantizes_as_with_llama_quantize)
{
    quantizes_as_llama_quantize("e2b");
}

Test(golden, e4b_quantizes_as_with_llama_quantize)
{
    quantizes_as_llama_quantize("e4b");
}

Test(golden, dense_31b_quantizes_as_with_llama_quantize)
{
    quantizes_as_llama_quantize("31b");
}

Test(golden, experts_quantize_as_with_llama_quantize)
{
    quantizes_as_llama_quantize("26b-a4b");
}

Test(golden, unified_12b_quantizes_as_with_llama_quantize)
{
    quantizes_as_llama_quantize("12b");
}

/* Dead tensors count when types are handed out, as they do for llama-quantize. */
Test(golden, dropping_dead_tensors_changes_no_other)
{
    json_t *tree = inventory("e2b", "quantize");
    char folder[FIXTURE_PATH];

    fixture_folder(folder);
    struct gguf *file = converted(folder, "e2b", "Q4_K_M", false);
    cr_expect_eq(expect_quantized(file, json_object_get(tree, "tensors"), "Q4_K_M"), 9);
    gguf_close(file);
    fixture_remove(folder);
    json_decref(tree);
}

/* ---- the converter's own types ---- */

/* The table ends the single file here; the converter leaves it where the source has it. */
static void expect_order(const struct gguf *file, const json_t *tensors)
{
    const char *table = "per_layer_token_embd.weight";
    size_t at = 0, i;
    const json_t *entry;

    json_array_foreach(tensors, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));

        if (strcmp(name, table) != 0)
            cr_expect_str_eq(gguf_at(file, at++)->name, name);
    }
}

static void expect_converted(const struct gguf *file, const json_t *tensors,
                             const char *outtype)
{
    size_t i;
    const json_t *entry;
    char is[128], want[128];

    cr_expect_eq(gguf_count(file), json_array_size(tensors));
    json_array_foreach(tensors, i, entry)
    {
        const json_t *as = json_object_get(entry, outtype);
        const struct gguf_tensor *t = find(file, entry);

        cr_assert_not_null(t);
        describe(file, t, 64, is);
        snprintf(want, sizeof(want), "%s %s",
                 json_string_value(json_object_get(as, "type")),
                 json_string_value(json_object_get(as, "sha256")));
        cr_expect_str_eq(is, want, "%s as %s: %s (%s)", t->name, outtype, is, want);
    }
}

Test(golden, f32_f16_and_bf16_are_the_converter_s)
{
    static const struct {
        const char *type, *outtype;
    } cases[] = {{"F32", "f32"}, {"F16", "f16"}, {"BF16", "bf16"}};
    char folder[FIXTURE_PATH];

    fixture_folder(folder);
    for (int m = 0; m < N_MEMBERS; m++) {
        json_t *tree = inventory(members[m], "gguf");
        const json_t *tensors = json_object_get(tree, "tensors");

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct gguf *file = converted(folder, members[m], cases[i].type, true);

            expect_converted(file, tensors, cases[i].outtype);
            expect_order(file, tensors);
            gguf_close(file);
        }
        json_decref(tree);
    }
    fixture_remove(folder);
}

/* ---- metadata ---- */

static const struct {
    const char *name;
    enum gguf_type type;
} type_names[] = {{"uint32", GGUF_U32},
                  {"int32", GGUF_I32},
                  {"float32", GGUF_F32},
                  {"bool", GGUF_BOOL},
                  {"string", GGUF_STRING}};

static enum gguf_type type_of(const char *name)
{
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
        if (strcmp(type_names[i].name, name) == 0)
            return type_names[i].type;
    cr_assert_fail("%s", name);
    return GGUF_U8;
}

static void expect_element(const struct gguf_value *is, uint64_t i, const json_t *want)
{
    if (json_is_string(want))
        cr_expect_str_eq(gguf_value_str(is, i).text, json_string_value(want), "%s",
                         is->key);
    else if (json_is_boolean(want))
        cr_expect_eq(gguf_value_int(is, i), json_is_true(want), "%s", is->key);
    else
        cr_expect_eq(gguf_value_real(is, i), json_number_value(want), "%s[%zu]", is->key,
                     (size_t)i);
}

static void expect_value(const struct gguf_value *is, const json_t *want)
{
    static const char array[] = "array of ";
    const char *type = json_string_value(json_object_get(want, "type"));
    const json_t *value = json_object_get(want, "value");
    const bool is_array = strncmp(type, array, strlen(array)) == 0;

    if (is_array) {
        cr_expect_eq(is->type, GGUF_ARRAY, "%s", is->key);
        cr_expect_eq(is->element, type_of(type + strlen(array)), "%s", is->key);
        cr_expect_eq(is->count,
                     (uint64_t)json_integer_value(json_object_get(want, "count")), "%s",
                     is->key);
        for (size_t i = 0; i < json_array_size(value); i++)
            expect_element(is, i, json_array_get(value, i));
    } else {
        cr_expect_eq(is->type, type_of(type), "%s", is->key);
        if (value) /* long texts are given by their hash */
            expect_element(is, 0, value);
    }
}

/* The converter could not read the small vocabulary for an older architecture: those inventories
 * have no tokenizer.* keys. */
static bool is_our_own(const char *key, const json_t *inventory)
{
    const bool has_vocabulary = json_object_get(inventory, "tokenizer.ggml.tokens");

    return strncmp(key, "carat.", strlen("carat.")) == 0 ||
           (!has_vocabulary && strncmp(key, "tokenizer.", strlen("tokenizer.")) == 0);
}

Test(golden, metadata_has_the_converter_s_keys_types_values_and_order)
{
    char folder[FIXTURE_PATH];

    fixture_folder(folder);
    for (int m = 0; m < N_MEMBERS; m++) {
        json_t *tree = inventory(members[m], "gguf");
        struct gguf *file = converted(folder, members[m], "BF16", true);
        const struct gguf_meta *meta = gguf_metadata(file);
        const char *key;
        json_t *want;
        size_t at = 0;

        json_object_foreach(json_object_get(tree, "kv"), key, want)
        {
            cr_assert_lt(at, gguf_meta_count(meta));
            const struct gguf_value *is = gguf_meta_at(meta, at++);
            cr_assert_str_eq(is->key, key, "%s: %s (%s)", members[m], is->key, key);
            expect_value(is, want);
        }
        for (; at < gguf_meta_count(meta); at++)
            cr_expect(
                is_our_own(gguf_meta_at(meta, at)->key, json_object_get(tree, "kv")));
        gguf_close(file);
        json_decref(tree);
    }
    fixture_remove(folder);
}
