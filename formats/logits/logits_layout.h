/*
 * logits_layout.h - the header of a reference file, byte by byte
 *
 *     0    "CARATREF"                  8    u32  version, 1
 *     12   u32  n_vocab                16   u32  n_ctx
 *     20   u32  n_chunks               24   u32  n_entries a record
 *     28   u32  1 for conversations    32   u64  n_tokens
 *     40   u64  n_scored               48   32 B tokenizer digest
 *     80   32 B SHA-256 of the text    112  128 B name of the model, zero-padded
 *     240  n_chunks x u32 tokens of the chunk
 *          n_tokens x i32 ids
 *          ceil(n_tokens / 8) bytes: bit i % 8 of byte i / 8 is set when token i is scored
 *          zeros to a multiple of 8
 *          u64  XXH3 of everything before
 *     then n_scored records, and nothing after
 */
#ifndef FORMATS_LOGITS_LOGITS_LAYOUT_H
#define FORMATS_LOGITS_LOGITS_LAYOUT_H

#include "formats/logits/logits.h"

enum { LOGITS_FIXED_BYTES = 240, LOGITS_VERSION = 1 };

#define LOGITS_MAGIC "CARATREF"

/* Bytes of the header with its hash; false when they do not fit 2^62. */
static inline bool logits_header_bytes(uint32_t n_chunks, uint64_t n_tokens,
                                       uint64_t *out)
{
    if (n_tokens > UINT64_C(1) << 56)
        return false;
    *out = round_up_u64(LOGITS_FIXED_BYTES + 4 * ((uint64_t)n_chunks + n_tokens) +
                            (n_tokens + 7) / 8,
                        8) +
           8;
    return true;
}

#endif
