/*
 * test_kernels_emulated.c - the other kernel tests again, with AVX-512 emulated
 */
#include "tests/runtime/kernel_tables.h"

#include <criterion/criterion.h>

Test(emulated, all_tables_of_this_architecture_are_there)
{
    for (int i = 0; i < N_TABLES; i++)
        cr_expect_not_null(table_at(i), "table %d", i);
}
