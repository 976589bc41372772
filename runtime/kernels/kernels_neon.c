/*
 * kernels_neon.c - the tables for AArch64: plain, with SDOT, with SDOT and SMMLA
 */
#include "runtime/kernels/kernels_neon.h"
#include "runtime/kernels/row_math.h"

static const struct row_kernels rows_neon = {
    .exp_sum = row_exp_sum,
    .norm = row_norm,
    .rotate = row_rotate,
    .gelu_mul = row_gelu_mul,
    .softcap = row_softcap,
    .add = row_add,
    .mul = row_mul,
    .scale = row_scale,
    .add_scaled = row_add_scaled,
};

const struct kernels kernels_neon = {
    .name = "neon",
    .rows = &rows_neon,
    .widen_f16 = neon_widen_f16,
    .widen_bf16 = neon_widen_bf16,
    .tile = neon_tile,
    .round = row_round,
    .dot = neon_dot,
    .add_values = neon_add_values,
    .spin_f32 = neon_spin_f32,
    .spin_integer = neon_spin_integer,
};

const struct kernels kernels_neon_dotprod = {
    .name = "neon",
    .rows = &rows_neon,
    .widen_f16 = neon_widen_f16,
    .widen_bf16 = neon_widen_bf16,
    .tile = neon_tile,
    .round = row_round,
    .dot = dotprod_dot,
    .pack = dotprod_pack,
    .panel = dotprod_panel,
    .add_values = neon_add_values,
    .spin_f32 = neon_spin_f32,
    .spin_integer = dotprod_spin_integer,
};

const struct kernels kernels_neon_i8mm = {
    .name = "neon",
    .rows = &rows_neon,
    .widen_f16 = neon_widen_f16,
    .widen_bf16 = neon_widen_bf16,
    .tile = neon_tile,
    .round = row_round,
    .dot = dotprod_dot,
    .pack = dotprod_pack,
    .panel = i8mm_panel,
    .add_values = neon_add_values,
    .spin_f32 = neon_spin_f32,
    .spin_integer = i8mm_spin_integer,
};
