/*
 * compensate.h - error feedback into block formats: rounding that knows what the inputs look like
 *
 * A row w of a linear layer with input second moments H = E[x x^T] loses (w - q) H (w - q)^T when
 * it is replaced by q. Rounding column after column, each rounding error is pushed into the columns
 * that are still to come, in the proportion that leaves this loss smallest; a block's scale is
 * chosen by running the whole sequential rounding of the block for every candidate and comparing
 * the exact contribution to the loss; a few sweeps of coordinate descent over codes, scales and
 * offsets follow. Layouts are those of blocks.h, so any reader of the format reads the result.
 *
 *     metric_new(h, n, TYPE_Q4_0, &options, &metric, err);
 *     compensate_rows(metric, w, n_rows, blocks, &loss, err);
 *
 * Notation: the columns are visited in an order of their own, fixed by the type's blocks and the
 * energies H_jj. In that order H' = V V^T with V upper triangular, U = V^-1, and the error
 * e = (w - q) U^-1 satisfies (w - q) H' (w - q)^T = sum_k e_k^2, where e_k depends on the columns
 * before k only.
 *
 * Sources: GPTQ, arXiv 2210.17323; QuIP (LDLQ), 2307.13304; Babai's nearest plane, 2507.18553;
 * QuantEase, 2309.01885; CDQuant, 2406.17542.
 */
#ifndef QUANTIZE_COMPENSATE_COMPENSATE_H
#define QUANTIZE_COMPENSATE_COMPENSATE_H

#include "base/base.h"
#include "formats/blocks/blocks.h"

struct metric;

/* H' = (1 - shrink) H + shrink diag(H) + damping * mean(diag H) * I */
struct metric_options {
    double
        shrink; /* of the off-diagonal part: sampling noise in correlations; 0.1 is usual */
    double damping;  /* protects directions the calibration never visited; 0.1 is usual */
    unsigned sweeps; /* of coordinate descent after the feedback; 3 take most of it */
};

/* True for the types compensate_rows() writes: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K. */
bool compensate_can(enum block_type type);

/* Prepare the metric of one input: h is n x n, symmetric, row by row, finite, with a non-negative
 * diagonal; an all-zero diagonal (an expert never routed to) means the identity. n must be whole
 * blocks of `type`. When the factorisation fails, damping is raised tenfold, up to three times
 * (log_warn says so). Deterministic; parallel; n^3 / 3 multiply-adds in float64.
 * Memory: 24 n^2 bytes while building, 8 n^2 afterwards. ERR_NOMEM; ERR_CORRUPT when h is not
 * finite or not positive semi-definite. */
MUST_CHECK enum status metric_new(const float *h, size_t n, enum block_type type,
                                  const struct metric_options *options,
                                  struct metric **out, struct error *err);
void metric_free(struct metric *metric); /* NULL is fine */

/* Round n_rows rows of n columns of w into blocks at `out` (n_rows * block_row_bytes). *loss, when
 * wanted, is the sum over rows of (w - q) H' (w - q)^T. Parallel over rows; the bytes depend on w
 * and the metric alone. ERR_NOMEM. */
MUST_CHECK enum status compensate_rows(const struct metric *metric, const float *w,
                                       size_t n_rows, void *out, double *loss,
                                       struct error *err);

/* Sum over rows of (w - q) h (w - q)^T for n_rows rows, in float64: what a rounding costs on
 * moments h it may not have been made with. Parallel, deterministic. ERR_NOMEM. */
MUST_CHECK enum status layer_loss(const float *h, size_t n, const float *w,
                                  const float *q, size_t n_rows, double *loss,
                                  struct error *err);

#endif
