/*
 * packed_exact.c - codes that a GGUF block type can hold as they are
 *
 *     weight = scale * (code - 8)        Q4_0   d = scale
 *     weight = scale * code + bias       Q4_1   d = scale, m = bias
 *
 * in groups of whole blocks of 32 columns, where f16 holds every scale and bias. Then repacking
 * moves nibbles and rounds nothing.
 */
#include "convert/checkpoint/packed.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 32, LOOK_ROWS = 64 };

static void repack_nibbles(const struct packed *p, const struct window *windows,
                           uint64_t row, uint64_t first, uint8_t out[BLOCK / 2])
{
    for (uint64_t i = 0; i < BLOCK / 2; i++) {
        const unsigned low = p->code(p, windows, row, first + i);
        const unsigned high = p->code(p, windows, row, first + BLOCK / 2 + i);

        out[i] = (uint8_t)(low | high << 4);
    }
}

static void repack_q4_0(const struct packed *p, const struct window *windows,
                        uint64_t row, void *out)
{
    struct q4_0 *blocks = out;

    for (uint64_t b = 0; b < p->cols / BLOCK; b++) {
        struct q4_0 block;
        float scale, bias;

        p->constants(p, windows, row, b * BLOCK / p->group, &scale, &bias);
        block.d = f16_from_f32(scale);
        repack_nibbles(p, windows, row, b * BLOCK, block.q);
        memcpy(&blocks[b], &block, sizeof(block));
    }
}

static void repack_q4_1(const struct packed *p, const struct window *windows,
                        uint64_t row, void *out)
{
    struct q4_1 *blocks = out;

    for (uint64_t b = 0; b < p->cols / BLOCK; b++) {
        struct q4_1 block;
        float scale, bias;

        p->constants(p, windows, row, b * BLOCK / p->group, &scale, &bias);
        block.d = f16_from_f32(scale);
        block.m = f16_from_f32(bias);
        repack_nibbles(p, windows, row, b * BLOCK, block.q);
        memcpy(&blocks[b], &block, sizeof(block));
    }
}

/* What the scales of some rows allow. */
struct finding {
    bool centred; /* every bias is -8 scales: Q4_0 */
    bool scales_fit, biases_fit;
};

static void look_at(const struct packed *p, const struct window *windows, uint64_t row,
                    struct finding *found)
{
    const uint64_t n_groups = (p->cols + p->group - 1) / p->group;

    for (uint64_t g = 0; g < n_groups; g++) {
        float scale, bias;

        p->constants(p, windows, row, g, &scale, &bias);
        found->centred &= bias == -8.0f * scale;
        found->scales_fit &= packed_fits_f16(scale);
        found->biases_fit &= packed_fits_f16(bias);
    }
}

enum status packed_find_exact(struct packed *p, const char *weight,
                              enum block_type *exact, struct error *err)
{
    struct finding found = {true, true, true};
    enum status st = OK;

    *exact = TYPE_F32;
    p->repack = NULL;
    if (p->bits != 4 || p->sections[GROUPS].raw || p->group % BLOCK != 0 ||
        p->cols % BLOCK != 0)
        return OK;
    for (uint64_t row = 0; row < p->rows && st == OK; row += LOOK_ROWS) {
        const uint64_t n = p->rows - row < LOOK_ROWS ? p->rows - row : LOOK_ROWS;
        struct window windows[N_SECTIONS];
        void *raw = NULL;

        st = packed_look(p, row, n, &raw, windows, err);
        for (uint64_t r = row; r < row + n && st == OK; r++)
            look_at(p, windows, r, &found);
        free(raw);
    }
    if (st != OK)
        return st;
    if (!found.scales_fit)
        log_warn("%s: a scale is not representable in f16; the tensor is decoded and "
                 "rounded anew",
                 weight);
    else if (found.centred)
        *exact = TYPE_Q4_0;
    else if (found.biases_fit)
        *exact = TYPE_Q4_1;
    if (*exact != TYPE_F32)
        p->repack = found.centred ? repack_q4_0 : repack_q4_1;
    return OK;
}
