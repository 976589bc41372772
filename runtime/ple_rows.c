/*
 * ple_rows.c - the reader thread and the row cache
 *
 * One mutex guards `state`; whoever may touch the rest follows from it: the reader thread while
 * WORKING, the caller otherwise.
 */
#include "runtime/ple_rows.h"

#include <pthread.h>
#include <stdlib.h>

enum state { IDLE, WORKING, QUIT };

/* A cache by id with the second-chance rule: `used` is set by a hit and forgiven once. */
struct cache {
    uint8_t *rows;     /* n_slots rows */
    int32_t *ids;      /* of each slot; -1: empty */
    bool *used;        /* of each slot */
    uint32_t *slot_of; /* by id: slot + 1, or 0 */
    size_t n_slots, hand;
};

struct ple_rows {
    const struct model *model;
    size_t index; /* of the table among the model's tensors */
    enum block_type type;
    size_t row_bytes;

    const uint8_t *table; /* the whole table, when it is in memory */
    uint8_t *owned_table;

    struct cache cache;
    uint8_t *buffer; /* the request's rows, each once, by id */
    int32_t *wanted; /* the request's ids, sorted, each once */
    uint32_t
        *place_of; /* of each id of the request: its row in the buffer (or the table) */
    struct sorted {
        int32_t id;
        uint32_t place;
    } * sorted;
    size_t n_wanted, n_request;

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum state state;
    enum status result;
    struct error error;
};

static const uint8_t *cache_find(struct cache *cache, int32_t id, size_t row_bytes)
{
    uint32_t slot = cache->n_slots ? cache->slot_of[id] : 0;

    if (slot == 0)
        return NULL;
    cache->used[slot - 1] = true;
    return cache->rows + (slot - 1) * row_bytes;
}

static void cache_insert(struct cache *cache, int32_t id, const uint8_t *row,
                         size_t row_bytes)
{
    size_t slot;

    if (cache->n_slots == 0 || cache->slot_of[id] != 0)
        return;
    while (cache->used[cache->hand]) {
        cache->used[cache->hand] = false;
        cache->hand = (cache->hand + 1) % cache->n_slots;
    }
    slot = cache->hand;
    cache->hand = (cache->hand + 1) % cache->n_slots;
    if (cache->ids[slot] >= 0)
        cache->slot_of[cache->ids[slot]] = 0;
    memcpy(cache->rows + slot * row_bytes, row, row_bytes);
    cache->ids[slot] = id;
    cache->slot_of[id] = (uint32_t)slot + 1;
}

/* Read wanted[first .. end), which are neighbours in the table, into their places. */
static enum status read_run(struct ple_rows *rows, size_t first, size_t end,
                            struct error *err)
{
    uint8_t *dst = rows->buffer + first * rows->row_bytes;
    enum status st = model_read_rows(
        rows->model, rows->index, (uint64_t)rows->wanted[first], end - first, dst, err);

    for (size_t i = first; i < end && st == OK; i++)
        cache_insert(&rows->cache, rows->wanted[i], rows->buffer + i * rows->row_bytes,
                     rows->row_bytes);
    return st;
}

static enum status fetch(struct ple_rows *rows, struct error *err)
{
    enum status st = OK;
    size_t i = 0;

    while (i < rows->n_wanted && st == OK) {
        const uint8_t *cached =
            cache_find(&rows->cache, rows->wanted[i], rows->row_bytes);
        size_t end = i + 1;

        if (cached) {
            memcpy(rows->buffer + i++ * rows->row_bytes, cached, rows->row_bytes);
            continue;
        }
        while (end < rows->n_wanted && rows->wanted[end] == rows->wanted[end - 1] + 1 &&
               !cache_find(&rows->cache, rows->wanted[end], rows->row_bytes))
            end++;
        st = read_run(rows, i, end, err);
        i = end;
    }
    return st;
}

