#include "bench/successors.h"

#include <stdlib.h>

/* A prime, so that multiplying by it misses no token of a smaller or an even vocabulary. */
enum { STRIDE = 92821, START = 40503, COLUMNS = 4096 };

uint64_t mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* As likely as `share`, and the same for both tokens of a pair. */
static int is_agreed(int32_t token, double share)
{
    const uint64_t bits = mix64((uint64_t)(token / 2 + 1) * 0x9e3779b97f4a7c15u);

    return (double)(bits >> 11) * 0x1p-53 < share;
}

struct successors successors_new(int64_t n_vocab, double share)
{
    struct successors s = {
        .n_vocab = n_vocab,
        .next = malloc((size_t)n_vocab * sizeof(*s.next)),
        .before = malloc((size_t)n_vocab * sizeof(*s.before)),
    };

    if (!s.next || !s.before || n_vocab % CLUSTER != 0 || n_vocab % STRIDE == 0)
        abort();
    for (int32_t t = 0; t < n_vocab; t++) {
        const int32_t taken_for = is_agreed(t, share) ? t : t ^ 1;

        s.next[t] = (int32_t)(((int64_t)STRIDE * taken_for + START) % n_vocab);
        s.before[s.next[t]] = t;
    }
    return s;
}

void successors_free(struct successors *s)
{
    free(s->next);
    free(s->before);
    *s = (struct successors){0};
}

float successors_code(int32_t token, int64_t i, int64_t n_code)
{
    const uint64_t of = i < n_code / 2 ? (uint64_t)(token / CLUSTER) : (uint64_t)token;

    return mix64((of * COLUMNS + (uint64_t)i + 1) * 0x9e3779b97f4a7c15u) & 1 ? 1.0f
                                                                             : -1.0f;
}
