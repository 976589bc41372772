/*
 * equalize.h - exact rewrites that even out the columns which share a block's scale
 *
 * A factor s_j > 0 a channel can be moved between two tensors without changing the function: what
 * produces an input is multiplied, the columns of what reads it are divided. Where that is exact in
 * Gemma:
 *
 *     input                 multiplied                            divided columns
 *     blk.N.attn_in         attn_norm                             attn_q, attn_k, attn_v
 *     blk.N.ffn_in          ffn_norm                              ffn_gate, ffn_up
 *     blk.N.exps_in         pre_ffw_norm_2                        the experts' gate and up, one s
 *     blk.N.ffn_mid         rows of ffn_up                        ffn_down
 *     blk.N.exps_mid        rows of the experts' up               the experts' down, an s each
 *     blk.N.attn_out        rows of attn_v                        attn_output: where v has no norm
 *     ple_mid               per_layer_proj_norm and the columns   every layer's proj, one s
 *                           of per_layer_token_embd
 *
 * Factors are s = 2^(k/16), |k| <= 96: small whole numbers that a file's metadata can hold, as I8
 * arrays carat.equalize.INPUT, so that the file can be held to its source later.
 *
 *     s_j = r_j^(1-g) a_j^(-g), geometric mean 1
 *
 * with r the root mean square of the readers' columns, a that of the input's channels, and g = 1/4
 * for plain rounding, 1/5 where scales are searched, 0 where nothing is known of the input; for
 * ple_mid, which trades two tensors, s = sqrt(r / t) with t the columns of the table.
 *
 * Sources: docs/rounding.md, "Equalization".
 */
#ifndef CONVERT_EQUALIZE_EQUALIZE_H
#define CONVERT_EQUALIZE_EQUALIZE_H

#include "convert/checkpoint/checkpoint.h"
#include "formats/gguf/gguf.h"
#include "formats/moments/moments.h"
#include "formats/stats/stats.h"
#include "quantize/quantize.h"

enum {
    EQUALIZE_STEPS = 16,
    EQUALIZE_MOST = 96
}; /* k / 16 octaves; at most six of them */

/* One tensor to be written. */
struct equalize_tensor {
    const char *name; /* GGUF's */
    const struct source_tensor *t;
    enum block_type kept; /* its type when nothing is quantized */
    enum block_type type; /* as it will be written */
    int n_dims;
    uint64_t ne[4];
    enum grid *grid; /* of t as it was, which nothing on a grid ceases to be; borrowed */
    bool is_rewritten; /* t and kept are new then: read t, which decodes to F32 only */
};

/* A model to be rewritten. Everything made lives in the arena. */
struct equalize_model {
    struct equalize_tensor *tensors;
    size_t n_tensors;
    const struct gguf_meta *meta; /* general.architecture and its keys */
    struct arena *arena;
};

/* What the decision depends on beside the weights. The statistics follow the rewrites: afterwards
 * both describe the inputs of the rewritten model. */
struct equalize_choice {
    bool is_gated; /* each input only as far as it lowers the loss on held-out text */
    enum method method;
    struct moments *moments; /* or NULL */
    struct stats *stats;     /* or NULL */
};

struct equalize_counts {
    size_t n_inputs; /* that a rewrite exists for */
    size_t n_full;   /* rewritten in all channels */
    size_t n_sparse; /* only where s is beyond sqrt(2) */
    size_t n_barred; /* left: weights on a grid, repacked exactly, or not quantized */
    size_t
        n_unknown; /* rewritten from the weights alone: nothing is known of the input */
};

struct equalization;

/* Choose factors and rewrite. Inputs with a reader on a 4-bit grid, repacked as it is, or written in
 * 16 bits are left alone. Reads at most 512 rows a matrix. ERR_IO, ERR_CORRUPT, ERR_NOMEM. */
MUST_CHECK enum status equalize_decide(struct equalize_model *model,
                                       const struct equalize_choice *choice,
                                       struct equalization **out, struct error *err);
struct equalize_counts equalize_counts(const struct equalization *eq);

/* Write its keys; none when nothing was rewritten. ERR_NOMEM. */
MUST_CHECK enum status equalize_record(const struct equalization *eq,
                                       struct gguf_meta *meta, struct error *err);

/* Rewrite as the keys of a file say. *n_inputs is how many; 0: the file has no such keys.
 * ERR_CORRUPT names a key that does not fit the model. */
MUST_CHECK enum status equalize_replay(struct equalize_model *model,
                                       const struct gguf_meta *keys, size_t *n_inputs,
                                       struct error *err);

/* True for the keys above; true when there is one. */
bool equalize_is_key(const char *key);
bool equalize_has_keys(const struct gguf_meta *meta);

#endif
