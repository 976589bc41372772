/*
 * tensor_compare.c - decode a tensor beside its source and measure how far it is
 *
 * The bound of a type is the largest error plain rounding can make in one weight, relative to the
 * largest magnitude a of what shares its scale, with the rounding of the stored scale (2^-11 of
 * a, twice where there is a minimum):
 *
 *     Q8_0   half a step of a / 127                                     1/254
 *     Q4_0   a whole step a / 8 where +a would need code 8              1/8
 *     Q5_0   likewise                                                   1/16
 *     Q4_1   half a step of a range up to 2 a                           1/15
 *     Q5_1   likewise                                                   1/31
 *     Q4_K   1/15, six-bit scale 15 * (2/15) / 126, six-bit minimum 1/126
 *     Q5_K   1/31, the same two
 *     Q6_K   a whole step a / 32, eight-bit scale 1/256
 *     F16, BF16   half a unit in the last place
 *
 * The RMS error of a tensor is far below it however codes were chosen, and far above it when
 * the tensor is another one, transposed, or permuted.
 *
 * One row of a quantized tensor may have four times that, but no more than a quarter of its blocks'
 * size: codes chosen by importance or with error feedback came to 1.6 times in the worst row of the
 * small models (Q8_0, two blocks a row), 0.7 times for Q4_0; a row of zeros errs by a third or more,
 * since 32 normal values have an RMS of half to a third of the largest.
 */
#include "verify/certify.h"

#include "quantize/quantize.h"

#include <math.h>
#include <stdlib.h>

enum { SLAB_WEIGHTS = 1 << 20 };

/* Rounding of a stored scale. */
#define HALF (1.0 / 2048.0)

static const struct {
    enum block_type type;
    uint32_t shared; /* weights that share the magnitude */
    uint32_t reach;  /* how often a weight can hold the stored scale, and the minimum's */
    double bound;
} bounds[] = {
    {TYPE_Q8_0, 32, 127, 1.0 / 254.0 + HALF},
    {TYPE_Q4_0, 32, 8, 1.0 / 8.0 + HALF},
    {TYPE_Q5_0, 32, 16, 1.0 / 16.0 + HALF},
    {TYPE_Q4_1, 32, 15 + 1, 1.0 / 15.0 + 3.0 * HALF},
    {TYPE_Q5_1, 32, 31 + 1, 1.0 / 31.0 + 3.0 * HALF},
    {TYPE_Q4_K, 256, 63 * 15 + 63, 1.0 / 15.0 + 3.0 / 126.0 + 3.0 * HALF},
    {TYPE_Q5_K, 256, 63 * 31 + 63, 1.0 / 31.0 + 3.0 / 126.0 + 3.0 * HALF},
    {TYPE_Q6_K, 256, 128 * 32, 1.0 / 32.0 + 1.0 / 256.0 + HALF},
    {TYPE_F16, 32, 1, HALF},
    {TYPE_BF16, 32, 0, 1.0 / 256.0},
};

/* Half the distance of the smallest halves: what a stored scale may be off by, however small it is. */
static const double LEAST_HALF = 0x1p-25;

/* Both tensors a slab of rows at a time. */
struct pair {
    enum block_type type, source_type;
    size_t n_cols, row_bytes, source_row_bytes;
    uint8_t *bytes, *source_bytes, *again; /* of one slab; `again` of one row */
    float *x, *source_x;                   /* of one row */
    uint32_t shared;
    double row_bound, reach;
    double error2, size2, n_groups, n_weights;
    bool is_exact, is_finite;
    uint64_t n_rows, n_different_rows;
    double row_share; /* of the worst row so far */
    uint64_t row;
};

/* What one row adds to the sums, as share of what its type allows. */
static void look_at_share(struct pair *pair, double error2, double size2, double n_groups)
{
    const double error = sqrt(error2 / fmax((double)pair->n_cols, 1.0));
    const double allowed =
        pair->row_bound * sqrt(size2 / fmax(n_groups, 1.0)) + pair->reach * LEAST_HALF;
    const double share = error > 0.0 ? error / allowed : 0.0;

    if (share > pair->row_share) {
        pair->row_share = share;
        pair->row = pair->n_rows;
    }
    pair->n_rows++;
}

static void add_row(struct pair *pair)
{
    double error2 = 0.0, size2 = 0.0, n_groups = 0.0;

    for (size_t first = 0; first < pair->n_cols; first += pair->shared) {
        size_t end =
            first + pair->shared < pair->n_cols ? first + pair->shared : pair->n_cols;
        double top = 0.0;

        for (size_t i = first; i < end; i++) {
            double e = (double)pair->x[i] - (double)pair->source_x[i];
            error2 += e * e;
            top = fmax(top, fabs((double)pair->source_x[i]));
        }
        size2 += top * top;
        n_groups += 1.0;
    }
    pair->error2 += error2;
    pair->size2 += size2;
    pair->n_groups += n_groups;
    pair->n_weights += (double)pair->n_cols;
    if (pair->row_bound > 0.0)
        look_at_share(pair, error2, size2, n_groups);
    pair->is_finite = pair->is_finite && isfinite(pair->error2);
}

