/*
 * runtime.h - from a model to logits: the reference run that everything is judged by
 *
 *     struct runtime *rt;  struct sequence *seq;
 *     runtime_open(model, &(struct runtime_options){0}, &rt, err);
 *     sequence_new(rt, 4096, &seq, err);
 *     runtime_eval(rt, seq, ids, n_ids, &sink, err);
 *
 * Source of the arithmetic: docs/architecture.md, which restates the Gemma 4 forward pass.
 */
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include "base/base.h"
#include "formats/model/model.h"

struct runtime;
struct sequence;

enum arithmetic {
    ARITH_FAST, /* integer dot products for quantized weights: activations rounded to 8 bits */
    ARITH_F32, /* weights decoded exactly, every product and sum in f32: for judging weights */
};

struct runtime_options {
    enum arithmetic arithmetic;
    bool scalar; /* force the scalar kernels (the second witness, the noise floor) */
    bool
        ple_in_memory; /* hold the per-layer-embedding table resident instead of on disk */
    size_t
        ple_cache_bytes; /* row cache; 0: the default of 16 MiB; at most 64 MiB resident */
};

/* Facts a caller may need of an opened model. */
struct runtime_facts {
    const char *architecture; /* "gemma4" */
    uint32_t n_layers, n_embd, n_vocab,
        n_ple;               /* n_ple: width of a layer's slice, 0 without */
    uint32_t context_length; /* as trained */
    bool is_causal;          /* false for encoders: they have no logits */
    bool is_drafter;         /* reads another model's keys: for drafter_new() only */
    uint32_t n_embedding;    /* encoders: width of runtime_embed()'s answer */
    const char *kernels;     /* "avx2", ... */
    uint64_t weight_bytes;   /* touched for one decoded token */
    uint64_t expert_bytes; /* of these, what a token chose: the next may choose others */
    double token_price; /* of a further token in a short pass, in passes: an estimate */
    uint64_t n_macs;    /* multiply-adds for one token, head included */
    uint64_t
        n_macs_wanted; /* of these, done only where logits are wanted: head, and layers past
                                the last with keys of its own */
};

/* Check every tensor's shape once and get ready. `model` is borrowed and must outlive *out.
 * ERR_SHAPE, ERR_UNSUPPORTED (architecture, with the list of those supported), ERR_CORRUPT,
 * ERR_NOMEM. Sentences name the tensor or key. */
MUST_CHECK enum status runtime_open(const struct model *model,
                                    const struct runtime_options *options,
                                    struct runtime **out, struct error *err);
const struct runtime_facts *runtime_facts(const struct runtime *rt);
void runtime_close(struct runtime *rt); /* NULL is fine */

/* A context: positions 0 .. n_ctx - 1 of one text. Local layers keep a ring of their window. */
MUST_CHECK enum status sequence_new(struct runtime *rt, uint32_t n_ctx,
                                    struct sequence **out, struct error *err);
uint32_t sequence_length(const struct sequence *seq); /* positions evaluated so far */
uint32_t sequence_room(const struct sequence *seq);   /* positions left in the context */
void sequence_reset(struct sequence *seq);            /* back to empty */
void sequence_free(struct sequence *seq);

/* Take positions from `length` on back; fewer than were evaluated in the last call, and less than
 * 512. */
void sequence_truncate(struct sequence *seq, uint32_t length);

/* The final norm's output at a position whose logits the last runtime_eval() gave (in its last
 * batch), n_embd floats; NULL for any other. Borrowed until the next call. */
const float *sequence_hidden(const struct sequence *seq, uint32_t position);

/* Where logits go: rows of n_vocab floats after the softcap, in order of position. */
struct logits_sink {
    void *arg;
    uint32_t
        first; /* positions before this one want no logits (UINT32_MAX: none at all) */
    void (*rows)(void *arg, uint32_t position, size_t n_rows, const float *logits);
};

/* Evaluate n ids at the sequence's next positions, in batches. sink may be NULL. The logits of
 * the last position are wanted when sink->first <= it. ERR_USAGE when the context is full or an
 * id is outside the vocabulary; ERR_IO / ERR_CORRUPT from reading rows of the table;
 * ERR_INTERRUPTED. After a failure the sequence must be reset. */
MUST_CHECK enum status runtime_eval(struct runtime *rt, struct sequence *seq,
                                    const int32_t *ids, size_t n,
                                    const struct logits_sink *sink, struct error *err);

/* The embedding of a whole text by an encoder: facts->n_embedding floats of length 1. Resets the
 * sequence, whose context must hold the text. Taps see "pooled", "dense2" and "dense3" besides.
 * ERR_USAGE for models that generate. */
