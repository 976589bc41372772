/*
 * test_ple_rows.c - rows of the table are the same bytes from disk, cache and memory
 */
#include "runtime/ple_rows.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N_ROWS = 300, N_COLS = 1024, MAX_IDS = 64 };

/* A table in memory that counts what is read of it, and fails where it is told to. */
struct table {
    float x[N_ROWS][N_COLS];
    size_t n_reads, n_rows_read;
    int64_t bad_row; /* -1: none */
};

static enum status read_rows(void *self, size_t i, uint64_t first, uint64_t n, void *dst,
                             struct error *err)
{
    struct table *table = self;

    (void)i;
    if (table->bad_row >= (int64_t)first && table->bad_row < (int64_t)(first + n))
        return fail(err, ERR_CORRUPT, "table.gguf ends before row %d",
                    (int)table->bad_row);
    table->n_reads++;
    table->n_rows_read += (size_t)n;
    memcpy(dst, table->x[first], (size_t)n * sizeof(table->x[0]));
    return OK;
}

static const struct model_ops ops = {.read_rows = read_rows};

static struct table table;
static const struct gguf_tensor tensor = {.name = "per_layer_token_embd.weight",
                                          .type = TYPE_F32,
                                          .n_dims = 2,
                                          .ne = {N_COLS, N_ROWS, 1, 1},
                                          .n_bytes = sizeof(table.x)};
static const struct model model = {.path = "table.gguf",
                                   .tensors = &tensor,
                                   .n_tensors = 1,
                                   .ops = &ops,
                                   .self = &table};

static void fill(void)
{
    table.bad_row = -1;
    for (int r = 0; r < N_ROWS; r++)
        for (int c = 0; c < N_COLS; c++)
            table.x[r][c] = (float)(r * N_COLS + c);
}

TestSuite(ple_rows, .init = fill);

static struct ple_rows *open_rows(struct ple_rows_options options)
{
    struct ple_rows *rows = NULL;
    struct error err = {0};

    options.max_requests = MAX_IDS;
    cr_assert_eq(ple_rows_open(&model, 0, &options, &rows, &err), OK, "%s", err.text);
    return rows;
}

static void expect_rows(struct ple_rows *rows, const int32_t *ids, size_t n)
{
    struct error err = {0};
    float x[N_COLS];

    ple_rows_request(rows, ids, n);
    cr_assert_eq(ple_rows_wait(rows, &err), OK, "%s", err.text);
    for (size_t i = 0; i < n; i++) {
        ple_rows_get(rows, i, 0, 256, x);
        ple_rows_get(rows, i, 256, N_COLS - 256, x + 256);
        cr_assert_arr_eq(x, table.x[ids[i]], sizeof(x), "row %d", ids[i]);
    }
}

Test(ple_rows, random_requests_give_the_rows_of_the_table)
{
    /* caches of many rows, of a few that must make room, and of none */
    static const size_t caches[] = {0, 5 * N_COLS * sizeof(float), 1};
    int32_t ids[MAX_IDS];

    for (size_t c = 0; c < 3; c++) {
        struct ple_rows *rows =
            open_rows((struct ple_rows_options){.cache_bytes = caches[c]});
        uint64_t state = c;

        for (int request = 0; request < 40; request++) {
            size_t n = 1 + (size_t)(fixture_random(&state) % MAX_IDS);

            for (size_t i = 0; i < n; i++)
                ids[i] = (int32_t)(fixture_random(&state) % N_ROWS);
            expect_rows(rows, ids, n);
        }
        ple_rows_close(rows);
    }
}

Test(ple_rows, repeats_are_read_once_and_neighbours_together)
{
    struct ple_rows *rows = open_rows((struct ple_rows_options){0});

    expect_rows(rows, (int32_t[]){7, 200, 6, 7, 5, 200, 7}, 7);
    cr_expect_eq(table.n_reads, 2); /* 5 to 7, and 200 */
    cr_expect_eq(table.n_rows_read, 4);
    expect_rows(rows, (int32_t[]){6, 200, 201}, 3);
    cr_expect_eq(table.n_reads, 3); /* 201: the others are cached */
    ple_rows_close(rows);
}

Test(ple_rows, a_table_in_memory_is_read_once)
{
    struct ple_rows *rows = open_rows((struct ple_rows_options){.in_memory = true});

    cr_expect_eq(table.n_rows_read, N_ROWS);
    expect_rows(rows, (int32_t[]){299, 0, 299}, 3);
    cr_expect_eq(table.n_rows_read, N_ROWS);
    ple_rows_close(rows);
}

Test(ple_rows, a_failed_read_is_told_and_forgotten)
{
    struct ple_rows *rows = open_rows((struct ple_rows_options){0});
    struct error err = {0};

    table.bad_row = 12;
    ple_rows_request(rows, (int32_t[]){3, 12}, 2);
    cr_assert_eq(ple_rows_wait(rows, &err), ERR_CORRUPT);
    cr_expect_str_eq(err.text, "table.gguf ends before row 12");
    table.bad_row = -1;
    expect_rows(rows, (int32_t[]){12, 3}, 2);
    ple_rows_close(rows);
}

Test(ple_rows, closing_ends_what_is_under_way)
{
    struct ple_rows *rows = open_rows((struct ple_rows_options){0});

    ple_rows_request(rows, (int32_t[]){1, 2, 3}, 3);
    ple_rows_close(rows); /* the request is still under way */
    ple_rows_close(NULL);
}
