/*
 * hash.h - SHA-256 (libcrypto) for trust, XXH3 (xxHash) for tables
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct sha256;

struct sha256 *sha256_new(void); /* NULL when memory is out */
void sha256_update(struct sha256 *hash, const void *bytes, size_t n);
/* Write the digest and free the state. */
void sha256_final(struct sha256 *hash, uint8_t digest[32]);
void sha256_free(struct sha256 *hash); /* give up without a digest; NULL is fine */

/* 64 lower-case hex digits and a NUL. */
void sha256_hex(const uint8_t digest[32], char text[65]);

/* The digest of n bytes / of a whole file. */
void sha256_bytes(const void *bytes, size_t n, uint8_t digest[32]);
MUST_CHECK enum status sha256_file(const char *path, uint8_t digest[32],
                                   struct error *err);

uint64_t hash_bytes(const void *bytes, size_t n); /* XXH3, 64 bits */

#endif
