/*
 * feedback_scalar.c - rounding with error feedback, plain C: the definition
 */
#include <stdint.h>

enum { WIDTH = 4 };

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH)));

static inline vec pick(ivec mask, vec yes, vec no)
{
    return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask));
}

static inline vec vmin(vec a, vec b)
{
    return pick(a < b, a, b);
}

static inline vec vmax(vec a, vec b)
{
    return pick(a > b, a, b);
}

#include "quantize/compensate/feedback_body.h"

const struct feedback_core feedback_scalar = {.name = "scalar", .round = round_tile};
