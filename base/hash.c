/*
 * hash.c - SHA-256 (libcrypto) for trust, XXH3 (xxHash) for tables
 */
#include "base/hash.h"
#include "base/file.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <xxhash.h>

enum { READ_BYTES = 1 << 20 };

struct sha256 {
    EVP_MD_CTX *context; /* owned */
};

struct sha256 *sha256_new(void)
{
    struct sha256 *hash = calloc(1, sizeof(*hash));

    if (!hash)
        return NULL;
    hash->context = EVP_MD_CTX_new();
    if (!hash->context || !EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL)) {
        sha256_free(hash);
        return NULL;
    }
    return hash;
}

void sha256_update(struct sha256 *hash, const void *bytes, size_t n)
{
    EVP_DigestUpdate(hash->context, bytes, n);
}

void sha256_final(struct sha256 *hash, uint8_t digest[32])
{
    EVP_DigestFinal_ex(hash->context, digest, NULL);
    sha256_free(hash);
}

void sha256_free(struct sha256 *hash)
{
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->context);
    free(hash);
}

void sha256_hex(const uint8_t digest[32], char text[65])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 32; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[64] = '\0';
}

void sha256_bytes(const void *bytes, size_t n, uint8_t digest[32])
{
    SHA256(bytes, n, digest);
}

enum status sha256_file(const char *path, uint8_t digest[32], struct error *err)
{
    struct sha256 *hash = sha256_new();
    uint8_t *buf = malloc(READ_BYTES);
    struct file *file = NULL;
    enum status st;

    if (!hash || !buf) {
        st = fail(err, ERR_NOMEM, "%s: no memory to hash it", path);
        goto out;
    }
    st = file_open(path, &file, err);
    for (uint64_t at = 0; st == OK && at < file_size(file);) {
        uint64_t left = file_size(file) - at;
        size_t n = left < READ_BYTES ? (size_t)left : READ_BYTES;

        st = file_read(file, at, buf, n, err);
        if (st == OK)
            sha256_update(hash, buf, n);
        at += n;
    }
    if (st == OK) {
        sha256_final(hash, digest);
        hash = NULL;
    }

out:
    file_close(file);
    free(buf);
    sha256_free(hash);
    return st;
}

uint64_t hash_bytes(const void *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}
