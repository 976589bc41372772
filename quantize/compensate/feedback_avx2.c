/*
 * feedback_avx2.c - rounding with error feedback, the same body built for AVX2
 */
#include "quantize/compensate/feedback_body.h"

const struct feedback_core feedback_avx2 = {.name = "avx2", .round = round_tile};
