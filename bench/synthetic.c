#include "bench/synthetic.h"
#include "bench/successors.h"
#include "formats/blocks/blocks.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLAB_BYTES = 8 << 20, GRAIN = 1 << 16, STEPS = 4 * 255 + 1 };

struct synthetic_item *synthetic_add(struct synthetic *c, int64_t n_rows, int64_t n_cols,
                                     float centre, float scale, const char *fmt, ...)
{
    va_list list;

    if (c->n == c->n_room) {
        c->n_room = c->n_room ? 2 * c->n_room : 64;
        c->items = realloc(c->items, c->n_room * sizeof(*c->items));
        if (!c->items)
            abort();
    }
    struct synthetic_item *item = &c->items[c->n++];
    *item = (struct synthetic_item){
        .n_rows = n_rows, .n_cols = n_cols, .centre = centre, .scale = scale};
    va_start(list, fmt);
    vsnprintf(item->name, sizeof(item->name), fmt, list);
    va_end(list);
    return item;
}

void synthetic_free(struct synthetic *c)
{
    free(c->items);
    *c = (struct synthetic){0};
}

bool synthetic_read_numbers(const json_t *object, const struct synthetic_number *numbers,
                            size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_int_t value =
            json_integer_value(json_object_get(object, numbers[i].key));

        if (value < 1 || value > 1 << 24)
            return false;
        *numbers[i].value = value;
    }
    return true;
}

static int64_t count(const struct synthetic_item *item)
{
    return item->n_cols ? item->n_rows * item->n_cols : item->n_rows;
}

static uint64_t bytes_of(const struct synthetic_item *item)
{
    return (uint64_t)count(item) * (item->ids ? sizeof(int64_t) : sizeof(uint16_t));
}

