/*
 * source.h - what is to be converted, resolved: output tensors with their sources, and metadata
 *
 * This is "the GGUF that nobody has written": every output tensor under its GGUF name, in the order
 * of writing, with the source tensor whose rows it takes, and the metadata of the unquantized file.
 * plan.c gives the tensors types and places; source_model.c shows it to the runtime as a model.
 */
#ifndef CONVERT_SOURCE_H
#define CONVERT_SOURCE_H

#include "convert/checkpoint/checkpoint.h"
#include "convert/convert.h"
#include "convert/equalize/equalize.h"
#include "convert/gemma/gemma.h"

/* One output tensor. */
struct source_entry {
    const char *name; /* GGUF's */
    const struct source_tensor *t;
    enum block_type kept; /* its type when nothing is quantized */
    /* A tensor no engine looks at (keys and values of layers that share an earlier layer's). It is
     * not written, but llama-quantize counts it when it hands out types. */
    bool is_dead;
    enum grid grid; /* source_find_grid() of t */
    int n_dims;
    uint64_t ne[4]; /* GGUF's order; unused ones are 1 */
};

struct source {
    struct arena arena; /* owns every small thing below */
    const char *path;
    struct checkpoint *cp;      /* owned; NULL for a GGUF source */
    struct gguf *gguf;          /* owned; NULL for a checkpoint */
    struct gemma_config config; /* checkpoints only */
    struct source_entry *entries;
    size_t n_entries;
    struct gguf_meta *meta; /* owned; general.file_type is that of the kept types */
    const char *layout;     /* "gemma4, 35 layers, 3 shards, BF16" */
    struct mix_facts facts; /* pure and has_importance are the plan's to set */
    const char **notes;     /* sentences; array malloc'd */
    size_t n_notes, notes_room;
};

/* Open and check everything but the tensors' numbers. ERR_USAGE, ERR_CORRUPT, ERR_UNSUPPORTED,
 * ERR_SHAPE: the sentence names file, tensor, what was found and what was expected. */
MUST_CHECK enum status source_open(const char *path, const struct source_options *options,
                                   struct source **out, struct error *err);

/* The files behind it. */
size_t source_n_files(const struct source *src);
const struct file *source_file(const struct source *src, size_t i);
uint64_t source_bytes(const struct source *src);

void source_close(struct source *src); /* NULL is fine */

/* ---- the parts of source_open(), in order ---- */

/* Remember a sentence for the user; ERR_NOMEM. */
__attribute__((format(printf, 3, 4))) MUST_CHECK enum status
source_note(struct source *src, struct error *err, const char *fmt, ...);

/* Entries for every tensor of the family's table: rope_freqs first where the member has it, then in
 * source order. */
MUST_CHECK enum status source_collect(struct source *src,
                                      const struct source_options *options,
                                      struct error *err);

/* The metadata the converter writes. */
MUST_CHECK enum status source_describe(struct source *src,
                                       const struct source_options *options,
                                       struct error *err);

/* A note for each adapter's folder that holds another chat template or other tokens than those in
 * use. */
MUST_CHECK enum status source_note_beside(struct source *src,
                                          const struct source_options *options,
                                          const struct chat_templates *templates,
                                          const struct tokenizer *tok, struct error *err);

/* A GGUF as source: entries and metadata as they are in the file. */
MUST_CHECK enum status source_open_gguf(struct source *src, struct error *err);

/* The ordered head of a drafter, where the checkpoint has one that fits: the keys that
 * runtime/runtime.h states. Otherwise nothing, with a note when there is one that does not. */
MUST_CHECK enum status source_describe_ordered_head(struct source *src,
                                                    struct error *err);

/* KEY=VALUE strings of the user, and his chat template in a GGUF's place. */
MUST_CHECK enum status source_override(struct source *src,
                                       const struct source_options *options,
                                       struct error *err);

/* Rewrite the source as a file's metadata says it was, and note it: options->equalize_from. */
MUST_CHECK enum status source_replay(struct source *src, const struct gguf_meta *keys,
                                     struct error *err);

/* Choose rewrites for a source that is going to be written with types[], and carry them out; note
 * what was done. *out lives as long as the source. */
MUST_CHECK enum status source_equalize(struct source *src, const enum block_type *types,
                                       const struct equalize_choice *choice,
                                       struct equalization **out, struct error *err);

/* A source tensor of n values computed here: frequencies of the rotary embedding. NULL: memory. */
const struct source_tensor *source_constant(struct arena *arena, const char *name,
                                            const float *values, uint64_t n);

/* The same tensor with 1 added to every value, in F32; and a matrix's first n_rows rows. Both borrow
 * t; NULL: memory. */
const struct source_tensor *source_shifted(struct arena *arena,
                                           const struct source_tensor *t);
const struct source_tensor *source_cut(struct arena *arena, const struct source_tensor *t,
                                       uint64_t n_rows);

/* ERR_CORRUPT naming tensor, row and column when one of n_rows * n_cols values is not finite;
 * row 0 of x is row `first` of the tensor. */
MUST_CHECK enum status source_check_finite(const struct source_tensor *t, uint64_t first,
                                           uint64_t n_rows, const float *x,
                                           struct error *err);

#endif
