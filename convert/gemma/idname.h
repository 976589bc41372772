/*
 * idname.h - what a model's name says: "gemma-4-E2B-it" to basename, size, fine-tune, version
 *
 * The heuristics are those of gguf-py, so that the same folder gets the same metadata. Differences:
 * letters outside ASCII have no case here.
 */
#ifndef CONVERT_GEMMA_IDNAME_H
#define CONVERT_GEMMA_IDNAME_H

#include "base/base.h"

/* Absent things are NULL; all from the arena. */
struct idname {
    const char *full, *organization, *basename, *finetune, *version, *size_label;
};

/* Take "organization/name" or "name" apart. `n_params` lets it tell a size from a context length.
 * False when memory is out. */
bool idname_parse(struct arena *arena, const char *id, uint64_t n_params,
                  struct idname *out);

/* "gemma-4-it" to "Gemma 4 It"; NULL when memory is out. */
const char *idname_title(struct arena *arena, const char *name);

/* 1,612,345 to "1.6M", as labels of sizes are written; with n_experts > 0 "8x1.2M". */
const char *idname_size_label(struct arena *arena, uint64_t n_params, uint64_t n_experts);

#endif
