/*
 * verify.h - is it true? what a model file costs against its source, in numbers
 *
 *     text        a text or conversations -> chunks of token ids, and which of them are scored
 *     perplexity  one model on one text, by the protocol of llama-perplexity
 *     reference   the same run kept as a compact file (formats/logits)
 *     compare     models against such a file: divergence, agreement, perplexity ratio
 *
 * Intervals are 95 % bootstrap intervals over chunks, seeded; figures of several models on one
 * reference are drawn together, so that their differences are paired.
 *
 * Source: docs/verification.md.
 */
#ifndef VERIFY_VERIFY_H
#define VERIFY_VERIFY_H

#include "base/base.h"
#include "formats/logits/logits.h"
#include "formats/tokenizer/tokenizer.h"
#include "runtime/runtime.h"

/* A reference whose own perplexity is above this reads a text that is not its language: real
 * Gemma 4 models have 5 to 60 on text they know, instruction-tuned ones 1,000 to 100,000 on
 * prose that is not framed as a conversation. */
#define VERIFY_DOMAIN_PERPLEXITY 300.0

/* ---- what is scored ---- */

struct text_options {
    uint32_t n_ctx;    /* tokens a chunk; 0: 512 */
    uint32_t n_chunks; /* at most this many; 0: all */
};

/* Cut n bytes of text: encoded once with BOS in front, special pieces not recognised; chunks of
 * n_ctx tokens, a rest left out, the first token of each replaced by BOS where the vocabulary
 * wants one; tokens n_ctx / 2 + 1 .. n_ctx - 1 of a chunk are scored. ERR_USAGE when the
 * text has not n_ctx tokens, or n_ctx < 4. */
MUST_CHECK enum status text_from_prose(const struct tokenizer *tok, const char *bytes,
                                       size_t n, const struct text_options *options,
                                       struct logits_text *out, struct error *err);

/* Conversations, one a line of JSON, rendered by the template in `meta` (formats/chat): every turn
 * of the model is a chunk, its prompt given and its answer scored; n_ctx 0 is 4096. Answers are cut
 * at the context, empty ones and those whose prompt fills it are left out with a warning. ERR_CORRUPT
 * names the line; what the template reports. */
MUST_CHECK enum status text_from_chat(const struct tokenizer *tok,
                                      const struct gguf_meta *meta, const char *bytes,
                                      size_t n, const struct text_options *options,
                                      struct logits_text *out, struct error *err);

/* ---- where logits come from ---- */

/* Something that evaluates n ids from an empty context and shows their logits. */
struct logits_source {
    void *self;
    uint32_t n_vocab;
    enum status (*run)(void *self, const int32_t *ids, size_t n,
                       const struct logits_sink *sink, struct error *err);
};

/* A runtime as a source, with a context of n_ctx positions. ERR_USAGE for an encoder, which has no
 * logits; ERR_NOMEM. */
struct runtime_source;
MUST_CHECK enum status runtime_source_new(struct runtime *rt, uint32_t n_ctx,
                                          struct runtime_source **out, struct error *err);
struct logits_source runtime_source_view(struct runtime_source *source);
void runtime_source_free(struct runtime_source *source); /* NULL is fine */

/* ---- perplexity ---- */

struct interval {
    double lo, hi;
    bool is_known; /* false for a single chunk */
};

struct perplexity {
    double nll;        /* mean over scored tokens, nats */
    double perplexity; /* exp(nll) */
    double
        ppl_stderr; /* of the perplexity, tokens taken as independent, as llama-perplexity */
    struct interval ci95;
    uint64_t n_tokens; /* scored */
};

MUST_CHECK enum status verify_perplexity(const struct logits_source *source,
                                         const struct logits_text *text, uint64_t seed,
                                         const struct progress *progress,
                                         struct perplexity *out, struct error *err);

/* ---- reference ---- */

/* Run `facts->text` and write the file; facts->n_vocab must be the source's. *out is the
 * perplexity of the run. */
MUST_CHECK enum status verify_reference(const struct logits_source *source,
                                        const struct logits_facts *facts,
                                        const char *path, bool force, uint64_t seed,
                                        const struct progress *progress,
                                        struct perplexity *out, struct error *err);

