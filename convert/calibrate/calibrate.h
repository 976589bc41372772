/*
 * calibrate.h - what the inputs of a model's products look like on a text
 *
 * Runs token chunks through a model and files, from the same inputs: an importance matrix (sums of
 * squares a column, the form llama-quantize reads) and, when wanted, full second moments (H, see
 * formats/moments), in as many passes over the text as memory asks for. One chunk in
 * `held_every` is kept apart, to choose damping with and to judge by.
 */
#ifndef CONVERT_CALIBRATE_CALIBRATE_H
#define CONVERT_CALIBRATE_CALIBRATE_H

#include "base/base.h"
#include "formats/model/model.h"
#include "runtime/runtime.h"

struct calibrate_text {
    const int32_t *ids; /* n_chunks * n_ctx, each chunk a context of its own */
    size_t n_chunks;
    uint32_t n_ctx;
    const char *const *names; /* of the texts, for the record */
    size_t n_names;
};

struct calibrate_options {
    const char *imatrix; /* file to write, or NULL */
    bool legacy;         /* the importance matrix in the older .dat form */
    const char *moments; /* file to write, or NULL */
    unsigned held_every; /* 8: every eighth chunk; 0: none */
    uint64_t max_memory; /* bytes for moments in hand at once; 0: 2 GiB */
    bool force;
    enum arithmetic arithmetic;
};

/* What was seen. */
struct calibrate_report {
    uint64_t tokens, held_tokens;
    size_t n_weights, n_inputs;
    size_t n_unseen; /* matrices (experts counted singly) that no token reached */
    size_t n_thin;   /* experts that saw less than a twentieth of their layer's mean */
    unsigned passes; /* over the text */
};

/* Run and write. Unseen and thin matrices are named by log_warn, at most a few, with what will be
 * done about them. ERR_CORRUPT names a weight whose input is not finite; errors of the runtime and
 * of files as they are; ERR_INTERRUPTED. Files are whole or not there. The result depends on the
 * model, the text and `arithmetic` only. */
MUST_CHECK enum status calibrate_run(const struct model *model,
                                     const struct calibrate_text *text,
                                     const struct calibrate_options *options,
                                     const struct progress *progress,
                                     struct calibrate_report *report, struct error *err);

#endif
