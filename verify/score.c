/*
 * score.c - walk a text chunk by chunk and look at every scored row of logits
 */
#include "verify/score.h"

#include <pthread.h>
#include <stdlib.h>

enum { NOT_SCORED = -1 };

struct walk {
    const struct logits_source *source;
    const struct scorer *scorer;
    const int32_t *ids;
    int64_t
        *index; /* by position of the row: the scored token it predicts, or NOT_SCORED */
    float *scratch; /* n_vocab floats a thread */
    pthread_mutex_t lock;
    uint64_t bad_index; /* the lowest index in trouble */
    struct error trouble;
};

/* Rows of one call of the sink. */
struct batch {
    struct walk *walk;
    uint32_t position;
    const float *logits;
};

static void keep_trouble(struct walk *walk, uint64_t index, const struct error *err)
{
    pthread_mutex_lock(&walk->lock);
    if (walk->trouble.code == OK || index < walk->bad_index) {
        walk->trouble = *err;
        walk->bad_index = index;
    }
    pthread_mutex_unlock(&walk->lock);
}

static void look_at_rows(void *arg, size_t begin, size_t end)
{
    const struct batch *batch = arg;
    struct walk *walk = batch->walk;
    size_t n_vocab = walk->source->n_vocab;
    float *weights = walk->scratch + (size_t)parallel_index() * n_vocab;

    for (size_t r = begin; r < end; r++) {
        int64_t index = walk->index[batch->position + r];
        struct error err = {0};
        struct logits_row row;

        if (index == NOT_SCORED)
            continue;
        if (!logits_row_make(batch->logits + r * n_vocab, n_vocab, weights, &row))
            (void)fail(&err, ERR_CORRUPT,
                       "the model's logits at position %zu are not numbers",
                       batch->position + r);
        else
            (void)walk->scorer->row(walk->scorer->arg, (uint64_t)index,
                                    walk->ids[batch->position + r + 1], &row, &err);
        if (err.code != OK)
            keep_trouble(walk, (uint64_t)index, &err);
    }
}

static void take_rows(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    struct batch batch = {arg, position, logits};
    parallel_for(n_rows, 1, look_at_rows, &batch);
}

/* Number the scored rows of a chunk from `next` on; returns how many there are. */
static uint64_t number_rows(const uint8_t *scored, uint32_t n, uint64_t next,
                            int64_t *index, uint32_t *first)
{
    uint64_t n_scored = 0;

    *first = UINT32_MAX;
    for (uint32_t p = 0; p < n; p++) {
        bool counts = p + 1 < n && scored[p + 1];
        index[p] = counts ? (int64_t)(next + n_scored) : NOT_SCORED;
        if (counts && n_scored++ == 0)
            *first = p;
    }
    return n_scored;
}

static enum status run_chunk(struct walk *walk, const uint8_t *scored, uint32_t n,
                             uint64_t *next, struct error *err)
{
    struct logits_sink sink = {.arg = walk, .rows = take_rows};
    uint64_t n_scored = number_rows(scored, n, *next, walk->index, &sink.first);

    if (n_scored == 0)
        return OK;
    if (walk->source->run(walk->source->self, walk->ids, n, &sink, err) != OK)
        return err->code;
    if (walk->trouble.code != OK) {
        *err = walk->trouble;
        return err->code;
    }
    if (walk->scorer->chunk &&
        walk->scorer->chunk(walk->scorer->arg, *next, n_scored, err) != OK)
        return err->code;
    *next += n_scored;
    return OK;
}

enum status score_text(const struct logits_source *source, const struct logits_text *text,
                       uint32_t n_chunks, const struct scorer *scorer,
                       const struct progress *progress, struct error *err)
{
    struct walk walk = {
        .source = source, .scorer = scorer, .lock = PTHREAD_MUTEX_INITIALIZER};
    enum status st = OK;
    uint64_t at = 0, next = 0;
    size_t n_scratch;

    walk.index = malloc(((size_t)text->n_ctx + 1) * sizeof(*walk.index));
    if (mul_size((size_t)parallel_threads() * sizeof(float), source->n_vocab, &n_scratch))
        walk.scratch = malloc(n_scratch);
    if (!walk.index || !walk.scratch)
        st = fail(err, ERR_NOMEM, "out of memory for rows of %u logits", source->n_vocab);

    for (uint32_t c = 0; c < n_chunks && st == OK; c++) {
        progress_report(progress, "chunk", c, n_chunks);
        walk.ids = text->tokens + at;
        st = run_chunk(&walk, text->scored + at, text->chunk_tokens[c], &next, err);
        at += text->chunk_tokens[c];
        if (st == OK)
            st = interrupt_check(err);
    }
    if (st == OK)
        progress_report(progress, "chunk", n_chunks, n_chunks);
    free(walk.index);
    free(walk.scratch);
    return st;
}

void score_chunk_counts(const struct logits_text *text, uint32_t n_chunks,
                        uint64_t *counts)
{
    uint64_t at = 0;

    for (uint32_t c = 0; c < n_chunks; c++) {
        counts[c] = 0;
        for (uint32_t i = 0; i < text->chunk_tokens[c]; i++)
            counts[c] += text->scored[at + i];
        at += text->chunk_tokens[c];
    }
}

uint64_t score_count(const struct logits_text *text, uint32_t *n_chunks)
{
    uint64_t at = 0, n_scored = 0;

    if (*n_chunks == 0 || *n_chunks > text->n_chunks)
        *n_chunks = text->n_chunks;
    for (uint32_t c = 0; c < *n_chunks; c++)
        for (uint32_t i = 0; i < text->chunk_tokens[c]; i++)
            n_scored += text->scored[at++];
    return n_scored;
}
