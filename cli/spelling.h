/*
 * spelling.h - what the user probably meant
 */
#ifndef CLI_SPELLING_H
#define CLI_SPELLING_H

#include <stddef.h>

/* The one of n words nearest to `word` by insertions, deletions, substitutions and swaps of
 * neighbours, but first one that begins with it; NULL when none is near (a third of its letters, and at
 * least one, may be wrong) or `word` has more than 63 bytes. The first of equals. */
const char *spelling_nearest(const char *word, const char *const *words, size_t n);

#endif