static void *reader(void *arg)
{
    struct ple_rows *rows = arg;

    pthread_mutex_lock(&rows->mutex);
    for (;;) {
        while (rows->state == IDLE)
            pthread_cond_wait(&rows->changed, &rows->mutex);
        if (rows->state == QUIT)
            break;
        pthread_mutex_unlock(&rows->mutex);
        enum status st = fetch(rows, &rows->error);
        pthread_mutex_lock(&rows->mutex);
        rows->result = st;
        rows->state = IDLE;
        pthread_cond_broadcast(&rows->changed);
    }
    pthread_mutex_unlock(&rows->mutex);
    return NULL;
}

static int by_id(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Fill wanted[] with each id once, in order, and place_of[] with where each will lie. */
static void plan(struct ple_rows *rows, const int32_t *ids, size_t n)
{
    rows->n_request = n;
    rows->n_wanted = 0;
    for (size_t i = 0; i < n; i++)
        rows->sorted[i] = (struct sorted){.id = ids[i], .place = (uint32_t)i};
    qsort(rows->sorted, n, sizeof(*rows->sorted), by_id);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || rows->sorted[i].id != rows->sorted[i - 1].id)
            rows->wanted[rows->n_wanted++] = rows->sorted[i].id;
        rows->place_of[rows->sorted[i].place] = (uint32_t)(rows->n_wanted - 1);
    }
}

void ple_rows_request(struct ple_rows *rows, const int32_t *ids, size_t n)
{
    if (rows->table) {
        for (size_t i = 0; i < n; i++)
            rows->place_of[i] = (uint32_t)ids[i];
        return;
    }
    plan(rows, ids, n);
    pthread_mutex_lock(&rows->mutex);
    rows->state = WORKING;
    pthread_cond_broadcast(&rows->changed);
    pthread_mutex_unlock(&rows->mutex);
}

void ple_rows_settle(struct ple_rows *rows)
{
    pthread_mutex_lock(&rows->mutex);
    while (rows->state == WORKING)
        pthread_cond_wait(&rows->changed, &rows->mutex);
    pthread_mutex_unlock(&rows->mutex);
}

enum status ple_rows_wait(struct ple_rows *rows, struct error *err)
{
    ple_rows_settle(rows);
    if (rows->result != OK)
        *err = rows->error;
    return rows->result;
}

void ple_rows_get(const struct ple_rows *rows, size_t i, size_t first, size_t n, float *x)
{
    const uint8_t *base = rows->table ? rows->table : rows->buffer;
    const uint8_t *row = base + rows->place_of[i] * rows->row_bytes;

    block_decode(rows->type, row + block_row_bytes(rows->type, first), x, n);
}

static enum status hold_table(struct ple_rows *rows, struct error *err)
{
    const struct gguf_tensor *t = &rows->model->tensors[rows->index];

    rows->table = model_map(rows->model, rows->index);
    if (rows->table)
        return OK;
    rows->owned_table = malloc((size_t)t->n_bytes);
    if (!rows->owned_table)
        return fail(err, ERR_NOMEM, "%s: no memory for %llu bytes", t->name,
                    (unsigned long long)t->n_bytes);
    rows->table = rows->owned_table;
    return model_read_rows(rows->model, rows->index, 0, t->ne[1], rows->owned_table, err);
}

static bool allocate_cache(struct ple_rows *rows, size_t n_ids, size_t n_bytes)
{
    struct cache *cache = &rows->cache;

    cache->n_slots =
        n_bytes / (rows->row_bytes + sizeof(*cache->ids) + sizeof(*cache->used));
    if (cache->n_slots > n_ids)
        cache->n_slots = n_ids;
    cache->slot_of = calloc(n_ids, sizeof(*cache->slot_of));
    if (cache->n_slots == 0)
        return cache->slot_of != NULL;
    cache->rows = malloc(cache->n_slots * rows->row_bytes);
    cache->ids = malloc(cache->n_slots * sizeof(*cache->ids));
    cache->used = calloc(cache->n_slots, sizeof(*cache->used));
    if (!cache->rows || !cache->ids || !cache->used || !cache->slot_of)
        return false;
    for (size_t i = 0; i < cache->n_slots; i++)
        cache->ids[i] = -1;
    return true;
}

