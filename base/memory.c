/*
 * memory.c - an arena: chunks in a list, the newest first, filled from the front
 */
#include "base/memory.h"
#include "base/bytes.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10, ALIGNMENT = alignof(max_align_t) };

struct arena_chunk {
    struct arena_chunk *next; /* owned */
    size_t used, size;
    alignas(max_align_t) unsigned char bytes[];
};

static struct arena_chunk *chunk_new(size_t size)
{
    struct arena_chunk *chunk;

    if (size > SIZE_MAX - sizeof(*chunk))
        return NULL;
    chunk = calloc(1, sizeof(*chunk) + size);
    if (chunk)
        chunk->size = size;
    return chunk;
}

/* A chunk with room for `need` bytes. A thing too big to share one gets its own, second in the
 * list, so that the half-filled first keeps filling. */
static struct arena_chunk *chunk_for(struct arena *arena, size_t need)
{
    struct arena_chunk *head = arena->head, *chunk;
    const int is_big = need > CHUNK_BYTES / 4;

    if (head && head->size - head->used >= need)
        return head;
    chunk = chunk_new(is_big ? need : CHUNK_BYTES);
    if (!chunk)
        return NULL;
    if (is_big && head) {
        chunk->next = head->next;
        head->next = chunk;
    } else {
        chunk->next = head;
        arena->head = chunk;
    }
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t n_bytes)
{
    struct arena_chunk *chunk;
    void *p;

    if (n_bytes > SIZE_MAX - ALIGNMENT)
        return NULL;
    /* Nothing at all still gets an address of its own. */
    n_bytes = (size_t)round_up_u64(n_bytes ? n_bytes : 1, ALIGNMENT);
    chunk = chunk_for(arena, n_bytes);
    if (!chunk)
        return NULL;
    p = chunk->bytes + chunk->used;
    chunk->used += n_bytes;
    return p;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t n_bytes;

    return mul_size(count, size, &n_bytes) ? arena_alloc(arena, n_bytes) : NULL;
}

char *arena_strndup(struct arena *arena, const char *text, size_t n)
{
    char *copy = n < SIZE_MAX ? arena_alloc(arena, n + 1) : NULL;

    if (copy && n > 0)
        memcpy(copy, text, n);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0)
        text = arena_alloc(arena, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

void arena_free(struct arena *arena)
{
    struct arena_chunk *chunk = arena->head;

    while (chunk) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena->head = NULL;
}
