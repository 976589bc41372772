/*
 * spelling.c - what the user probably meant
 *
 * Source: Damerau, "A technique for computer detection and correction of spelling errors" (1964),
 * in the restricted form where no part is edited twice.
 */
#include "cli/spelling.h"

#include <string.h>

enum { MOST_BYTES = 63 };

static int least(int a, int b, int c)
{
    int m = a < b ? a : b;

    return m < c ? m : c;
}

/* Row by row over a; the two rows before the one in hand are kept. Both at most MOST_BYTES. */
static int distance(const char *a, const char *b)
{
    int rows[3][MOST_BYTES + 1];
    int *before = rows[0], *last = rows[1], *now = rows[2];
    const size_t n_a = strlen(a), n_b = strlen(b);

    for (size_t j = 0; j <= n_b; j++)
        last[j] = (int)j;
    memcpy(before, last, sizeof(rows[0]));
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= n_b; j++) {
            now[j] =
                least(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1, now[j]);
        }
        int *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[n_b];
}

const char *spelling_nearest(const char *word, const char *const *words, size_t n)
{
    const size_t length = strlen(word);
    const char *best = NULL;
    int best_distance = 1 + (length < 6 ? 1 : (int)length / 3);

    if (length == 0 || length > MOST_BYTES)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (strlen(words[i]) > MOST_BYTES)
            continue;
        int d = length >= 3 && strncmp(words[i], word, length) == 0
                    ? 0
                    : distance(word, words[i]);

        if (d < best_distance) {
            best_distance = d;
            best = words[i];
        }
    }
    return best;
}
