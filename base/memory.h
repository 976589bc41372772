/*
 * memory.h - an arena: many small things that die together
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

struct arena_chunk;

/* Starts as `= {0}`. */
struct arena {
    struct arena_chunk *head; /* owned */
};

/* n zeroed bytes, aligned for any type; NULL when memory is out. Valid until arena_free. */
void *arena_alloc(struct arena *arena, size_t n_bytes);

/* `count` zeroed things of `size` bytes; NULL on overflow or when memory is out. */
void *arena_array(struct arena *arena, size_t count, size_t size);

/* A NUL-terminated copy of n bytes of text / of a string. */
char *arena_strndup(struct arena *arena, const char *text, size_t n);
char *arena_strdup(struct arena *arena, const char *text);

/* A formatted string. */
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *arena,
                                                         const char *fmt, ...);

/* Free everything and leave an empty arena. */
void arena_free(struct arena *arena);

#endif
