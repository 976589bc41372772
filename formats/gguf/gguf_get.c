/*
 * gguf_get.c - read values: strictly by type, or widened
 */
#include "formats/gguf/gguf_meta.h"

/* The packed scalar under `key` when it has exactly this type. */
static const void *scalar(const struct gguf_meta *meta, const char *key,
                          enum gguf_type type)
{
    const struct gguf_value *value = gguf_meta_find(meta, key);

    return value && value->type == type ? value->data : NULL;
}

bool gguf_get_str(const struct gguf_meta *meta, const char *key, struct gguf_str *out)
{
    const struct gguf_value *value = gguf_meta_find(meta, key);

    if (!value || value->type != GGUF_STRING)
        return false;
    *out = gguf_value_str(value, 0);
    return true;
}

bool gguf_get_u16(const struct gguf_meta *meta, const char *key, uint16_t *out)
{
    const void *data = scalar(meta, key, GGUF_U16);

    if (data)
        *out = load_u16(data);
    return data != NULL;
}

bool gguf_get_u32(const struct gguf_meta *meta, const char *key, uint32_t *out)
{
    const void *data = scalar(meta, key, GGUF_U32);

    if (data)
        *out = load_u32(data);
    return data != NULL;
}

bool gguf_get_i32(const struct gguf_meta *meta, const char *key, int32_t *out)
{
    const void *data = scalar(meta, key, GGUF_I32);

    if (data)
        *out = (int32_t)load_u32(data);
    return data != NULL;
}

bool gguf_get_f32(const struct gguf_meta *meta, const char *key, float *out)
{
    const void *data = scalar(meta, key, GGUF_F32);

    if (data)
        *out = load_f32(data);
    return data != NULL;
}

bool gguf_get_bool(const struct gguf_meta *meta, const char *key, bool *out)
{
    const uint8_t *data = scalar(meta, key, GGUF_BOOL);

    if (data)
        *out = *data != 0;
    return data != NULL;
}

int64_t gguf_value_int(const struct gguf_value *value, uint64_t i)
{
    const uint8_t *p = value->data;

    assert(i < value->count && p && "a number");
    p += i * gguf_type_bytes(value->element);
    switch (value->element) {
    case GGUF_U8:
    case GGUF_BOOL:
        return *p;
    case GGUF_I8:
        return (int8_t)*p;
    case GGUF_U16:
        return load_u16(p);
    case GGUF_I16:
        return (int16_t)load_u16(p);
    case GGUF_U32:
        return load_u32(p);
    case GGUF_I32:
        return (int32_t)load_u32(p);
    case GGUF_U64:
    case GGUF_I64:
        return (int64_t)load_u64(p);
    case GGUF_F32:
    case GGUF_F64:
    case GGUF_STRING:
    case GGUF_ARRAY:
        break;
    }
    assert(0 && "an integer or a bool");
    return 0;
}

double gguf_value_real(const struct gguf_value *value, uint64_t i)
{
    const uint8_t *p = value->data;
    double v;

    assert(i < value->count && p && "a number");
    if (value->element == GGUF_F32)
        return (double)load_f32(p + 4 * i);
    if (value->element == GGUF_U64)
        return (double)load_u64(p + 8 * i);
    if (value->element != GGUF_F64)
        return (double)gguf_value_int(value, i);
    memcpy(&v, p + 8 * i, sizeof(v));
    return v;
}

static bool is_real(enum gguf_type type)
{
    return type == GGUF_F32 || type == GGUF_F64;
}

bool gguf_get_int(const struct gguf_meta *meta, const char *key, int64_t *out)
{
    const struct gguf_value *value = gguf_meta_find(meta, key);

    if (!value || value->count == 0 || value->element == GGUF_STRING ||
        is_real(value->element))
        return false;
    *out = gguf_value_int(value, 0);
    return true;
}

bool gguf_get_real(const struct gguf_meta *meta, const char *key, double *out)
{
    const struct gguf_value *value = gguf_meta_find(meta, key);

    if (!value || value->type == GGUF_STRING || value->type == GGUF_ARRAY)
        return false;
    *out = gguf_value_real(value, 0);
    return true;
}

struct gguf_str gguf_value_str(const struct gguf_value *value, uint64_t i)
{
    uint64_t begin = i > 0 ? value->ends[i - 1] + 1 : 0;

    assert(i < value->count);
    return (struct gguf_str){value->text + begin, (size_t)(value->ends[i] - begin)};
}
