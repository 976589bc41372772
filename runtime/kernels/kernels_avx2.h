/*
 * kernels_avx2.h - the parts of the AVX2 table, one file a group; private to this folder
 */
#ifndef RUNTIME_KERNELS_KERNELS_AVX2_H
#define RUNTIME_KERNELS_KERNELS_AVX2_H

#include "runtime/kernels/kernel_table.h"

/* kernels_avx2.c */
extern const struct row_kernels rows_avx2;
double avx2_spin_integer(size_t n, float *sink);

/* tiles_avx2.c */
void avx2_widen_f16(const void *in, float *x, size_t n);
void avx2_widen_bf16(const void *in, float *x, size_t n);
void avx2_tile(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
               size_t n_tokens, size_t n, float out[][TILE_ROWS]);
void avx2_add_values(const float *p, const float *carry, size_t n_rows,
                     const float *const *v, size_t n_cells, size_t n, float *acc);

/* dots_avx2.c */
void avx2_round(const float *x, size_t n_blocks, const struct rounded *out);
extern dot_function *const avx2_dot[TYPE_COUNT];

/* panels_avx2.c */
void avx2_pack(struct panel *panel, const uint8_t *const rows[PANEL_ROWS], size_t first);
void avx2_panel(const struct panel *panel, const struct rounded *x, size_t first,
                size_t n_tokens, float y[][PANEL_ROWS]);

/* few_avx2.c */
extern few_function *const avx2_few[TYPE_COUNT];

#endif
