/*
 * certify.h - how one tensor is held to its source (private to the room)
 */
#ifndef VERIFY_CERTIFY_H
#define VERIFY_CERTIFY_H

#include "verify/verify.h"

/* What reading a tensor of the file beside its source showed. */
struct tensor_figures {
    double error; /* RMS of the differences over RMS of the blocks' largest magnitudes */
    double bound; /* of its type, in the same measure; 0: must be equal */
    uint64_t n_different_rows; /* rows whose bytes are not those of plain rounding */
    bool is_finite;
    /* The worst row's RMS error over what its type allows a row, 0 without a bound; and which row,
     * counted through all matrices. */
    double row_share;
    uint64_t row;
};

/* Compare tensor i of `file` with tensor j of `source`, of the same shape. When `exact`, count rows
 * that plain rounding would have written otherwise. ERR_UNSUPPORTED for a type without a decoder or, where
 * it is not the source's, without a bound. */
MUST_CHECK enum status tensor_compare(const struct model *file, size_t i,
                                      const struct model *source, size_t j, bool exact,
                                      struct tensor_figures *out, struct error *err);

/* Add one finding. */
__attribute__((format(printf, 4, 5))) void certificate_add(struct certificate *out,
                                                           const char *check, bool holds,
                                                           const char *fmt, ...);

#endif