/* ---- compare ---- */

struct spread {
    double mean, median, p90, p99, p999, max;
    struct interval ci95; /* of the mean */
};

/* What one model loses against a reference. Divergences in nats a token, from the reference to
 * the model. */
struct comparison {
    struct spread kld;
    double kld_certain; /* the mean is at least this, by the log-sum inequality */
    double
        kld_error; /* half-width of the 99.9 % interval of what sampling the tail adds */
    double same_top; /* share of tokens whose most probable piece is the same */
    struct interval same_top_ci95;
    double ppl_base, ppl_model, ppl_ratio;
    struct interval ppl_ratio_ci95;
    double rms_dp; /* root mean square change of the scored token's probability */
    uint64_t n_tokens;
    double *chunk_kld; /* sums, a chunk each: for paired differences; owned */
    uint64_t *chunk_n; /* scored tokens of each chunk; owned */
    uint32_t n_chunks;
};

void comparison_free(struct comparison *comparison); /* members only */

/* Compare `source` with the reference on its own text, or on its first n_chunks chunks (0: all).
 * ERR_USAGE when the vocabularies differ in size. */
MUST_CHECK enum status verify_compare(const struct logits_source *source,
                                      const struct logits_file *reference,
                                      uint32_t n_chunks, uint64_t seed,
                                      const struct progress *progress,
                                      struct comparison *out, struct error *err);

/* The divergence between two sources that should be the same: what arithmetic alone does. Runs
 * both on the first n_chunks chunks of `text`. */
MUST_CHECK enum status verify_noise(const struct logits_source *a,
                                    const struct logits_source *b,
                                    const struct logits_text *text, uint32_t n_chunks,
                                    struct comparison *out, struct error *err);

/* Interval of mean KLD(b) - mean KLD(a), both compared with the same reference and chunks. */
struct interval verify_paired(const struct comparison *a, const struct comparison *b,
                              uint64_t seed);

/* ERR_USAGE, saying what differs, when the model's vocabulary is not the reference's. */
MUST_CHECK enum status verify_same_vocabulary(const struct logits_facts *facts,
                                              const struct tokenizer *tok,
                                              uint32_t n_vocab, const char *reference,
                                              struct error *err);

/* ---- certify ---- */

struct finding {
    const char *check; /* "metadata", "coverage", "tensors", ... */
    bool holds;
    char detail
        [240]; /* what was seen, control characters escaped; names the tensor or key where it
                         does not hold */
};

enum { CERTIFICATE_MAX = 16 };

struct certificate {
    struct finding findings[CERTIFICATE_MAX];
    size_t n;
};

/* Is `file` a quantization of `source` (both opened through the model door, the source with the
 * file's metadata as equalize_from: an equalized file is held to the source rewritten by the same
 * factors, which is the same function whatever they are)? Looks at metadata,
 * tokenizer and template keys, coverage, and every tensor's decoded error against its type's
 * bound; with is_plain also at exact bytes. A finding that does not hold is not an error. ERR_UNSUPPORTED names a
 * tensor of a type whose bound is not stated (those carat does not write), what reading gives. */
MUST_CHECK enum status verify_certify(const struct model *file,
                                      const struct model *source, bool is_plain,
                                      const struct progress *progress,
                                      struct certificate *out, struct error *err);

/* Run a probe text through both and add two findings: the layers' outputs and, of models that have
 * them, the logits.
 * Exchanged weights make outputs sqrt(2) of their size apart and logits strangers; so a layer may
 * be VERIFY_PROBE_HIDDEN of its size from the source's, and the logits' divergence three quarters
 * of what the source shows between distant positions. Rounding to 4 bits stays below both even in
 * networks of random weights, which amplify it. */
#define VERIFY_PROBE_HIDDEN    1.0
#define VERIFY_PROBE_STRANGERS 0.75
MUST_CHECK enum status verify_probe(struct runtime *file, struct runtime *source,
                                    const struct tokenizer *tok, struct certificate *out,
                                    struct error *err);

bool certificate_holds(const struct certificate *certificate);

#endif
