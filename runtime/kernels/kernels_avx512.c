/*
 * kernels_avx512.c - the AVX-512 tables, without and with VNNI
 *
 * Products of many tokens are 16 lanes wide. Integer panels need VNNI; without it they are AVX2's.
 * Everything else waits for memory and stays AVX2's as well.
 *
 * The BF16 instructions are not used: they round activations to 8 bits of mantissa and flush
 * denormals, so no other table could compute the same bits.
 */
#include "runtime/kernels/kernels_avx512.h"
#include "runtime/kernels/kernels_avx2.h"

const struct kernels kernels_avx512 = {
    .name = "avx512",
    .rows = &rows_avx2,
    .widen_f16 = avx2_widen_f16,
    .widen_bf16 = avx2_widen_bf16,
    .tile = avx512_tile,
    .round = avx2_round,
    .dot = avx2_dot,
    .few = avx2_few,
    .few_from = 2,
    .token_price = 0.24,
    .pack = avx2_pack,
    .panel = avx2_panel,
    .add_values = avx2_add_values,
    .spin_f32 = avx512_spin_f32,
    .spin_integer = avx2_spin_integer,
};

const struct kernels kernels_avx512_vnni = {
    .name = "avx512",
    .rows = &rows_avx2,
    .widen_f16 = avx2_widen_f16,
    .widen_bf16 = avx2_widen_bf16,
    .tile = avx512_tile,
    .round = avx2_round,
    .dot = avx2_dot,
    .few = avx512_few_vnni,
    .few_from = 1,
    .token_price = 0.14,
    .pack = avx2_pack,
    .panel = avx512_panel_vnni,
    .add_values = avx2_add_values,
    .spin_f32 = avx512_spin_f32,
    .spin_integer = avx512_spin_vnni,
};
