/*
 * feedback_scalar.c - rounding with error feedback, plain C: the definition
 */
#include "quantize/compensate/feedback_body.h"

const struct feedback_core feedback_scalar = {.name = "scalar", .round = round_tile};