/* Buffer, index and cache for a table on disk, within PLE_RESIDENT_BYTES. */
static enum status allocate(struct ple_rows *rows, const struct ple_rows_options *options,
                            struct error *err)
{
    const struct gguf_tensor *t = &rows->model->tensors[rows->index];
    size_t n_ids = (size_t)t->ne[1], fixed, cache;

    fixed =
        options->max_requests * rows->row_bytes + n_ids * sizeof(*rows->cache.slot_of);
    cache = options->cache_bytes ? options->cache_bytes : PLE_CACHE_BYTES;
    if (fixed + cache > PLE_RESIDENT_BYTES)
        cache = fixed < PLE_RESIDENT_BYTES ? PLE_RESIDENT_BYTES - fixed : 0;
    rows->buffer = malloc(options->max_requests * rows->row_bytes);
    rows->wanted = malloc(options->max_requests * sizeof(*rows->wanted));
    rows->sorted = malloc(options->max_requests * sizeof(*rows->sorted));
    if (!rows->buffer || !rows->wanted || !rows->sorted ||
        !allocate_cache(rows, n_ids, cache))
        return fail(err, ERR_NOMEM, "%s: no memory for rows of the table", t->name);
    return OK;
}

static enum status start_thread(struct ple_rows *rows, struct error *err)
{
    if (pthread_create(&rows->thread, NULL, reader, rows) != 0)
        return fail(err, ERR_NOMEM,
                    "the system gives no thread to read rows of the table with");
    rows->has_thread = true;
    return OK;
}

enum status ple_rows_open(const struct model *model, size_t index,
                          const struct ple_rows_options *options, struct ple_rows **out,
                          struct error *err)
{
    const struct gguf_tensor *t = &model->tensors[index];
    struct ple_rows *rows = NULL;
    enum status st = OK;

    if (!block_type_info(t->type) || !block_type_info(t->type)->decode)
        return fail(err, ERR_UNSUPPORTED, "%s: type %s cannot be decoded", t->name,
                    block_type_name(t->type));
    rows = calloc(1, sizeof(*rows));
    if (!rows)
        return fail(err, ERR_NOMEM, "%s: no memory", t->name);
    rows->model = model;
    rows->index = index;
    rows->type = t->type;
    rows->row_bytes = block_row_bytes(t->type, t->ne[0]);
    pthread_mutex_init(&rows->mutex, NULL);
    pthread_cond_init(&rows->changed, NULL);
    rows->place_of = malloc(options->max_requests * sizeof(*rows->place_of));
    if (!rows->place_of)
        st = fail(err, ERR_NOMEM, "%s: no memory", t->name);
    else if (options->in_memory)
        st = hold_table(rows, err);
    else if ((st = allocate(rows, options, err)) == OK)
        st = start_thread(rows, err);
    if (st != OK) {
        ple_rows_close(rows);
        return st;
    }
    *out = rows;
    return OK;
}

static void stop_thread(struct ple_rows *rows)
{
    if (!rows->has_thread)
        return;
    ple_rows_settle(rows);
    pthread_mutex_lock(&rows->mutex);
    rows->state = QUIT;
    pthread_cond_broadcast(&rows->changed);
    pthread_mutex_unlock(&rows->mutex);
    pthread_join(rows->thread, NULL);
}

void ple_rows_close(struct ple_rows *rows)
{
    if (!rows)
        return;
    stop_thread(rows);
    pthread_cond_destroy(&rows->changed);
    pthread_mutex_destroy(&rows->mutex);
    free(rows->cache.rows);
    free(rows->cache.ids);
    free(rows->cache.used);
    free(rows->cache.slot_of);
    free(rows->buffer);
    free(rows->wanted);
    free(rows->sorted);
    free(rows->place_of);
    free(rows->owned_table);
    free(rows);
}
