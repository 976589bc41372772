/*
 * kernels_neon.h - the parts of the NEON tables, one file a group; private to this folder
 */
#ifndef RUNTIME_KERNELS_KERNELS_NEON_H
#define RUNTIME_KERNELS_KERNELS_NEON_H

#include "runtime/kernels/kernel_table.h"

/* tiles_neon.c */
void neon_widen_f16(const void *in, float *x, size_t n);
void neon_widen_bf16(const void *in, float *x, size_t n);
void neon_tile(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
               size_t n_tokens, size_t n, float out[][TILE_ROWS]);
void neon_add_values(const float *p, const float *carry, size_t n_rows,
                     const float *const *v, size_t n_cells, size_t n, float *acc);
double neon_spin_f32(size_t n, float *sink);

/* dots_neon.c */
extern dot_function *const neon_dot[TYPE_COUNT];
double neon_spin_integer(size_t n, float *sink);

/* dotprod_neon.c, which needs SDOT */
extern dot_function *const dotprod_dot[TYPE_COUNT];
void dotprod_pack(struct panel *panel, const uint8_t *const rows[PANEL_ROWS],
                  size_t first);
void dotprod_panel(const struct panel *panel, const struct rounded *x, size_t first,
                   size_t n_tokens, float y[][PANEL_ROWS]);
double dotprod_spin_integer(size_t n, float *sink);

/* i8mm_neon.c, which needs SMMLA */
void i8mm_panel(const struct panel *panel, const struct rounded *x, size_t first,
                size_t n_tokens, float y[][PANEL_ROWS]);
double i8mm_spin_integer(size_t n, float *sink);

#endif
