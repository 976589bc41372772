/*
 * shards_index.h - model.safetensors.index.json: which tensor is in which file
 *
 * Private to this folder. {"metadata": {...}, "weight_map": {tensor: file name}}; the total size
 * in the metadata is often wrong and is not read.
 */
#ifndef FORMATS_SAFETENSORS_SHARDS_INDEX_H
#define FORMATS_SAFETENSORS_SHARDS_INDEX_H

#include "base/base.h"
#include "formats/names/names.h"

struct shard_entry {
    const char *tensor;
    size_t shard; /* position in shard_index.shards */
};

/* Starts as `= {0}`. Strings are in the arena. */
struct shard_index {
    struct arena arena;
    struct shard_entry *entries; /* owned */
    size_t n_entries, entries_capacity;
    struct name_index by_tensor;
    const char **shards; /* owned; plain file names in byte order */
    size_t n_shards, shards_capacity;
    struct name_index by_shard;
};

/* Read an index file. Every file name must be plain: no separators, not "." or "..".
 * ERR_CORRUPT, ERR_NOMEM; ERR_USAGE when missing. Sentences begin with the path. */
MUST_CHECK enum status shard_index_read(const char *path, struct shard_index *index,
                                        struct error *err);

void shard_index_free(struct shard_index *index);

#endif
