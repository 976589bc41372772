/*
 * weightmap.h - *.index.json of a sharded checkpoint: which tensor is in which file
 *
 *     {"metadata": {"total_size": N}, "weight_map": {tensor: file name, ...}}
 *
 * The total size is often wrong and is not read. The same for safetensors and PyTorch shards.
 */
#ifndef FORMATS_WEIGHTMAP_WEIGHTMAP_H
#define FORMATS_WEIGHTMAP_WEIGHTMAP_H

#include "base/base.h"
#include "formats/names/names.h"

struct weightmap_entry {
    const char *tensor;
    size_t shard; /* position in weightmap.shards */
};

/* Starts as `= {0}`. Strings are in the arena. */
struct weightmap {
    struct arena arena;
    struct weightmap_entry *entries; /* owned */
    size_t n_entries, entries_capacity;
    struct name_index by_tensor;
    const char **shards; /* owned; plain file names in byte order */
    size_t n_shards, shards_capacity;
    struct name_index by_shard;
};

/* Read an index file. Every file name must be plain: no separators, not "." or "..".
 * ERR_CORRUPT, ERR_NOMEM; ERR_USAGE when missing. Sentences begin with the path. */
MUST_CHECK enum status weightmap_read(const char *path, struct weightmap *index,
                                      struct error *err);

void weightmap_free(struct weightmap *index);

#endif
