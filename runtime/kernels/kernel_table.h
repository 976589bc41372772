/*
 * kernel_table.h - what an instruction set provides; private to this folder
 *
 * The scalar table is the definition (kernels.h states its orders of operations). The others
 * compute the same bits. What a table leaves NULL is done with the members that are never NULL.
 */
#ifndef RUNTIME_KERNELS_KERNEL_TABLE_H
#define RUNTIME_KERNELS_KERNEL_TABLE_H

#include "runtime/kernels/kernels.h"

enum {
    LANES = 8,         /* partial sums of a product in f32 */
    PIECE = 512,       /* columns after which the partial sums are added up */
    TILE_ROWS = 4,     /* weight rows in one call of tile() */
    TILE_TOKENS = 12,  /* token rows in one call of tile(), at most */
    BLOCK = 32,        /* columns that share one rounding of the activations */
    DOT_ROWS = 8,      /* weight rows in one call of dot() */
    PANEL_ROWS = 16,   /* weight rows of a panel */
    PANEL_BLOCKS = 32, /* blocks of 32 columns in a panel, at most */
    PANEL_TOKENS = 8,  /* token rows in one call of panel() or few(), at most */
    ATTEND_CELLS = 64, /* positions in a block of attention */
};

/* Activations rounded to 8 bits; row t of each array begins t * n_blocks elements further (q:
 * t * n_blocks * BLOCK). */
struct rounded {
    size_t n_blocks;
    int8_t *q;       /* x is about d * q; -127 <= q <= 127 */
    float *d;        /* one a block */
    float *dsum;     /* d * (sum of the block's q), one a block */
    int16_t *halves; /* sums of the block's first and last 16 q: two a block */
};

/* 16 rows by up to 1024 columns, decoded to bytes and interleaved so that one vector register
 * holds 4 columns of 8 or 16 rows. */
struct panel {
    _Alignas(64) uint8_t q[PANEL_BLOCKS][BLOCK / 4][PANEL_ROWS][4]; /* code + offset */
    _Alignas(64) float s[PANEL_BLOCKS][PANEL_ROWS];
    _Alignas(64) float m[PANEL_BLOCKS][PANEL_ROWS];
    _Alignas(
        64) int16_t halves[PANEL_BLOCKS][PANEL_ROWS][2]; /* Q6_K: scales of 16 columns */
    size_t n_blocks;
    enum block_type type;
    int n_steps; /* BLOCK / 4; a variable so that loops over steps stay loops: unrolled, they spill */
};

/* Rows of one matrix, at the blocks where a product goes on. */
struct dot_rows {
    const uint8_t *row[DOT_ROWS];
};

typedef void dot_function(const struct dot_rows *w, const struct rounded *x,
                          float y[DOT_ROWS]);

typedef void few_function(const uint8_t *const rows[PANEL_ROWS], const struct rounded *x,
                          size_t n_tokens, float y[][PANEL_ROWS]);

/* Functions of rows: the bodies of row_math.h, compiled for an instruction set. */
struct row_kernels {
    /* x = exp(x - max); returns the sum, 8 lanes and then their tree. */
    float (*exp_sum)(float *x, size_t n, float max);
    void (*norm)(const float *x, const float *weight, size_t n, float eps, float *y);
    void (*rotate)(float *x, size_t half, const float *cos, const float *sin);
    void (*gelu_mul)(const float *gate, const float *up, size_t n, float *y);
    void (*softcap)(float *x, size_t n, float cap);
    void (*add)(float *x, const float *y, size_t n);
    void (*mul)(float *x, const float *y, size_t n);
    void (*scale)(float *x, float s, size_t n);
    void (*add_scaled)(float *x, const float *y, float s, size_t n);
};

struct kernels {
    const char *name;
    const struct row_kernels *rows;

    /* F16 or BF16 to f32, exactly. */
    void (*widen_f16)(const void *in, float *x, size_t n);
    void (*widen_bf16)(const void *in, float *x, size_t n);

    /* out[t][r] = w[r] . (x + t * x_stride) over n columns, a multiple of 8, at most PIECE. */
    void (*tile)(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
                 size_t n_tokens, size_t n, float out[][TILE_ROWS]);

    /* Round n_blocks blocks of x into row 0 of out. */
    void (*round)(const float *x, size_t n_blocks, const struct rounded *out);

    /* y[r] gains the products of 8 rows with the whole row 0 of x, block by block. By type, of
     * TYPE_COUNT; NULL where there is no integer product. */
    dot_function *const *dot;

    /* y[t][r] gains the products of 16 whole rows with n_tokens whole rows of x, block by block. By
     * type, of TYPE_COUNT. May be NULL: few tokens are then products of single ones. */
    few_function *const *few;
    size_t few_from;    /* tokens from which on few() is faster than as many dot() */
    double token_price; /* kernels_token_price(); 0: not measured */

    /* Pack rows[0..15] from block `first` on; panel->type and ->n_blocks are set. May be NULL:
     * products of many tokens are then products of single ones. */
    void (*pack)(struct panel *panel, const uint8_t *const rows[PANEL_ROWS],
                 size_t first);
    /* y[t][r] gains the panel's products with n_tokens rows of x, from block `first` of x on. */
    void (*panel)(const struct panel *panel, const struct rounded *x, size_t first,
                  size_t n_tokens, float y[][PANEL_ROWS]);

    /* acc[r][0..n) = acc[r] * carry[r] + sum over j < n_cells of p[r * ATTEND_CELLS + j] * v[j],
     * fma in order of j; n is a multiple of 8. acc rows are `n` apart. */
    void (*add_values)(const float *p, const float *carry, size_t n_rows,
                       const float *const *v, size_t n_cells, size_t n, float *acc);

    /* Multiply and add on registers, n rounds; returns how many multiply-adds that were. *sink
     * gains a value, so that the work is not optimized away. */
    double (*spin_f32)(size_t n, float *sink);
    double (*spin_integer)(size_t n, float *sink);
};

extern const struct kernels kernels_scalar;
#if defined(CARAT_X86)
extern const struct kernels kernels_avx2, kernels_avx512, kernels_avx512_vnni;
#elif defined(CARAT_ARM)
extern const struct kernels kernels_neon, kernels_neon_dotprod, kernels_neon_i8mm;
#endif

#endif
