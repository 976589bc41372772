/*
 * table.h - rows of text in columns that line up
 *
 *     struct table table;
 *
 *     table_begin(&table, "lrr");                       left, right, right
 *     table_cell(&table, "name");  table_cell(&table, "bytes");  table_cell(&table, "share");
 *     table_cell(&table, "%s", name);  ...              row by row, left to right
 *     table_print(&table, stdout);                      prints and frees
 *
 * Control characters in cells are shown escaped. A missing memory makes table_print() print what
 * it has and return false.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TABLE_MAX_COLS = 12 };

struct table {
    const char *align; /* one letter a column: l or r */
    size_t n_cols, n_cells, n_room;
    const char **cells; /* owned; texts in the arena */
    struct arena arena;
    bool is_short; /* memory ran out */
};

/* `align` is borrowed until the table is printed. */
void table_begin(struct table *table, const char *align);
__attribute__((format(printf, 2, 3))) void table_cell(struct table *table,
                                                      const char *fmt, ...);
bool table_print(struct table *table, FILE *to);

#endif