MUST_CHECK enum status runtime_embed(struct runtime *rt, struct sequence *seq,
                                     const int32_t *ids, size_t n, float *out,
                                     struct error *err);

/* ---- looking inside ---- */

/* What a tap is shown: n_rows rows of n_cols floats, for positions from `position` on. */
struct tap_event {
    const char *what; /* "embed", "ple", "hidden", "final_norm", "router.ids",
                           "router.weights", "k", "v", "exps_in": what a layer's experts read, each
                           position once; "ple_gate": the gate that a layer's slice
                           is multiplied with, after gelu; or "input": the input of a product */
    int layer;        /* -1 outside layers */
    const char
        *weight;       /* "input": the GGUF name of the weight it will be multiplied by */
    int expert;        /* "input" of an expert's matrix: which; -1 otherwise */
    uint32_t position; /* of the first row (for experts: unspecified) */
    size_t n_rows, n_cols;
    const float *x; /* borrowed for the call; row r at x + r * n_cols */
};

/* Show every event to fn (one at a time, from the calling thread); NULL stops it. An "input" is
 * shown once a weight: q, k and v each get their own event with the same x. */
void runtime_tap(struct runtime *rt, void (*fn)(void *arg, const struct tap_event *event),
                 void *arg);

/* ---- layer by layer ---- */

/* Many chunks through a model with one layer's matrices in memory at a time: every chunk through the
 * embedding, then every chunk through layer 0, and so on; the head's input last. Between two
 * steps the stream lies in a file, as do the keys and values that later layers share and the
 * per-layer slices. So memory grows neither with the chunks nor with the model's depth, and every
 * weight is read once.
 *
 *     walk_open(model, &options, &text, &walk, err);
 *     while (walk_step(walk) < walk_steps(walk)) {
 *         walk_begin(walk, err);
 *         for (size_t i = 0; i < text.n_chunks; i++)
 *             walk_chunk(walk, i, err);      the taps of walk_runtime(walk) are shown what happens
 *         walk_end(walk, err);
 *     }
 *     walk_close(walk, false);
 *
 * Events are, number by number, those of runtime_eval() on each chunk by itself, but for "ple",
 * which is not shown, and for the dense heads of encoders, which are shown passages of every chunk.
 * Chunks may be run again within a step, with the same effect.
 *
 * The file is `.PATH.layers.partial` beside `path`. It is kept by walk_close(walk, true) and lost steps
 * are not repeated when it is opened again with `resume`. */
struct walk;

struct walk_text {
    const int32_t *ids; /* n_chunks * n_ctx; borrowed */
    size_t n_chunks;
    uint32_t n_ctx;
};

struct walk_options {
    enum arithmetic arithmetic;
    const char *path;
    uint8_t identity
        [32]; /* of the model, the text, and what else must be the same to resume */
    uint64_t n_state; /* bytes of the caller's that the file keeps: walk_write_state() */
    bool resume;
};

/* ERR_USAGE when there is nothing to resume or it belongs to something else, or ids do not fit the
 * model; what runtime_open() gives; ERR_IO. */
MUST_CHECK enum status walk_open(const struct model *model,
                                 const struct walk_options *options,
                                 const struct walk_text *text, struct walk **out,
                                 struct error *err);
struct runtime *walk_runtime(const struct walk *walk); /* for its facts and its tap */

uint32_t walk_steps(const struct walk *walk); /* the layers and two more */
uint32_t walk_step(const struct walk *walk);  /* the next, or the one in hand */

/* Memory that the largest step takes, apart from what a tap keeps. */
uint64_t walk_bytes(const struct walk *walk);

MUST_CHECK enum status walk_begin(struct walk *walk, struct error *err);
MUST_CHECK enum status walk_chunk(struct walk *walk, size_t chunk, struct error *err);
/* The layer's matrices go, and the step counts as done: also for a resumed walk. */
MUST_CHECK enum status walk_end(struct walk *walk, struct error *err);

/* The caller's bytes; zeros before they are written. What is written counts with the next
 * walk_end(), but lies in its place at once: after a stop in between it is there, or in part, and
 * the step is run again. So say with it which step it is of. */
MUST_CHECK enum status walk_write_state(struct walk *walk, uint64_t at, const void *bytes,
                                        size_t n, struct error *err);
MUST_CHECK enum status walk_read_state(struct walk *walk, uint64_t at, void *bytes,
                                       size_t n, struct error *err);
void walk_close(struct walk *walk, bool keep); /* NULL is fine */

