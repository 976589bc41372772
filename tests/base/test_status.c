/*
 * test_status.c - a sentence is recorded whole, bounded and harmless; arenas and checked sizes
 */
#include "base/base.h"

#include <criterion/criterion.h>

Test(status, fail_records_and_returns_the_code)
{
    struct error err = {0};

    cr_assert_eq(fail(&err, ERR_SHAPE, "%s: %d by %d", "w", 2, 3), ERR_SHAPE);
    cr_assert_eq(err.code, ERR_SHAPE);
    cr_assert_str_eq(err.text, "w: 2 by 3");
    cr_assert_eq(fail_at(&err, "model.gguf"), ERR_SHAPE);
    cr_assert_str_eq(err.text, "model.gguf: w: 2 by 3");
}

Test(status, hostile_names_are_shown_escaped)
{
    struct error err = {0};

    (void)fail(&err, ERR_CORRUPT, "%s", "a\x1b[31m\nb\xfe");
    cr_assert_str_eq(err.text, "a\\x1b[31m\\x0ab\\xfe");
}

Test(status, long_sentences_are_cut_not_overrun)
{
    struct error err = {0};
    char name[4096];

    memset(name, '\n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    (void)fail(&err, ERR_CORRUPT, "%s", name);
    cr_assert_eq(strlen(err.text) % 4, 0, "an escape was cut in two");
    cr_assert_gt(strlen(err.text), sizeof(err.text) - 6);
}

Test(arena, things_are_aligned_zeroed_and_apart)
{
    struct arena arena = {0};
    unsigned char *last = NULL;

    for (size_t n = 0; n < 200000; n = n * 2 + 1) {
        unsigned char *p = arena_alloc(&arena, n);

        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % _Alignof(max_align_t), 0);
        cr_assert_neq(p, last);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(p[i], 0);
        memset(p, 0xff, n);
        last = p;
    }
    arena_free(&arena);
    cr_assert_null(arena.head);
}

Test(arena, impossible_sizes_are_refused)
{
    struct arena arena = {0};

    cr_assert_null(arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(arena_array(&arena, SIZE_MAX / 2, 3));
    cr_assert_null(arena_strndup(&arena, "", SIZE_MAX));
    arena_free(&arena);
}

Test(arena, text_is_copied_and_formatted)
{
    struct arena arena = {0};

    cr_assert_str_eq(arena_strndup(&arena, "abcdef", 3), "abc");
    cr_assert_str_eq(arena_strdup(&arena, ""), "");
    cr_assert_str_eq(arena_printf(&arena, "%s-%05d", "x", 42), "x-00042");
    arena_free(&arena);
}

Test(bytes, overflow_is_noticed_at_the_edge)
{
    uint64_t v;

    cr_assert(add_u64(UINT64_MAX - 1, 1, &v) && v == UINT64_MAX);
    cr_assert_not(add_u64(UINT64_MAX, 1, &v));
    cr_assert(mul_u64(UINT32_MAX, (uint64_t)UINT32_MAX + 2, &v) && v == UINT64_MAX);
    cr_assert_not(mul_u64((uint64_t)1 << 32, (uint64_t)1 << 32, &v));
    cr_assert_eq(round_up_u64(0, 32), 0);
    cr_assert_eq(round_up_u64(33, 32), 64);
    cr_assert_eq(round_up_u64(64, 32), 64);
}
