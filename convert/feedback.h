/*
 * feedback.h - error-compensated rounding of a plan's tensors, from a file of second moments
 *
 * A matrix is rounded against the metric of its input (quantize/compensate). Everything is decided
 * from the weights and the moments file: how much damping, by the held-out loss of the first rows of a
 * tensor's first matrix; and whether feedback is used at all, against the scale search with the diagonal. So the
 * bytes are a function of weights, moments and options.
 *
 * Wide inputs have their moments in equal groups of columns (formats/moments), each with a metric of
 * its own. Memory: feedback_bytes().
 */
#ifndef CONVERT_FEEDBACK_H
#define CONVERT_FEEDBACK_H

#include "convert/plan.h"
#include "formats/moments/moments.h"

struct feedback;

/* True when the file has the input of this item's matrices and the type can be compensated. */
bool feedback_covers(const struct moments *moments, const struct work_item *item);

/* Bytes that rounding the item takes at most, apart from its rows: of G groups of g columns two squares
 * of moments (f32), a metric in the making (24 g^2) beside the best so far or those of the groups
 * before (8 g^2 each); for experts their means as well. 0 where nothing covers it. */
uint64_t feedback_bytes(const struct moments *moments, const struct work_item *item);

/* `moments` is borrowed. ERR_NOMEM. */
MUST_CHECK enum status feedback_new(const struct moments *moments, struct feedback **out,
                                    struct error *err);
void feedback_free(struct feedback *feedback); /* NULL is fine */

/* Round rows [first, first + n) of the item, decoded at x, into blocks at out. Rows may cross from
 * one expert's matrix into the next. */
MUST_CHECK enum status feedback_rows(struct feedback *feedback,
                                     const struct work_item *item, uint64_t first,
                                     uint64_t n, const float *x, uint8_t *out,
                                     struct error *err);

/* What was decided since it was last asked: groups of columns judged by their held-out loss, how many
 * fell back to the search with the diagonal, the others' sum of ln(loss / loss of the search), and the
 * damping chosen last. */
struct feedback_report {
    size_t n_matrices, n_fell_back;
    double log_gain, damping;
    double factor_seconds, rounding_seconds; /* the rest with its trials */
};
struct feedback_report feedback_take_report(struct feedback *feedback);

#endif
