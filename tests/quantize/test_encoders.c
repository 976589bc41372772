/*
 * test_encoders.c - every table computes the bits the scalar table computes
 */
#include "tests/quantize/agree.h"

#include <criterion/criterion.h>

Test(encoders, every_table_of_this_machine_agrees_with_scalar)
{
    for (int level = CPU_SCALAR + 1; level < CPU_LEVELS; level++) {
        const struct encoders *fast = encoders_at((enum cpu_level)level);
        const char *differs = fast ? tables_disagree(fast) : NULL;

        cr_expect_null(differs, "%s: %s differs from scalar", fast ? fast->name : "",
                       differs);
    }
}

Test(encoders, the_best_table_is_one_this_machine_can_run)
{
    bool found = false;

    for (int level = CPU_SCALAR; level < CPU_LEVELS; level++)
        found = found || encoders_at((enum cpu_level)level) == encoders_best();
    cr_assert(found);
}
