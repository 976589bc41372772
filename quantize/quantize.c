/*
 * quantize.c - the door: rows of floats to rows of blocks
 */
#include "quantize/quantize.h"

#include "quantize/codec.h"

#include <math.h>

static rows_encoder *choose(const struct codec *codec, enum method method,
                            bool has_importance)
{
    switch (method) {
    case METHOD_PLAIN:
        return has_importance ? codec->weighted : codec->plain;
    case METHOD_SEARCH:
        return codec->search;
    case METHOD_GRID:
        return codec->grid;
    case METHOD_COMPENSATE:
        break;
    }
    return NULL;
}

bool quantize_can(enum block_type type, enum method method)
{
    return choose(codec_find(type), method, false);
}

void quantize_rows(enum block_type type, enum method method, const float *x,
                   size_t n_rows, size_t n_cols, const float *importance, void *out)
{
    rows_encoder *encode = choose(codec_find(type), method, importance != NULL);
    const struct rows_in in = {
        .encode = encoders_best(),
        .type = type,
        .x = x,
        .n_rows = n_rows,
        .n_cols = n_cols,
        .importance = importance,
    };

    assert(encode && n_cols % block_type_info(type)->weights == 0);
    encode(&in, out);
}

/* True when none of n values is infinite or NaN; without a branch, so that it vectorizes. */
static bool are_finite(const float *x, size_t n)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t bad = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof(bits));
        bad |= (bits & exponent) == exponent;
    }
    return bad == 0;
}

bool quantize_all_finite(const float *x, size_t n, size_t *at)
{
    enum { RUN = 1024 };

    for (size_t i = 0; i < n; i += RUN) {
        size_t count = n - i < RUN ? n - i : RUN;

        if (are_finite(x + i, count))
            continue;
        while (isfinite(x[i]))
            i++;
        *at = i;
        return false;
    }
    return true;
}