/* ---- denoising ---- */

/* One step of block diffusion: the logits of n canvas tokens that stand behind the text of `seq`,
 * all of which see each other. `previous` holds the logits of the step before on this canvas (n
 * rows of n_vocab), or NULL in the first step. The sequence keeps its length. ERR_USAGE for models
 * without a canvas, and when it does not fit; ERR_NOMEM. */
MUST_CHECK enum status runtime_denoise(struct runtime *rt, struct sequence *seq,
                                       const int32_t *canvas, size_t n,
                                       const float *previous,
                                       const struct logits_sink *sink, struct error *err);

/* ---- drafting ---- */

/* Keys of a drafter's ordered head: how many clusters are looked through (u32), their centroids (f32,
 * one after the other), and the ids of their tokens (i32, likewise). */
#define ORDERED_HEAD_CHOSEN    "carat.ordered_head.chosen"
#define ORDERED_HEAD_CENTROIDS "carat.ordered_head.centroids"
#define ORDERED_HEAD_TOKENS    "carat.ordered_head.tokens"

/* A small model that guesses the next tokens from its target's keys, values and last hidden
 * state. Guesses cost speed when wrong, never correctness. */
struct drafter;

/* `rt` is opened on a gemma4-assistant model, `target` on the model it was made for; both are
 * borrowed. ERR_USAGE when they do not fit: the sentence says what differs. */
MUST_CHECK enum status drafter_new(struct runtime *rt, const struct runtime *target,
                                   struct drafter **out, struct error *err);

/* Guess n tokens that follow `token`, which `seq` has not evaluated yet. `hidden` is the target's
 * sequence_hidden() of the last position evaluated. Taps on `rt` see "embed" (what enters the
 * first layer), "hidden", "final_norm", "logits" and "projected" (the next step's hidden); with an
 * ordered head the logits of all but its candidates are 1 less than the least of theirs. */
MUST_CHECK enum status drafter_guess(struct drafter *drafter, struct sequence *seq,
                                     int32_t token, const float *hidden, size_t n,
                                     int32_t *tokens, struct error *err);
void drafter_free(struct drafter *drafter); /* NULL is fine */

/* How many tokens a step of n guesses gives on average: 1 + a + ... + a^n, the last of them the
 * target's own, when each guess comes true with chance a, whatever came before, and the first that does
 * not ends the step.
 *
 * Source: Leviathan, Kalman and Matias, Fast Inference from Transformers via Speculative Decoding (2023),
 * section 3. */
double drafted_tokens(double acceptance, size_t n_guesses);

/* ---- sampling ---- */

struct sampler {
    float temperature;  /* 0: greedy */
    uint32_t top_k;     /* 0: off */
    float top_p, min_p; /* 1 and 0: off */
    uint64_t state;     /* seed it with the user's seed; advances with every draw */
};

/* The next token from n_vocab logits; greedy takes the first of equal maxima. `scratch` holds
 * n_vocab floats (none are needed when greedy). Temperature comes first, then top-k, top-p and
 * min-p, each on what the one before left. A NaN is never drawn where anything else can be.
 * Deterministic for a given state. */
int32_t sampler_draw(struct sampler *sampler, const float *logits, size_t n_vocab,
                     float *scratch);

/* ---- generating ---- */

/* Token after token from a sequence, with or without a drafter: the same tokens either way. */
struct generation;

struct generation_options {
    struct sampler sampler;
    struct drafter *drafter; /* borrowed; NULL: none */
    uint32_t n_guesses;    /* a step, with a drafter; at most 63; fewer when they fail */
    const int32_t *banned; /* ids never to draw; borrowed for the call */
    size_t n_banned;
};

struct generation_counts {
    uint64_t n_steps, n_guessed, n_accepted;
};

/* `rt` and `seq` are borrowed. ERR_NOMEM. */
MUST_CHECK enum status generation_new(struct runtime *rt, struct sequence *seq,
                                      const struct generation_options *options,
                                      struct generation **out, struct error *err);
/* Evaluate a prompt of n > 0 tokens in an empty sequence. */
MUST_CHECK enum status generation_prompt(struct generation *gen, const int32_t *ids,
                                         size_t n, struct error *err);
/* True when the next token needs a position and the context has none left. */
bool generation_is_full(const struct generation *gen);
/* Draw the next token. ERR_USAGE when the context is full. */
MUST_CHECK enum status generation_next(struct generation *gen, int32_t *token,
                                       struct error *err);
struct generation_counts generation_counts(const struct generation *gen);
void generation_free(struct generation *gen); /* NULL is fine */

#endif
