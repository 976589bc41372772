/*
 * convert.h - one streaming pass from a checkpoint to packed files; a checkpoint as a model
 */
#ifndef CONVERT_CONVERT_H
#define CONVERT_CONVERT_H

#include "base/base.h"
#include "formats/model/model.h"
#include "formats/tokenizer/tokenizer.h"
#include "quantize/quantize.h"

struct convert_lora {
    const char *path;
    double scale; /* the user's strength, 1 by default */
};

/* How to read the source. */
struct source_options {
    const struct convert_lora *loras;
    size_t n_loras;
    const char *chat_template;   /* a file that replaces the source's, or NULL */
    const char *const *metadata; /* KEY=VALUE strings */
    size_t n_metadata;
    bool keep_dead; /* keep k/v tensors of KV-sharing layers when the source has them */
    bool skim;      /* tell copies of a tensor by a few places of it: enough for a plan */
    /* Metadata of a file that was equalized when it was made, or NULL: the source is rewritten as
     * that file says, so that the two compare tensor by tensor. Without such keys nothing happens. */
    const struct gguf_meta *equalize_from;
};

/* A checkpoint folder, a weights file beside its config.json, or a GGUF, seen as the GGUF it would
 * become when nothing is quantized (F32, F16 and BF16 stay; anything else is decoded to F32, or to
 * a block type where the codes fit exactly). Rows are transformed as they are read; memory stays
 * bounded. Everything is checked here: names, shapes, what is missing, what is too much. */
MUST_CHECK enum status convert_open_source(const char *path,
                                           const struct source_options *options,
                                           struct model **out, struct error *err);

/* A GGUF file, or else a source: what every verb that takes a MODEL calls. */
MUST_CHECK enum status convert_open_model(const char *path,
                                          const struct source_options *options,
                                          struct model **out, struct error *err);

struct calibrate_document; /* convert/calibrate/calibrate.h */

/* Exact rewrites before rounding: convert/equalize/equalize.h. */
enum equalize {
    EQUALIZE_USUAL, /* auto, but off with METHOD_PLAIN, which promises llama.cpp's bytes */
    EQUALIZE_AUTO,  /* each input as far as it lowers the loss on held-out text */
    EQUALIZE_ON,    /* every input there is a rewrite for */
    EQUALIZE_OFF,
};

struct convert_options {
    struct source_options source;
    const char *type;   /* mix name; NULL: the default */
    const char *recipe; /* file, or NULL */
    const char
        *ple_type;   /* type name for the per-layer table, or NULL: the mix decides */
    bool ple_inline; /* one file instead of two */
    /* Bytes that all files together may take, 0: as the types come; and how many of them the
     * per-layer table may take, 0: both compete. Types are then chosen by the file of
     * sensitivity: convert/target.h. */
    uint64_t target_size, ple_size;
    const char *sensitivity; /* file, or NULL */
    const char *imatrix;     /* file, or NULL */
    const char *moments;     /* file of second moments, for METHOD_COMPENSATE; or NULL */
    /* Texts to gather statistics from, in the place of a file: second moments for
     * METHOD_COMPENSATE, an importance matrix for the others. */
    const struct calibrate_document *documents;
    size_t n_documents;
    uint64_t tokens;                             /* of them at most; 0: 131072 */
    const struct progress *calibration_progress; /* in chunks; or NULL */
    enum method method;
    enum equalize equalize;
    bool force, resume;
    uint64_t max_memory; /* bytes; 0: 1 GiB, with METHOD_COMPENSATE 8 GiB */
};

/* What a recipe may give another type: matrices, but not norms and the router. */
bool convert_is_free(const char *name, int n_dims);

/* What convert would do with one output tensor. */
struct plan_entry {
    const char *name;        /* GGUF name */
    const char *source;      /* source tensor(s), for people */
    const char *transform;   /* "copy", "stack 128 experts", ... */
    const char *source_type; /* "BF16", "int4 g32", ... */
    enum block_type type;
    const char *why; /* the rule that decided the type */
    /* How its numbers are rounded: "plain", "search", "compensate", "grid", or "" where they are not. */
    const char *rounding;
    int n_dims;
    uint64_t ne[4];
    uint64_t n_bytes, offset; /* offset in its file */
    int file;                 /* 0, or 1 for the PLE shard */
};

struct plan {
    const struct plan_entry *entries; /* in the order of writing */
    size_t n_entries;
    const char *layout;       /* the layout recognised: "gemma4 E2B, 3 shards, BF16" */
    const char *const *notes; /* sentences: ignored tensors, untied head, ... */
    size_t n_notes;
    const char *verdict; /* what came of a target size, a sentence; NULL without one */
    const char *const *paths; /* output files */
    const uint64_t *file_bytes;
    size_t n_files;
    uint64_t source_bytes;
    const struct gguf_meta *meta; /* of the first file */
};

/* Decide everything and write nothing. `out_path` may be NULL ("OUT.gguf"). */
MUST_CHECK enum status convert_plan(const char *source, const char *out_path,
                                    const struct convert_options *options,
                                    struct plan **out, struct error *err);
void plan_free(struct plan *plan); /* NULL is fine */

/* Write the types of a plan as a recipe: a line a tensor. ERR_USAGE when the file exists and
 * `force` is off; ERR_IO. */
MUST_CHECK enum status convert_write_recipe(const struct plan *plan, const char *path,
                                            bool force, struct error *err);

/* How one tensor's numbers were rounded. */
struct rounded_tensor {
    char *name;
    enum block_type type;
    const char *rounding; /* as in plan_entry */
    /* "grid": blocks rounded in this run, and how many are exact. A resumed run counts what it made
     * itself. */
    uint64_t n_blocks, n_exact;
    /* "compensate": matrices (an expert is one) whose feedback was judged on held-out inputs, how many
     * of them fell back to the search because it lost less, the damping chosen for the others, and
     * their mean loss on held-out inputs against the search's (1: nothing gained). */
    uint64_t n_matrices, n_fell_back;
    double damping, held_out_loss;
};

/* Seconds of a conversion with error feedback, of this run: the calibration text through the layers and
 * its second moments, when they were gathered here; factors of metrics; trials and rounding. Reading and
 * writing goes on beside. */
struct feedback_seconds {
    double forward, moments, factor, rounding;
};

struct convert_result {
    struct {
        char *path;
        uint64_t bytes;
        char sha256[65];
    } files[2];
    size_t n_files, n_tensors;
    struct rounded_tensor
        *rounded; /* in the order of writing; what is copied is left out */
    size_t n_rounded;
    struct feedback_seconds split;
    size_t n_equalizable,
        n_equalized; /* inputs with an exact rewrite, and those rewritten */
    double seconds;
};

/* Carry it out. Statistics of its own it gathers into OUT.moments or OUT.imatrix first, which goes
 * when the conversion is whole, and stays to be resumed with otherwise; what can be refused is
 * refused before that. On success every output file is whole under its name; otherwise none is. */
MUST_CHECK enum status convert_run(const char *source, const char *out_path,
                                   const struct convert_options *options,
                                   const struct progress *progress,
                                   struct convert_result *result, struct error *err);
void convert_result_free(struct convert_result *result);

#endif
