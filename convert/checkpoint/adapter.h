/*
 * adapter.h - adapters, merged into source tensors as their rows are decoded (private)
 *
 * An adapter is a configuration and stored tensors, grouped by the module they change. Each group
 * becomes one merge that wraps a source tensor: its fetch() reads the base rows and the group's
 * tensors whole (they are thin), its decode() adds. Products and sums are f32, from the numbers as
 * stored; nothing is rounded to the base's type in between.
 *
 * Sources: PEFT 0.21 (lora, loha, lokr, ia3, vera, oft: get_delta_weight, merge), mlx-lm (tuner).
 */
#ifndef CONVERT_CHECKPOINT_ADAPTER_H
#define CONVERT_CHECKPOINT_ADAPTER_H

#include "convert/checkpoint/catalogue.h"
#include "formats/archive/archive.h"
#include "formats/names/names.h"
#include "formats/safetensors/safetensors.h"

enum adapter_kind {
    ADAPTER_LORA,
    ADAPTER_LOHA,
    ADAPTER_LOKR,
    ADAPTER_IA3,
    ADAPTER_VERA,
    ADAPTER_OFT,
    ADAPTER_MLX, /* lora or dora, transposed factors, scale as it is */
};

/* What a stored tensor is to its module. */
enum adapter_role {
    ROLE_A, /* the factor at the input */
    ROLE_B, /* the factor at the output */
    ROLE_MAGNITUDE,
    ROLE_EMBEDDING_A,
    ROLE_EMBEDDING_B,
    ROLE_BIAS,    /* of B: refused */
    ROLE_REPLACE, /* the whole weight */
    ROLE_ROWS,    /* rows that replace the listed ones */
    ROLE_BASE,    /* a copy of the base's own: ignored */
    ROLE_W1,
    ROLE_W1_A,
    ROLE_W1_B,
    ROLE_W2,
    ROLE_W2_A,
    ROLE_W2_B,
    ROLE_SCALE, /* IA3 */
    ROLE_LAMBDA_B,
    ROLE_LAMBDA_D,
    ROLE_ROTATION,
    N_ROLES,
};

/* The tensors of one module. */
struct adapter_group {
    const char *path;  /* canonical: "layers.3.mlp.up_proj" */
    const char *asked; /* as the file spells the module, for patterns */
    bool is_inner;     /* under "base_layer": the first of two wrapped parameters */
    const struct raw_tensor *role[N_ROLES];
};

struct adapter {
    struct checkpoint *cp;
    const char *folder; /* as the user named it */
    const char *file;   /* its weights, where the user named them; or NULL */
    double strength;    /* the user's */
    enum adapter_kind kind;
    json_t *config;          /* owned */
    struct shards *shards;   /* owned; one of the two */
    struct archive *archive; /* owned */
    struct raw_tensor *raws; /* in the checkpoint's arena */
    size_t n_raws;
    struct adapter_group *groups;
    size_t n_groups, n_merged;
    struct name_index by_path[2]; /* of groups, the inner ones apart */
    const struct raw_tensor *vera_a, *vera_b;
};

/* ---- adapter_config.c ---- */

/* Read and judge the configuration: kind, and every key that would change the result in a way
 * not merged here is refused by name. */
MUST_CHECK enum status adapter_read_config(struct adapter *ad, struct error *err);
/* The scale of a group whose rank is `rank`, by the patterns that match `asked`; checks the rank
 * against the configuration. Rank 0: no tensor shows it, and what the configuration says counts. */
MUST_CHECK enum status adapter_scale(const struct adapter *ad,
                                     const struct adapter_group *group, const char *asked,
                                     uint64_t rank, double *scale, struct error *err);

/* ---- adapter_tensors.c ---- */

/* Open the weights, check that they are finite, group them by module. */
MUST_CHECK enum status adapter_read_tensors(struct adapter *ad, struct error *err);
/* "FOLDER: NAME: why" in ERR_CORRUPT. */
__attribute__((format(printf, 4, 5))) MUST_CHECK enum status
adapter_misfit(const struct adapter *ad, const struct raw_tensor *raw, struct error *err,
               const char *fmt, ...);

/* ERR_CORRUPT when the group has no such tensor; `what` is its name. */
MUST_CHECK enum status adapter_need(const struct adapter *ad,
                                    const struct adapter_group *group,
                                    enum adapter_role role, const char *what,
                                    struct error *err);

/* ---- adapter_merge.c, adapter_low_rank.c, adapter_other.c, adapter_vera.c ---- */

/* A factor of a product, as element strides into a stored tensor. */
struct factor {
    const struct raw_tensor *raw; /* NULL: absent */
    uint64_t pos, k, expert; /* strides of the row (or column), the rank, the expert */
};

enum { MERGE_TENSORS = 4 };

struct merge {
    struct source_tensor base;                       /* what was there before */
    const struct raw_tensor *tensors[MERGE_TENSORS]; /* read whole with every fetch */
    size_t n_tensors;
    /* Change rows [from, from + n), x holds them; bytes[i] is tensor i. */
    void (*apply)(const struct merge *m, const uint8_t *const *bytes, uint64_t from,
                  uint64_t n, float *x);
    struct factor left, right, left2,
        right2; /* delta = left right (times left2 right2) */
    const struct raw_tensor *row_scale, *k_scale; /* multiply the left factor */
    const struct raw_tensor *magnitude;
    uint64_t rank;
    uint64_t rows_per_expert;      /* those of the tensor, where there are no experts */
    uint64_t part_from, part_rows; /* of each expert's rows, those that change; 0: all */
    float scale;
    const void *own;      /* what else a kind needs */
    const uint64_t *rows; /* row i of tensor 0 replaces rows[i]; `rank` of them */
};

/* Wrap `t` in m (copied to the arena). `what`: "LoRA r8". ERR_NOMEM. */
MUST_CHECK enum status merge_wrap(struct checkpoint *cp, struct source_tensor *t,
                                  const struct merge *m, const char *what,
                                  struct error *err);
/* Put `raw` among the tensors read with every fetch, once. */
void merge_reads(struct merge *m, const struct raw_tensor *raw);
/* What fetch() read of it. */
const uint8_t *merge_bytes(const struct merge *m, const uint8_t *const *bytes,
                           const struct raw_tensor *raw);
/* One element of a stored tensor. */
float merge_number(const struct raw_tensor *raw, const uint8_t *bytes, uint64_t at);
/* True when some of rows [first, first + n) change: what changes none of them is not read for them. */
bool merge_touches(const struct merge *m, uint64_t first, uint64_t n);
void low_rank_apply(const struct merge *m, const uint8_t *const *bytes, uint64_t from,
                    uint64_t n, float *x);

/* Where in a tensor a group belongs: all of it, or some rows of each expert or of one. */
struct adapter_target {
    struct source_tensor *t; /* NULL: nowhere */
    uint64_t from, rows, period;
};

/* One group of its kind into its source tensor. */
MUST_CHECK enum status low_rank_merge(struct adapter *ad,
                                      const struct adapter_group *group,
                                      const struct adapter_target *target,
                                      struct error *err);
MUST_CHECK enum status other_merge(struct adapter *ad, const struct adapter_group *group,
                                   struct source_tensor *t, struct error *err);

/* VeRA: the shared projection, as it was before it was rounded for saving where that can be told;
 * then one group. */
MUST_CHECK enum status vera_projection(struct adapter *ad, struct error *err);
MUST_CHECK enum status vera_merge(struct adapter *ad, const struct adapter_group *group,
                                  struct source_tensor *t, struct error *err);

#endif
