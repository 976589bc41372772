/*
 * calibrate.h - what the inputs of a model's products look like on a text
 *
 * Runs token chunks through a model and files, from the same inputs: an importance matrix (sums of
 * squares a column, the form llama-quantize reads) and, when wanted, full second moments (H, see
 * formats/moments). Goes from layer to layer (runtime's walk), so that memory holds one layer's
 * matrices and sums, however long the text and deep the model. Some chunks are kept apart, to choose
 * damping with and to judge by.
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
    const uint8_t *is_held;     /* of each chunk; NULL: none is held out */
    const char *const *names;   /* of the texts, for the record */
    const char *const *digests; /* SHA-256 of each, in hex; or NULL */
    size_t n_names;
};

/* What is kept of an expert's input: a matrix of its own, or a diagonal and the correlations of what
 * all experts of the layer read (formats/moments). By bytes: a matrix where those of a layer's
 * experts have at most 2^26 numbers together, or where the input is not one they have in common. */
enum expert_moments { EXPERTS_BY_BYTES, EXPERTS_OWN, EXPERTS_SHARED };

struct calibrate_options {
    const char *imatrix; /* file to write, or NULL */
    bool legacy;         /* the importance matrix in the older .dat form */
    const char *moments; /* file to write, or NULL */
    uint64_t
        max_memory; /* bytes; 0: 8 GiB. A layer is run again for sums that do not fit */
    bool force;
    bool resume; /* go on where a run with the same model, text and options was stopped */
    enum arithmetic arithmetic;
    enum expert_moments experts;
};

/* What was seen. */
struct calibrate_report {
    uint64_t tokens, held_tokens;
    size_t n_weights, n_inputs;
    size_t n_unseen;    /* matrices (experts counted singly) that no token reached */
    size_t n_thin;      /* experts that saw less than a twentieth of their layer's mean */
    unsigned passes;    /* of the text through a layer, at most */
    unsigned n_resumed; /* steps done before */
    double seconds,
        gathering_seconds; /* of this run; of them in sums, the rest in products */
};

/* Run and write. Between two layers the stream lies in `.NAME.layers.partial` beside the moments (or else the
 * importance matrix): 8 bytes a token and channel of the stream, and more where layers share keys. It
 * stays, as do the moments so far, when a run is interrupted or the machine fails; resumed, the files
 * become the same bytes; with moments, a run that was done to the end is not run again. ERR_USAGE when max_memory cannot be kept. Unseen and thin matrices are named by log_warn, at most a few, with what will be
 * done about them. ERR_CORRUPT names a weight whose input is not finite; errors of the runtime and
 * of files as they are; ERR_INTERRUPTED. Files are whole or not there. The result depends on the
 * model, the text and `arithmetic` only. */
MUST_CHECK enum status calibrate_run(const struct model *model,
                                     const struct calibrate_text *text,
                                     const struct calibrate_options *options,
                                     const struct progress *progress,
                                     struct calibrate_report *report, struct error *err);

/* ---- texts ---- */

/* Each text is cut into chunks of n_ctx tokens, BOS first where the tokenizer adds one; a short end is
 * left out. Chunks of several texts take turns, so that `tokens` takes equal shares of texts that
 * are long enough. Of every text each `held_every`-th chunk is held out, of a text with fewer but more
 * than one the last: every text is judged on, whatever their lengths.
 *
 * A text whose name ends in .jsonl is a document a line: {"messages": [{"role", "content"}, ...]}, a
 * conversation, is written as the model's own template writes it, control tokens and all; {"text":
 * "..."} is taken as it is. Anything else is one document. */
struct calibrate_document {
    const char *name, *bytes;
    size_t n;
};

/* The documents when nobody names any: data/calibration, one a domain, carried in the program as
 * "carat:prose.txt" and so on, about 147,000 tokens of Gemma 4. Nothing of it is text that models
 * are commonly evaluated on. Bytes are constants, with a NUL behind them. */
enum { N_CALIBRATE_DEFAULTS = 5 };
void calibrate_default_documents(struct calibrate_document out[N_CALIBRATE_DEFAULTS]);

struct calibrate_cut {
    uint32_t
        n_ctx; /* tokens a chunk; 0: 512, for encoders 64 with the prompts they know */
    uint64_t tokens;     /* at most; 0: 131072 */
    unsigned held_every; /* 0: nothing is held out */
};

/* ERR_USAGE when there is not one whole chunk; ERR_CORRUPT names the line of a .jsonl that is
 * neither; what the template says; ERR_NOMEM. Names are borrowed. */
MUST_CHECK enum status calibrate_text_make(const struct model *model,
                                           const struct calibrate_document *documents,
                                           size_t n_documents,
                                           const struct calibrate_cut *cut,
                                           struct calibrate_text *out, struct error *err);
/* Of what calibrate_text_make() made; a zeroed one is fine. */
void calibrate_text_free(struct calibrate_text *text);

#endif
