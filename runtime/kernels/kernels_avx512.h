/*
 * kernels_avx512.h - the parts of the AVX-512 tables, one file a group; private to this folder
 */
#ifndef RUNTIME_KERNELS_KERNELS_AVX512_H
#define RUNTIME_KERNELS_KERNELS_AVX512_H

#include "runtime/kernels/kernel_table.h"

/* tiles_avx512.c */
void avx512_tile(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
                 size_t n_tokens, size_t n, float out[][TILE_ROWS]);
double avx512_spin_f32(size_t n, float *sink);

/* panels_avx512.c, which needs VNNI */
void avx512_panel_vnni(const struct panel *panel, const struct rounded *x, size_t first,
                       size_t n_tokens, float y[][PANEL_ROWS]);
double avx512_spin_vnni(size_t n, float *sink);

/* few_avx512.c, likewise */
extern few_function *const avx512_few_vnni[TYPE_COUNT];

#endif