/* The header of a safetensors file, owned by the caller, padded with spaces to 8 bytes. */
static char *make_header(const struct synthetic *c, size_t *n, uint64_t *n_data)
{
    size_t n_room = 256 * c->n + 64, at = 8;
    char *text = calloc(1, n_room);
    uint64_t offset = 0;

    if (!text)
        abort();
    for (size_t i = 0; i < c->n; i++) {
        const struct synthetic_item *item = &c->items[i];
        uint64_t end = offset + bytes_of(item);
        char cols[32] = "";

        if (item->n_cols)
            snprintf(cols, sizeof(cols), ",%" PRId64, item->n_cols);
        at += (size_t)snprintf(text + at, n_room - at,
                               "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%" PRId64
                               "%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                               i ? "," : "{", item->name, item->ids ? "I64" : "BF16",
                               item->n_rows, cols, offset, end);
        offset = end;
    }
    text[at++] = '}';
    while (at % 8 != 0)
        text[at++] = ' ';
    store_u64(text, at - 8);
    *n = at;
    *n_data = offset;
    return text;
}

/* ---- values ---- */

struct slab {
    uint16_t *values;
    uint64_t seed;         /* of values[0]: how many values came before it in the file */
    uint16_t table[STEPS]; /* the sum of four random bytes -> a bell-shaped BF16 */
};

static unsigned sum_bytes(uint32_t x)
{
    return (x & 0xff) + (x >> 8 & 0xff) + (x >> 16 & 0xff) + (x >> 24);
}

static void fill(void *arg, size_t begin, size_t end)
{
    struct slab *slab = arg;

    for (size_t i = begin; i < end; i++) {
        uint64_t at = slab->seed + i;
        uint64_t bits = mix64((at / 2 + 1) * 0x9e3779b97f4a7c15u);
        slab->values[i] = slab->table[sum_bytes((uint32_t)(at % 2 ? bits >> 32 : bits))];
    }
}

static void fill_table(struct slab *slab, const struct synthetic_item *item)
{
    /* A byte has variance (256^2 - 1) / 12; four of them a deviation of 147.8. */
    for (int s = 0; s < STEPS; s++)
        slab->table[s] =
            bf16_from_f32(item->centre + item->scale * (float)(s - STEPS / 2) / 147.8f);
}

static void raise(uint16_t *value, float by)
{
    *value = bf16_from_f32(f32_from_bf16(*value) + by);
}

/* Put a row's own over its n columns, those from `first` on. */
static void put_row(const struct synthetic_item *item, int64_t row, int64_t first,
                    int64_t n, uint16_t *values)
{
    for (int64_t i = 0; item->tokens && i < item->n_put; i++) {
        const int64_t col = item->first_code + i - first;

        if (col >= 0 && col < n)
            values[col] = bf16_from_f32(
                item->code_scale * successors_code(item->tokens[row], i, item->n_code));
    }
    if (item->diagonal != 0.0f && row >= first && row < first + n)
        raise(&values[row - first], item->diagonal);
}

/* values: n of the item's, from its value `first` on. */
static void put_over(const struct synthetic_item *item, int64_t first, int64_t n,
                     uint16_t *values)
{
    if (item->n_cols == 0) {
        for (int64_t i = first; i < first + n && i < item->n_raised; i++)
            raise(&values[i - first], item->diagonal);
        return;
    }
    if (!item->tokens && item->diagonal == 0.0f)
        return;
    for (int64_t at = 0; at < n;) {
        const int64_t col = (first + at) % item->n_cols;
        const int64_t end = col + n - at < item->n_cols ? col + n - at : item->n_cols;

        put_row(item, (first + at) / item->n_cols, col, end - col, values + at);
        at += end - col;
    }
}

static enum status write_random(struct output *dst, uint64_t at,
                                const struct synthetic_item *item, struct slab *slab,
                                struct error *err)
{
    const int64_t n_values = count(item);
    enum status st = OK;

    fill_table(slab, item);
    for (int64_t first = 0; first < n_values && st == OK;) {
        const int64_t left = n_values - first;
        const int64_t n = left < SLAB_BYTES / 2 ? left : SLAB_BYTES / 2;

        parallel_for((size_t)n, GRAIN, fill, slab);
        put_over(item, first, n, slab->values);
        st =
            output_write(dst, at + 2 * (uint64_t)first, slab->values, (size_t)n * 2, err);
        slab->seed += (uint64_t)n;
        first += n;
    }
    return st;
}

static enum status write_ids(struct output *dst, uint64_t at,
                             const struct synthetic_item *item, struct error *err)
{
    const size_t n = (size_t)count(item);
    uint8_t *bytes = malloc(n * sizeof(int64_t));
    enum status st = bytes ? OK : fail(err, ERR_NOMEM, "out of memory");

    for (size_t i = 0; st == OK && i < n; i++)
        store_u64(bytes + i * sizeof(int64_t), (uint64_t)item->ids[i]);
    if (st == OK)
        st = output_write(dst, at, bytes, n * sizeof(int64_t), err);
    free(bytes);
    return st;
}

static enum status write_values(struct output *dst, uint64_t at,
                                const struct synthetic *c, struct error *err)
{
    struct slab slab = {.values = malloc(SLAB_BYTES)};
    enum status st = slab.values ? OK : fail(err, ERR_NOMEM, "out of memory");

    for (size_t i = 0; i < c->n && st == OK; i++) {
        const struct synthetic_item *item = &c->items[i];

        st = item->ids ? write_ids(dst, at, item, err)
                       : write_random(dst, at, item, &slab, err);
        at += bytes_of(item);
    }
    free(slab.values);
    return st;
}

enum status synthetic_write(const struct synthetic *c, const char *folder,
                            struct error *err)
{
    char path[4096];
    struct output *dst = NULL;
    uint64_t n_data;
    size_t n_header;
    char *header = make_header(c, &n_header, &n_data);
    enum status st;

    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    st = output_open(path, &(struct output_options){.force = true}, &dst, err);
    if (st == OK)
        st = output_write(dst, 0, header, n_header, err);
    free(header);
    if (st == OK)
        st = write_values(dst, n_header, c, err);
    if (st != OK) {
        output_discard(dst);
        return st;
    }
    return output_commit(dst, n_header + n_data, err);
}
