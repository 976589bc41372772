/*
 * fields.c - typed fields of a config
 */
#include "convert/gemma/fields.h"

#include <math.h>
#include <stdlib.h>

const json_t *field_find(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(json_object_get(config, "text_config"), key);

    if (!value || json_is_null(value))
        value = json_object_get(config, key);
    return json_is_null(value) ? NULL : value;
}

bool field_exists(const json_t *config, const char *key)
{
    return json_object_get(json_object_get(config, "text_config"), key) ||
           json_object_get(config, key);
}

/* "hidden_size is -32 (a whole number ... expected)" */
static enum status refuse(const json_t *value, const char *key, const char *expected,
                          struct error *err)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    const enum status st = fail(err, ERR_CORRUPT, "%s is %.60s (%s expected)", key,
                                text ? text : "something else", expected);

    free(text);
    return st;
}

enum status field_u32(const json_t *config, const char *key, int64_t absent,
                      uint32_t *out, struct error *err)
{
    const json_t *value = field_find(config, key);

    if (!value && absent == FIELD_REQUIRED)
        return fail(err, ERR_CORRUPT, "%s is missing", key);
    if (!value) {
        *out = (uint32_t)absent;
        return OK;
    }
    const json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || n > INT32_MAX)
        return refuse(value, key, "a whole number from 0 to 2147483647", err);
    *out = (uint32_t)n;
    return OK;
}

enum status field_f32(const json_t *config, const char *key, double absent, float *out,
                      struct error *err)
{
    const json_t *value = field_find(config, key);
    const double x = value ? json_number_value(value) : absent;

    if ((value && !json_is_number(value)) || !isfinite((float)x))
        return refuse(value, key, "a number", err);
    *out = (float)x;
    return OK;
}

enum status field_bool(const json_t *config, const char *key, bool absent, bool *out,
                       struct error *err)
{
    const json_t *value = field_find(config, key);

    if (value && !json_is_boolean(value))
        return refuse(value, key, "true or false", err);
    *out = value ? json_is_true(value) : absent;
    return OK;
}
