/*
 * pass.h - one batch on its way through the model: what the files of this room share
 *
 * forward.c walks the layers; every step it calls takes a struct pass and works on its rows in
 * place. Private to runtime/.
 */
#ifndef RUNTIME_PASS_H
#define RUNTIME_PASS_H

#include "runtime/config.h"
#include "runtime/kernels/kernels.h"
#include "runtime/ple_rows.h"
#include "runtime/runtime.h"
#include "runtime/weights.h"

enum { MAX_BATCH = 512 }; /* rows of a batch; an encoder takes its whole text at once */

/* An encoder's text is pooled as a whole, or for statistics in passages of about so many tokens. */
enum { PASSAGE_TOKENS = 32 };

/* Buffers of one batch, each of n_rows rows. */
struct scratch {
    size_t n_rows;
    float *x;            /* n_embd: the stream */
    float *h;            /* n_embd: the normed input of a branch */
    float *branch;       /* n_embd: what a branch adds */
    float *q, *attended; /* the widest layer's heads */
    float *k, *v;        /* the widest layer's key heads */
    float *gate, *up;    /* the widest MLP, or expert, or per-layer slice */
    float *ple;          /* n_layers slices of n_ple, layer by layer within a row */
    float *cos[ROPE_KINDS], *sin[ROPE_KINDS];
    struct span *spans;

    float *routed;                 /* n_embd: the sum over experts */
    float *expert_in, *expert_out; /* n_embd: rows of one expert, gathered */
    float *router;                 /* n_experts */
    float *expert_weights;         /* n_experts_used, best first */
    int32_t *expert_ids;           /* n_experts_used */
    uint32_t *expert_rows;         /* which rows chose the expert in hand */
    float *expert_shares;          /* and with what weight */

    float *pooled,
        *pooled_out; /* encoders: a row a passage, before and after a dense head */

    float *logits; /* logit_rows rows of n_vocab */
    size_t logit_rows;
    struct workspace *workspace; /* owned, as the arena is */
    struct arena arena;          /* all of the above */
};

/* Ids that read the row of another. */
enum { MAX_PLACEHOLDERS = 3 };

struct placeholders {
    int32_t ids[MAX_PLACEHOLDERS], pad;
    size_t n;
};

struct runtime {
    const struct model *model;
    struct config config;
    struct weights weights;
    enum arithmetic arithmetic;
    const struct kernels *kernels;
    struct ple_rows *ple_rows;     /* NULL without a table */
    float *rope_freqs[ROPE_KINDS]; /* half a head of angles a position */
    struct placeholders placeholders;
    struct scratch scratch;
    struct runtime_facts facts;
    void (*tap)(void *arg, const struct tap_event *event);
    void *tap_arg;
};

/* Keys and values of one layer; position p lies in cell p % n_cells. */
struct kv {
    float *k,
        *v; /* n_cells rows of n_kv_heads * head_dim; NULL where the layer has none */
    size_t n_cells, stride;
};

struct sequence {
    struct runtime *rt;
    uint32_t n_ctx, length;
    size_t max_batch;
    struct kv *layers;

    const float *hidden; /* final norms of the last batch, in the runtime's scratch */
    uint32_t hidden_first, hidden_end;
};

/* The rows in hand: n of them, for positions from `position` on. Rows that nothing later needs
 * are dropped from the front as the pass goes on, so the pointers move. */
struct pass {
    struct runtime *rt;
    struct sequence *seq;
    uint32_t position, end; /* of the first row; positions that have keys end here */
    size_t n;
    const int32_t
        *rows;       /* of the tables, for this batch's tokens; the next batch's follow */
    bool on_canvas;  /* rows see each other both ways: denoise.c */
    bool has_slices; /* `ple` is whole: nothing is awaited from the table */
    size_t n_next;   /* tokens of the batch after this one */
    float *x, *ple;
    const float *cos[ROPE_KINDS], *sin[ROPE_KINDS];
};

/* scratch.c */
MUST_CHECK enum status scratch_reserve(struct runtime *rt, size_t n_rows,
                                       struct error *err);
void scratch_free(struct scratch *s);

/* placeholders.c */
void placeholders_find(struct placeholders *found, const struct gguf_meta *meta,
                       size_t n_vocab);
int32_t placeholders_row(const struct placeholders *found, int32_t id);

/* embed.c: pool n_rows rows of final norms in p->n equal passages, into scratch.pooled, and take them
 * through the dense heads; taps see it. Returns the width. n_rows >= p->n > 0. */
size_t pool_passages(struct pass *p, const float *rows, size_t n_rows);

/* tap.c */
void tap_rows(const struct pass *p, const char *what, int layer, size_t n_cols,
              const float *x);
void tap_input(struct runtime *rt, int layer, const struct linear *linear, int expert,
               uint32_t position, size_t n_rows, const float *x);
/* y = x * transpose(linear), shown to the tap first. */
void pass_multiply(const struct pass *p, int layer, const struct linear *linear,
                   const float *x, float *y);

/* rope.c */
MUST_CHECK enum status rope_open(struct runtime *rt, struct error *err);
void rope_fill(struct pass *p); /* cosines and sines of the batch's positions */

/* runtime.c */
MUST_CHECK enum status runtime_open_holding(const struct model *model,
                                            const struct runtime_options *options,
                                            enum holding holding, struct runtime **out,
                                            struct error *err);

/* cache.c */
/* A sequence without cells; those of single layers, which come and go. */
MUST_CHECK enum status sequence_new_bare(struct runtime *rt, uint32_t n_ctx,
                                         struct sequence **out, struct error *err);
MUST_CHECK enum status sequence_hold(struct sequence *seq, uint32_t layer,
                                     struct error *err);
void sequence_release(struct sequence *seq, uint32_t layer);
void cache_store(const struct pass *p, uint32_t layer, const float *k, const float *v);

/* forward.c */
void embed_rows(const struct runtime *rt, const int32_t *rows, size_t n, float *x);
MUST_CHECK enum status block_step(struct pass *p, uint32_t layer, struct error *err);
void final_norm(struct pass *p); /* of the stream, in place */
/* Final norm, then logits of the rows that are wanted. */
void pass_finish(struct pass *p, const struct logits_sink *sink);

/* the parts of a block, in order */
void attention_step(struct pass *p, uint32_t layer);
void mlp_step(struct pass *p, uint32_t layer);
void moe_add(struct pass *p, uint32_t layer); /* branch += experts */
void ple_step(struct pass *p, uint32_t layer);

/* ple.c: before the layers / before the first ple_step */
void ple_project(struct pass *p);
MUST_CHECK enum status ple_join(struct pass *p, struct error *err);

#endif