static void look_at_row(struct pair *pair, const uint8_t *row, const uint8_t *source_row)
{
    block_decode(pair->type, row, pair->x, pair->n_cols);
    block_decode(pair->source_type, source_row, pair->source_x, pair->n_cols);
    add_row(pair);
    if (!pair->is_exact)
        return;
    if (pair->type == pair->source_type) {
        pair->n_different_rows += memcmp(row, source_row, pair->row_bytes) != 0;
        return;
    }
    quantize_rows(pair->type, METHOD_PLAIN, pair->source_x, 1, pair->n_cols, NULL,
                  pair->again);
    pair->n_different_rows += memcmp(row, pair->again, pair->row_bytes) != 0;
}

static enum status walk(struct pair *pair, const struct model *file, size_t i,
                        const struct model *source, size_t j, struct error *err)
{
    uint64_t n_rows = gguf_tensor_rows(&file->tensors[i]);
    uint64_t slab = SLAB_WEIGHTS / pair->n_cols > 0 ? SLAB_WEIGHTS / pair->n_cols : 1;

    for (uint64_t first = 0; first < n_rows; first += slab) {
        uint64_t n = n_rows - first < slab ? n_rows - first : slab;

        if (model_read_rows(file, i, first, n, pair->bytes, err) != OK ||
            model_read_rows(source, j, first, n, pair->source_bytes, err) != OK ||
            interrupt_check(err) != OK)
            return err->code;
        for (uint64_t r = 0; r < n; r++)
            look_at_row(pair, pair->bytes + r * pair->row_bytes,
                        pair->source_bytes + r * pair->source_row_bytes);
    }
    return OK;
}

static enum status pair_open(struct pair *pair, const char *name, struct error *err)
{
    size_t slab = SLAB_WEIGHTS / pair->n_cols > 0 ? SLAB_WEIGHTS / pair->n_cols : 1;

    pair->bytes = malloc(slab * pair->row_bytes);
    pair->source_bytes = malloc(slab * pair->source_row_bytes);
    pair->again = malloc(pair->row_bytes);
    pair->x = malloc(pair->n_cols * sizeof(*pair->x));
    pair->source_x = malloc(pair->n_cols * sizeof(*pair->source_x));
    if (!pair->bytes || !pair->source_bytes || !pair->again || !pair->x ||
        !pair->source_x)
        return fail(err, ERR_NOMEM, "%s: out of memory for its rows", name);
    return OK;
}

static void pair_close(struct pair *pair)
{
    free(pair->bytes);
    free(pair->source_bytes);
    free(pair->again);
    free(pair->x);
    free(pair->source_x);
}

static bool can_decode(enum block_type type)
{
    const struct block_info *info = block_type_info(type);
    return info && info->decode;
}

enum status tensor_compare(const struct model *file, size_t i, const struct model *source,
                           size_t j, bool exact, struct tensor_figures *out,
                           struct error *err)
{
    const struct gguf_tensor *a = &file->tensors[i], *b = &source->tensors[j];
    struct pair pair = {.type = a->type,
                        .source_type = b->type,
                        .n_cols = (size_t)a->ne[0],
                        .shared = 32,
                        .is_finite = true};
    enum status st;

    if (!can_decode(a->type) || !can_decode(b->type))
        return fail(err, ERR_UNSUPPORTED, "%s: %s cannot be decoded", a->name,
                    block_type_name(can_decode(a->type) ? b->type : a->type));
    *out = (struct tensor_figures){0};
    for (size_t k = 0; k < sizeof(bounds) / sizeof(bounds[0]); k++) {
        if (bounds[k].type != a->type || a->type == b->type)
            continue;
        out->bound = pair.row_bound = bounds[k].bound;
        pair.reach = bounds[k].reach;
        pair.shared = bounds[k].shared;
    }
    if (block_type_info(a->type)->is_quantized)
        pair.row_bound = fmin(4.0 * out->bound, 0.25);
    if (out->bound == 0.0 && a->type != b->type && block_type_info(a->type)->is_quantized)
        return fail(err, ERR_UNSUPPORTED,
                    "%s: how far rounding to %s may go is not known", a->name,
                    block_type_name(a->type));
    pair.is_exact = (exact || out->bound == 0.0) &&
                    (a->type == b->type || quantize_can(a->type, METHOD_PLAIN));
    pair.row_bytes = block_row_bytes(a->type, a->ne[0]);
    pair.source_row_bytes = block_row_bytes(b->type, b->ne[0]);
    st = pair_open(&pair, a->name, err);
    if (st == OK)
        st = walk(&pair, file, i, source, j, err);
    pair_close(&pair);
    if (st != OK)
        return st;

    double size = sqrt(pair.size2 / fmax(pair.n_groups, 1.0));
    double error = sqrt(pair.error2 / fmax(pair.n_weights, 1.0));
    out->error = size > 0.0 ? error / size : error;
    out->is_finite = pair.is_finite;
    out->n_different_rows = pair.n_different_rows;
    out->row_share = pair.row_share;
    out->row = pair.row;
    return OK;
}
