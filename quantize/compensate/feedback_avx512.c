/*
 * feedback_avx512.c - rounding with error feedback, the same body built for AVX-512
 */
#include "quantize/compensate/feedback_body.h"

const struct feedback_core feedback_avx512 = {.name = "avx512", .round = round_tile};
