/*
 * gemma.h - the family: config.json to hyper-parameters, tensor names, metadata
 *
 * A member is one struct gemma_family: which model_type it answers to, a reader of its config, a
 * table of its tensors, and a writer of its architecture's keys. families[] in gemma.c lists them;
 * adding a member is one file with those four things: docs/adding-a-model.md.
 *
 * Sources: config and tensor names of the released checkpoints as the transformers library reads
 * them; GGUF keys, types and order as llama.cpp 0.5.0's converter writes them.
 */
#ifndef CONVERT_GEMMA_GEMMA_H
#define CONVERT_GEMMA_GEMMA_H

#include "base/base.h"
#include "formats/gguf/gguf.h"

struct gemma_family;

/* What one layer is like. */
struct gemma_layer {
    bool is_sliding;
    bool shares_kv; /* uses an earlier layer's keys and values */
    bool v_is_k;    /* no value projection: values are the keys */
    uint32_t n_ff, n_kv, head_dim;
};

struct gemma_config {
    const struct gemma_family *family;
    const char *model_type; /* as config.json says, borrowed from it */
    uint32_t n_layers, n_embd, n_heads, n_ctx, window, n_kv_shared;
    uint32_t n_vocab, n_vocab_ple, n_ple; /* n_ple: width of a layer's slice; 0 without */
    uint32_t head_dim, head_dim_full, n_kv, n_kv_full;
    uint32_t n_ff;
    uint32_t
        n_embd_out;    /* drafters: the target's width; EmbeddingGemma 2: the answer's */
    uint32_t n_canvas; /* tokens denoised at once; 0 without */
    uint32_t yes_token, no_token; /* of a classifier: ids whose logits are its answer */
    uint32_t n_experts, n_experts_used, n_ff_expert; /* 0 without */
    bool is_double_wide; /* MLP of layers that share keys and values: 2 * n_ff */
    bool has_full_kv;    /* full layers have a number of KV heads of their own */
    bool has_towers;     /* vision_config or audio_config is there */
    bool is_classifier;
    float softcap; /* of the logits; 0 without */
    float rms_eps, rope_base, rope_base_swa, rotary_share;
    float rope_factor;          /* divides the frequencies of full layers; 0: none */
    struct gemma_layer *layers; /* n_layers, from the arena */
};

/* ---- tensors ---- */

/* Sizes a shape is made of. */
enum gemma_dim {
    DIM_NONE,
    DIM_ONE,
    DIM_EMBD,
    DIM_EMBD_OUT,
    DIM_EMBD_OUT_2, /* an embedding and a hidden state of that width */
    DIM_VOCAB,
    DIM_VOCAB_PLE,
    DIM_PLE,     /* a layer's slice */
    DIM_PLE_ALL, /* all layers' */
    DIM_Q,       /* query heads x head size of the layer */
    DIM_KV,      /* KV heads x head size of the layer */
    DIM_HEAD,    /* head size of the layer */
    DIM_FF,
    DIM_EXPERTS,
    DIM_FF_EXPERT,
    DIM_FF_EXPERT_2, /* gate and up rows */
    DIM_ANY,         /* whatever the tensor says */
};

/* When a tensor is part of the model. */
enum gemma_when {
    WHEN_ALWAYS,
    WHEN_PLE,
    WHEN_MOE,
    WHEN_OWN_KV, /* the layer has keys of its own; otherwise the tensor is dead */
    WHEN_OWN_V,  /* ... and values of its own */
    WHEN_UNTIED, /* optional: a head of its own */
    WHEN_HEAD,   /* optional: a dense head behind the pooling */
};

enum { GEMMA_MAX_DIMS = 3 };

struct gemma_tensor {
    const char *source; /* canonical; '*' stands for the layer */
    const char *gguf;   /* likewise */
    enum gemma_when when;
    enum gemma_dim dims[GEMMA_MAX_DIMS]; /* {out, in}; DIM_NONE behind */
};

struct gemma_family {
    const char *name;               /* for people: "gemma4" */
    const char *architecture;       /* GGUF's */
    const char *const *model_types; /* NULL behind the last */
    /* NULL; or configs of those types that are this member, not the one listed after it. */
    bool (*accepts)(const json_t *config);
    const struct gemma_tensor *tensors;
    size_t n_tensors;
    bool shifts_norms;     /* vectors are stored as differences from 1 */
    bool trims_vocabulary; /* rows behind the tokenizer's last piece are padding */
    bool has_partial_rope; /* full layers rotate a part of their heads: rope_freqs */
    bool is_encoder; /* its answer is the mean of all tokens, through heads it may have */
    enum status (*read)(const json_t *config, struct arena *arena,
                        struct gemma_config *out, struct error *err);
    /* Keys of the architecture, general.file_type among them. */
    enum status (*describe)(const struct gemma_config *config, uint32_t file_type,
                            struct gguf_meta *meta, struct error *err);
};

/* The family of a config and its hyper-parameters; the arena owns what *out points to. ERR_USAGE
 * without model_type; ERR_UNSUPPORTED names what is not supported, and lists what is;
 * ERR_CORRUPT names the key. Odd but harmless things are said through log_warn(). */
MUST_CHECK enum status gemma_read_config(const json_t *config, struct arena *arena,
                                         struct gemma_config *out, struct error *err);

/* The rule for a canonical name, and its layer (-1 for model-level tensors); NULL: no such tensor
 * in this family. */
const struct gemma_tensor *gemma_find_tensor(const struct gemma_config *config,
                                             const char *canonical, int *layer);

/* True when the tensor is part of the model in that layer. */
bool gemma_has_tensor(const struct gemma_config *config, const struct gemma_tensor *rule,
                      int layer);

/* The size a shape demands; 0: any. */
uint64_t gemma_size(const struct gemma_config *config, enum gemma_dim dim, int layer);

/* The config's keys a size comes from, for sentences: "hidden_size_per_layer_input x ...". */
const char *gemma_size_keys(enum gemma_dim dim);

/* The config's key that says whether such tensors are there; NULL when none does. */
const char *gemma_when_key(enum gemma_when when);

/* `pattern` with the layer in place of '*', in the arena; NULL when memory is out. */
const char *gemma_name(struct arena *arena, const char *pattern, int layer);

/* ---- general.* ---- */

/* What the converter derives general.name and its like from. */
struct gemma_identity {
    const char *folder;       /* the checkpoint's, its last element is a name */
    const char *name_or_path; /* config.json's _name_or_path, or NULL */
    const json_t *generation; /* generation_config.json, or NULL */
    uint64_t n_params;        /* elements of all tensors */
    uint64_t n_shared;        /* ... of those outside expert tensors */
    uint64_t n_expert;        /* ... of one expert of each expert tensor */
    uint64_t n_experts;
};

/* general.architecture, .type, .sampling.*, .name, .version, .organization, .finetune, .basename,
 * .size_label, and what the folder's README.md says (card.h). Source: gguf-py 0.19's reading of
 * names and cards. */
MUST_CHECK enum status gemma_describe_general(const char *architecture,
                                              const struct gemma_identity *identity,
                                              struct gguf_meta *meta, struct error *err);

#endif
