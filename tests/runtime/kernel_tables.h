/*
 * kernel_tables.h - every table of kernels that can run here, also where it is emulated
 */
#ifndef TESTS_RUNTIME_KERNEL_TABLES_H
#define TESTS_RUNTIME_KERNEL_TABLES_H

#include "runtime/kernels/kernel_table.h"

enum { N_TABLES = 4 };

/* Table i of N_TABLES; 0 is the scalar one. NULL: not on this machine. */
const struct kernels *table_at(int i);

#endif
