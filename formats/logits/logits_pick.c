/*
 * logits_pick.c - choose the entries of a record: a certain part and a sample of the tail
 *
 * Sampling with probability proportional to size. With n entries to spend, k of them go to the
 * most probable pieces, where k is the smallest number such that every other piece is less
 * probable than the step tail / (n - k). The tail is then walked by ascending id and a piece is
 * taken wherever its cumulated probability passes (j + u) steps, j = 0, 1, ...; u is uniform
 * and comes from the record's index. So each tail piece is taken with probability p / step, at
 * most once, and exactly n - k are.
 *
 * Source: Saerndal, Swensson, Wretman, "Model Assisted Survey Sampling" (1992), section 3.6
 * (systematic sampling, probability proportional to size).
 */
#include "formats/logits/logits.h"

#include <stdlib.h>

/* Rounding of the walk's sums stays below this share of a step for 2^20 pieces and 2^16
 * entries, so a piece kept out of the certain part by it cannot be taken twice. */
static const double SAFE_SHARE = 1.0 - 1e-5;

static bool is_better(struct logits_entry a, struct logits_entry b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Restore the heap (worst entry at the root) below node i. */
static void sift(struct logits_entry *heap, size_t n, size_t i)
{
    struct logits_entry moving = heap[i];

    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && is_better(heap[child], heap[child + 1]))
            child++;
        if (!is_better(moving, heap[child]))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moving;
}

/* The n best pieces of the row, best first. */
static void select_best(const struct logits_row *row, struct logits_entry *best, size_t n)
{
    for (size_t i = 0; i < n; i++)
        best[i] = (struct logits_entry){(uint32_t)i, row->z[i]};
    for (size_t i = n / 2; i-- > 0;)
        sift(best, n, i);
    for (size_t i = n; i < row->n; i++) {
        struct logits_entry entry = {(uint32_t)i, row->z[i]};
        if (is_better(entry, best[0])) {
            best[0] = entry;
            sift(best, n, 0);
        }
    }
    for (size_t left = n; left > 1; left--) {
        struct logits_entry worst = best[0];
        best[0] = best[left - 1];
        best[left - 1] = worst;
        sift(best, left - 1, 0);
    }
}

static int by_id(const void *a, const void *b)
{
    const struct logits_entry *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* How many of the n best are certain; at least one draw is left for the tail. */
static uint32_t count_certain(const struct logits_row *row,
                              const struct logits_entry *best, uint32_t n)
{
    uint32_t k = 1;
    double rest = row->sum - (double)row->weights[best[0].id];

    while (k + 1 < n) {
        double next = (double)row->weights[best[k].id];
        if (next < SAFE_SHARE * rest / (double)(n - k))
            break;
        rest -= next;
        k++;
    }
    return k;
}

/* Sum of the weights outside the certain part, in order of the ids. */
static double tail_weight(const struct logits_row *row, const struct logits_entry *top,
                          uint32_t n_top)
{
    double sum = 0.0;
    uint32_t t = 0;

    for (size_t i = 0; i < row->n; i++) {
        if (t < n_top && top[t].id == i)
            t++;
        else
            sum += (double)row->weights[i];
    }
    return sum;
}

/* A number inside (0, 1) with 32 random bits: the finaliser of SplitMix64. */
static double uniform(uint64_t index)
{
    uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return ((double)(x >> 32) + 0.5) * 0x1p-32;
}

/* Walk the tail and take the draws; returns how many there are. */
static uint32_t draw_tail(const struct logits_row *row, double tail, double u,
                          struct logits_record *record, uint32_t n_draws)
{
    const struct logits_entry *top = record->entries;
    struct logits_entry *taken = record->entries + record->n_top;
    double step = tail / (double)n_draws, at = 0.0;
    uint32_t t = 0, n = 0;

    for (size_t i = 0; i < row->n && n < n_draws; i++) {
        if (t < record->n_top && top[t].id == i) {
            t++;
            continue;
        }
        at += (double)row->weights[i];
        if (at > ((double)n + u) * step)
            taken[n++] = (struct logits_entry){(uint32_t)i, row->z[i]};
    }
    return n;
}

void logits_record_make(const struct logits_row *row, int32_t target, uint64_t index,
                        uint32_t n_entries, struct logits_record *record)
{
    bool is_whole = row->n <= n_entries;
    uint32_t n = is_whole ? (uint32_t)row->n : n_entries;

    record->lse = row->lse;
    record->target = row->z[target];
    record->tail = 0.0;
    record->n_tail = 0;
    select_best(row, record->entries, n);
    record->n_top = is_whole ? n : count_certain(row, record->entries, n);
    qsort(record->entries, record->n_top, sizeof(*record->entries), by_id);
    if (is_whole)
        return;

    double tail = tail_weight(row, record->entries, record->n_top);
    record->tail = tail / row->sum;
    if (record->tail > 0.0)
        record->n_tail = draw_tail(row, tail, uniform(index), record, n - record->n_top);
}
