/*
 * gathering.h - the distinct inputs of a model, and the sums of those in hand (private)
 *
 * Every input belongs to one step of the walk: the embedding's, a layer's, the head's. The sums of a
 * step that do not fit memory together are gathered in turns.
 */
#ifndef CONVERT_CALIBRATE_GATHERING_H
#define CONVERT_CALIBRATE_GATHERING_H

#include "convert/calibrate/calibrate.h"
#include "formats/moments/moments.h"
#include "runtime/runtime.h"

/* One distinct input, and its sums while its turn lasts. */
struct gathering {
    struct moments_item item;
    uint32_t step;
    bool is_in_hand, is_filed;
    const char *weight; /* the first weight seen to read it speaks for it; borrowed */
    struct gram train, held;
};

struct inputs {
    struct gathering *list; /* as the model names them; owned */
    size_t n;
};

/* Squares of all experts of an input of a layer, in numbers: beyond, they share correlations. */
enum { EXPERTS_MOST = 1 << 26 };

/* ERR_NOMEM. n_steps is the walk's. */
MUST_CHECK enum status inputs_list(struct inputs *inputs, const struct model *model,
                                   enum expert_moments experts, uint32_t n_steps,
                                   struct error *err);
void inputs_free(struct inputs *inputs);

/* Bytes that the largest input takes. */
uint64_t inputs_largest(const struct inputs *inputs);

/* What was done before a resumed run began. */
void inputs_skip(struct inputs *inputs, uint32_t steps_done);

/* Take as many of the step's inputs in hand as fit `budget` bytes, at least one where any is left.
 * ERR_NOMEM. */
MUST_CHECK enum status inputs_take(struct inputs *inputs, uint32_t step, uint64_t budget,
                                   struct error *err);
/* True when a step has inputs that were not yet in hand. */
bool inputs_left(const struct inputs *inputs, uint32_t step);

/* Add an event's rows to the input it shows, when that is in hand. */
void inputs_add(struct inputs *inputs, const struct tap_event *event, bool is_held);

/* File what is in hand and let it go. */
MUST_CHECK enum status inputs_file(struct inputs *inputs, struct moments_writer *writer,
                                   struct error *err);

/* The file for all of them. */
MUST_CHECK enum status inputs_create_file(const struct inputs *inputs, const char *path,
                                          const struct moments_header *header,
                                          const struct output_options *options,
                                          struct moments_writer **out, struct error *err);

#endif
