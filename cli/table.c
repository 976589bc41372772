/*
 * table.c - rows of text in columns that line up
 */
#include "cli/table.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_BYTES = 1024 };

void table_begin(struct table *table, const char *align)
{
    *table = (struct table){.align = align, .n_cols = strlen(align)};
}

static bool make_room(struct table *table)
{
    const size_t n_room = table->n_room ? 2 * table->n_room : 256;
    const char **cells;

    if (table->n_cells < table->n_room)
        return true;
    cells = realloc(table->cells, n_room * sizeof(*cells));
    if (!cells)
        return false;
    table->cells = cells;
    table->n_room = n_room;
    return true;
}

void table_cell(struct table *table, const char *fmt, ...)
{
    char raw[CELL_BYTES], text[CELL_BYTES];
    char *copy = NULL;
    va_list list;

    va_start(list, fmt);
    vsnprintf(raw, sizeof(raw), fmt, list);
    va_end(list);
    text_escape(text, sizeof(text), raw, strlen(raw));
    if (!table->is_short && make_room(table))
        copy = arena_strdup(&table->arena, text);
    if (copy)
        table->cells[table->n_cells++] = copy;
    else
        table->is_short = true;
}

/* Characters, not bytes: each code point takes one column. */
static size_t width(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_cell(const struct table *table, size_t i, size_t columns, FILE *to)
{
    const size_t col = i % table->n_cols;
    const int pad = (int)(columns - width(table->cells[i]));

    if (table->align[col] == 'r')
        fprintf(to, "%*s%s", pad, "", table->cells[i]);
    else if (col + 1 < table->n_cols)
        fprintf(to, "%s%*s", table->cells[i], pad, "");
    else
        fputs(table->cells[i], to);
    fputs(col + 1 < table->n_cols ? "  " : "\n", to);
}

bool table_print(struct table *table, FILE *to)
{
    size_t columns[TABLE_MAX_COLS] = {0};
    const size_t n_whole = table->n_cells - table->n_cells % table->n_cols;
    const bool is_whole = !table->is_short;

    for (size_t i = 0; i < n_whole; i++) {
        const size_t w = width(table->cells[i]);

        if (w > columns[i % table->n_cols])
            columns[i % table->n_cols] = w;
    }
    for (size_t i = 0; i < n_whole; i++)
        print_cell(table, i, columns[i % table->n_cols], to);
    arena_free(&table->arena);
    free(table->cells);
    *table = (struct table){0};
    return is_whole;
}
