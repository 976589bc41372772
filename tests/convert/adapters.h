/*
 * adapters.h - an adapter to order beside a small checkpoint, and the two merged
 *
 *     adapters_begin(&tiny, &ad, TINY_E2B);
 *     adapters_add(&ad, "base_model.model....lora_A.weight", RANK, 32, 0);
 *     adapters_write(&ad, PEFT);
 *     struct model *model = adapters_merged(&tiny, &ad);
 *     ...
 *     adapters_end(&tiny, &ad);
 *
 * What goes wrong in here is not what a test is about: it aborts.
 */
#ifndef TESTS_CONVERT_ADAPTERS_H
#define TESTS_CONVERT_ADAPTERS_H

#include "convert/convert.h"
#include "formats/safetensors/safetensors.h"
#include "tests/convert/tiny.h"

enum { RANK = 3, MOST_FACTORS = 16 };
#define SCALE 2.0 /* alpha 6 of rank 3; MLX states it */

#define PEFT \
    "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"target_modules\": []}"
#define MLX \
    "{\"fine_tune_type\": \"lora\", \"lora_parameters\": {\"rank\": 3, \"scale\": 2.0}}"

struct adapter_files {
    char folder[FIXTURE_PATH];
    char names[MOST_FACTORS][TINY_NAME];
    struct safetensors_item items[MOST_FACTORS];
    size_t n;
};

void adapters_begin(struct tiny *tiny, struct adapter_files *ad, enum tiny_kind kind);
void adapters_end(struct tiny *tiny, struct adapter_files *ad);

/* One more tensor of a x b, or a x b x c, filled from its place; its numbers, borrowed. */
const float *adapters_add(struct adapter_files *ad, const char *name, uint64_t a,
                          uint64_t b, uint64_t c);
/* Write the tensors, and `config` as adapter_config.json. */
void adapters_write(const struct adapter_files *ad, const char *config);

/* Write the checkpoint and open it with the adapter in a folder, or in what a path leads to. */
enum status adapters_open(const struct tiny *tiny, const char *adapter,
                          struct model **out, struct error *err);
struct model *adapters_merged(const struct tiny *tiny, const struct adapter_files *ad);
/* Expect opening it to be refused in a sentence that has this text. */
void adapters_refused(const struct tiny *tiny, const char *adapter, const char *says);

/* The merged model must have these numbers in one tensor; then everything goes, `want` too. */
void adapters_finish(struct tiny *tiny, struct adapter_files *ad, const char *name,
                     double *want, size_t n_want);

/* The place of a tensor; n_tensors when there is none. */
size_t adapters_place(const struct model *model, const char *name);
/* A tensor's n numbers; and those of the checkpoint itself. Owned: free(). */
double *adapters_numbers(const struct model *model, const char *name, size_t *n);
double *adapters_stored(struct tiny *tiny, const char *name);

/* Every element of the tensor is within the f32 products' rounding of what is wanted. */
void adapters_expect(const struct model *model, const char *name, const double *want,
                     size_t n_want);
/* w {out, in} += SCALE b {out, RANK} a {RANK, in} */
void adapters_product(double *w, const float *b, const float *a, size_t out, size_t in);

#endif
