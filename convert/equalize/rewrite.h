/*
 * rewrite.h - the rewrites of a model, listed, weighed and carried out (private to this folder)
 */
#ifndef CONVERT_EQUALIZE_REWRITE_H
#define CONVERT_EQUALIZE_REWRITE_H

#include "convert/equalize/equalize.h"

/* One tensor that takes part. Column c has factor c / (width * repeat) * width + c % width: heads of
 * `width` columns, `repeat` of which share theirs; or slices, all of which do. */
struct side {
    size_t tensor;
    bool is_rows;   /* factors go along the rows of each matrix, from `first` on */
    uint64_t first; /* rows only */
    uint64_t width, repeat;
};

enum { MAX_PRODUCERS = 2 };

struct rewrite {
    char name[MOMENTS_NAME]; /* of the input: "blk.3.ffn_in", "ple_mid" */
    size_t n;                /* factors a set */
    size_t n_sets;           /* an expert each, or 1 for all matrices */
    struct side producers[MAX_PRODUCERS], *readers;
    size_t n_producers, n_readers;
    bool has_table; /* producers[1] is a matrix read by row */
    int8_t *k;      /* [n_sets][n] sixteenths of an octave; NULL: not rewritten */
};

struct equalization {
    struct rewrite *rewrites; /* in the order they are decided and carried out */
    size_t n_rewrites;
    struct equalize_counts counts;
    bool is_gated;
};

/* One matrix of one reader: what a loss is measured on. */
struct part {
    const struct equalize_tensor *tensor;
    const struct side *side;
    uint64_t matrix;
};

/* What is known of one input: second moments' diagonal, or an importance matrix. */
struct energy {
    double *of;    /* [columns] mean squares */
    double tokens; /* 0: nothing is known */
};

/* 2^(k/16), rounded to F32 once. */
float equalize_factor(int k);

/* Which factor column c of a side has. */
size_t side_factor(const struct side *side, uint64_t c);

/* List the rewrites that the model's tensors allow. ERR_NOMEM. */
MUST_CHECK enum status rewrites_list(struct equalize_model *model, struct rewrite **out,
                                     size_t *n, struct error *err);

/* Multiply and divide, for rewrite->k. ERR_NOMEM. */
MUST_CHECK enum status rewrite_apply(struct equalize_model *model,
                                     const struct rewrite *rewrite, struct error *err);
/* Let the statistics follow. */
MUST_CHECK enum status rewrite_statistics(const struct equalize_model *model,
                                          const struct rewrite *rewrite,
                                          const struct equalize_choice *choice,
                                          struct error *err);

/* The parts of set `set`, from the arena. ERR_NOMEM. */
MUST_CHECK enum status rewrite_parts(const struct equalize_model *model,
                                     const struct rewrite *rewrite, size_t set,
                                     struct part **out, size_t *n, struct error *err);

/* Mean squares of a part's input; energy->of has room for its columns. */
MUST_CHECK enum status part_energy(const struct equalize_choice *choice,
                                   const struct part *part, struct energy *energy,
                                   struct error *err);
/* Where a part's second moments are, and what its input is called there; false: there are none. */
bool part_moments(const struct equalize_choice *choice, const struct part *part,
                  char input[MOMENTS_NAME], struct moments_entry *entry);

/* Factors of one set by the formula above: k[n]. *known is false when the input was not. All zero
 * when weights are not finite. */
MUST_CHECK enum status factors_find(struct equalize_model *model,
                                    const struct rewrite *rewrite, size_t set,
                                    const struct equalize_choice *choice, int8_t *k,
                                    bool *known, struct error *err);

/* What a set's matrices and inputs add up to, on its n factors. */
struct folded {
    double *r2; /* squares of columns, each matrix by its own inverse loss scale; owned */
    double *a2; /* mean squares of channels, times tokens; borrowed from r2 */
    double tokens;
};
MUST_CHECK enum status factors_fold(struct equalize_model *model,
                                    const struct rewrite *rewrite, size_t set,
                                    const struct equalize_choice *choice,
                                    struct folded *out, struct error *err);
void folded_free(struct folded *folded);

/* Sum of squares of each column of one matrix, from at most 512 of its rows: sum[columns]. */
MUST_CHECK enum status column_energy(const struct equalize_tensor *tensor,
                                     uint64_t matrix, double *sum, struct error *err);

/* Losses of `n_candidates` sets of factors (rows of k, n each) on held-out inputs, relative to no
 * factors at all; the worst where several can be told. *judged is false when nothing was held out. */
MUST_CHECK enum status gate_losses(struct equalize_model *model,
                                   const struct rewrite *rewrite, size_t set,
                                   const struct equalize_choice *choice,
                                   const int8_t *const *candidates, size_t n_candidates,
                                   double *losses, bool *judged, struct error *err);

#endif
