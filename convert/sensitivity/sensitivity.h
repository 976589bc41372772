/*
 * sensitivity.h - what each tensor costs in each type: the file, and what it is measured on
 *
 * The file is text, a row a tensor and type:
 *
 *     carat-sensitivity  1
 *     source  Gemma 4 E2B                what was measured
 *     text    (SHA-256 of the texts)
 *     tokens  2040                       scored
 *     method  plain                      how tensors were rounded
 *     blk.0.attn_q.weight  Q4_K  3.1e-05  measured
 *     blk.0.attn_q.weight  Q6_K  1.9e-06  scaled
 *
 * Fields are separated by one tab. The third is the Kullback-Leibler divergence, in nats a token,
 * from the source to the source with this tensor alone rounded to this type. "measured" ran the
 * model; "scaled" is the measured one times the ratio of the squared errors of the weights, as
 * divergence is quadratic in small errors. '#' begins a comment.
 */
#ifndef CONVERT_SENSITIVITY_SENSITIVITY_H
#define CONVERT_SENSITIVITY_SENSITIVITY_H

#include "base/base.h"
#include "formats/model/model.h"
#include "quantize/quantize.h"

struct sensitivity_row {
    const char *tensor;
    enum block_type type;
    double kld;
    bool is_measured;
};

struct sensitivity {
    const char *source, *text, *method; /* never NULL */
    uint64_t n_tokens;
    struct sensitivity_row *rows; /* those of a tensor stand together */
    size_t n_rows;
    struct arena arena; /* owns the above */
};

/* ERR_USAGE when it is something else; ERR_CORRUPT names the line: a number that is not finite or
 * negative, a type that cannot be written, a row twice, rows of a tensor apart. */
MUST_CHECK enum status sensitivity_read(const char *path, struct sensitivity *out,
                                        struct error *err);
MUST_CHECK enum status sensitivity_write(const struct sensitivity *sensitivity,
                                         const char *path, bool force, struct error *err);

/* The rows of a tensor: the first, and how many; NULL when it was not measured. */
const struct sensitivity_row *sensitivity_find(const struct sensitivity *sensitivity,
                                               const char *tensor, size_t *n);

void sensitivity_free(struct sensitivity *sensitivity); /* a zeroed one is fine */

/* ---- trials ---- */

/* A model with one tensor rounded, the others as they are: what sensitivity is measured on.
 *
 *     trial_open(model, METHOD_PLAIN, &trial, err);
 *     trial_round(trial, i, TYPE_Q4_K, err);    run trial_model(trial), then the next
 *
 * Matrices are read once and kept, as long as the model does not map them; the per-layer table
 * never is: its rows are rounded as they are read. */
struct trial;

/* `model` is borrowed. Methods are those of quantize_rows(). ERR_NOMEM. */
MUST_CHECK enum status trial_open(const struct model *model, enum method method,
                                  struct trial **out, struct error *err);

/* The model as it is now. Its types change with trial_round(): open runtimes anew. */
const struct model *trial_model(const struct trial *trial);

/* True for tensors that may be given another type: matrices that are not norms nor routers. */
bool trial_is_free(const struct trial *trial, size_t i);

/* Round tensor i of the model to `type`, whose blocks its rows are whole numbers of; the one rounded
 * before is itself again. ERR_NOMEM; ERR_CORRUPT for a weight that is not finite; from reading. */
MUST_CHECK enum status trial_round(struct trial *trial, size_t i, enum block_type type,
                                   struct error *err);

/* Squared error of rounding to each of n types, summed over a sample of rows. */
MUST_CHECK enum status trial_errors(const struct trial *trial, size_t i,
                                    const enum block_type *types, size_t n,
                                    double *errors, struct error *err);

void trial_close(struct trial *trial); /* NULL is fine */

#endif
