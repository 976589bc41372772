/*
 * safetensors_file.h - the inside of an open file; private to this folder
 */
#ifndef FORMATS_SAFETENSORS_SAFETENSORS_FILE_H
#define FORMATS_SAFETENSORS_SAFETENSORS_FILE_H

#include "formats/names/names.h"
#include "formats/safetensors/safetensors.h"

struct metadata_pair {
    const char *key, *value; /* in the arena */
};

struct safetensors {
    struct file *file; /* owned; NULL over bytes in memory */
    struct arena arena;
    struct tensor *tensors; /* owned; by offset */
    size_t n_tensors, capacity;
    struct name_index index;
    struct metadata_pair *pairs; /* owned */
    size_t n_pairs, pairs_capacity;
    struct name_index pair_index;
    bool has_metadata; /* "__metadata__" was seen */
};

/* safetensors_header.c: read the n bytes of JSON. Fills tensors in header order, named once
 * each, with data_offsets as they stand there: offset is the begin, and n_bytes the end. */
MUST_CHECK enum status safetensors_read_json(struct safetensors *st, const char *json,
                                             size_t n, struct error *err);

#endif
