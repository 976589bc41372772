/*
 * feedback_experts.h - second moments of an expert that saw few tokens (private to feedback.c)
 *
 * H_e = (N_e H_e + N_0 H) / (N_e + N_0), H the mean over all experts of the layer, weighted by tokens, and N_0 twice
 * the columns: what is not known of one expert's inputs is taken from the others', never from the
 * identity.
 */
#ifndef CONVERT_FEEDBACK_EXPERTS_H
#define CONVERT_FEEDBACK_EXPERTS_H

#include "convert/plan.h"
#include "formats/moments/moments.h"

/* The means of one group of columns of one tensor; all zero: none yet. */
struct expert_means {
    const struct work_item *item;
    size_t group;
    float *h, *held; /* group^2 each, owned */
    bool has_held;   /* some expert has held-out tokens */
};

/* The moments of the input of one matrix; false when there are none of its width. With NULL, which
 * stands for moments that are yet to be gathered: of every input there is a name for, and the shape
 * only. */
bool feedback_entry(const struct moments *moments, const struct work_item *item,
                    uint64_t matrix, struct moments_entry *entry);

/* Shrink both halves of an expert's moments, entry->group^2 floats each, of this group of columns; and the
 * diagonal of that group, entry->group floats. ERR_NOMEM, ERR_IO. */
MUST_CHECK enum status
expert_shrink(struct expert_means *means, const struct moments *moments,
              const struct work_item *item, const struct moments_entry *entry,
              size_t group, float *h, float *held, float *diagonal, struct error *err);
void expert_means_free(struct expert_means *means);

#endif
