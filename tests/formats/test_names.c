/*
 * test_names.c - the index of names finds what was added, and nothing else
 */
#include "formats/names/names.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { N_NAMES = 5000, NAME_BYTES = 24 };

static char names[N_NAMES][NAME_BYTES];

static void fill(void)
{
    for (int i = 0; i < N_NAMES; i++)
        snprintf(names[i], NAME_BYTES, "blk.%d.weight", i);
}

TestSuite(names, .init = fill);

Test(names, are_found_where_they_were_added)
{
    struct name_index index = {0};

    cr_assert_eq(name_index_find(&index, "blk.0.weight"), -1,
                 "nothing in an empty index");
    for (size_t i = 0; i < N_NAMES; i++) {
        cr_assert_eq(name_index_find(&index, names[i]), -1);
        cr_assert(name_index_add(&index, names[i], 2 * i));
    }
    for (size_t i = 0; i < N_NAMES; i++)
        cr_assert_eq(name_index_find(&index, names[i]), (int64_t)(2 * i));
    cr_assert_eq(name_index_find(&index, "blk.5000.weight"), -1);
    cr_assert_eq(name_index_find(&index, ""), -1);
    name_index_free(&index);
}

Test(names, can_all_be_forgotten_and_added_again)
{
    struct name_index index = {0};

    for (size_t i = 0; i < N_NAMES; i++)
        cr_assert(name_index_add(&index, names[i], i));
    name_index_clear(&index);
    cr_assert_eq(name_index_find(&index, names[7]), -1);
    for (size_t i = 0; i < N_NAMES; i++)
        cr_assert(name_index_add(&index, names[N_NAMES - 1 - i], i));
    cr_assert_eq(name_index_find(&index, names[0]), N_NAMES - 1);
    name_index_free(&index);
}
