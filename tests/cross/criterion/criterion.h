/*
 * criterion.h - as much of Criterion as a test needs where Criterion is not: cross-built programs
 *
 * Put tests/cross on the include path instead of the library. All tests run in one process, one
 * after another; a failed assertion ends the program. One source defines CROSS_MAIN.
 */
#ifndef TESTS_CROSS_CRITERION_H
#define TESTS_CROSS_CRITERION_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cross_test {
    const char *suite, *name;
    void (*run)(void);
    struct cross_test *next;
};

struct cross_suite {
    const char *suite;
    void (*init)(void);
    struct cross_suite *next;
};

extern struct cross_test *cross_tests;
extern struct cross_suite *cross_suites;
extern int cross_failures;

#define Test(suite_, name_)                                                        \
    static void suite_##_##name_(void);                                            \
    __attribute__((constructor)) static void suite_##_##name_##_add(void)          \
    {                                                                              \
        static struct cross_test test = {#suite_, #name_, suite_##_##name_, NULL}; \
        test.next = cross_tests;                                                   \
        cross_tests = &test;                                                       \
    }                                                                              \
    static void suite_##_##name_(void)

#define TestSuite(suite_, ...)                                             \
    __attribute__((constructor)) static void suite_##_add(void)            \
    {                                                                      \
        static struct cross_suite entry = {.suite = #suite_, __VA_ARGS__}; \
        entry.next = cross_suites;                                         \
        cross_suites = &entry;                                             \
    }

#define CROSS_CHECK(holds_, is_fatal_, text_, ...)            \
    do {                                                      \
        if (!(holds_)) {                                      \
            printf("%s:%d: %s: ", __FILE__, __LINE__, text_); \
            printf("" __VA_ARGS__);                           \
            printf("\n");                                     \
            cross_failures++;                                 \
            if (is_fatal_)                                    \
                exit(EXIT_FAILURE);                           \
        }                                                     \
    } while (0)

#define cr_expect(a, ...)        CROSS_CHECK((a), false, #a, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)  CROSS_CHECK((a) == (b), false, #a " == " #b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) CROSS_CHECK((a) <= (b), false, #a " <= " #b, __VA_ARGS__)
#define cr_expect_null(a, ...)   CROSS_CHECK(!(a), false, #a " is null", __VA_ARGS__)
#define cr_expect_not_null(a, ...) \
    CROSS_CHECK(!!(a), false, #a " is not null", __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) \
    CROSS_CHECK(memcmp((a), (b), (n)) == 0, false, #a " == " #b, __VA_ARGS__)
#define cr_expect_float_eq(a, b, by, ...) \
    CROSS_CHECK((a) - (b) <= (by) && (b) - (a) <= (by), false, #a " == " #b, __VA_ARGS__)
#define cr_assert(a, ...)       CROSS_CHECK((a), true, #a, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) CROSS_CHECK((a) == (b), true, #a " == " #b, __VA_ARGS__)
#define cr_assert_not_null(a, ...) \
    CROSS_CHECK(!!(a), true, #a " is not null", __VA_ARGS__)

#ifdef CROSS_MAIN
struct cross_test *cross_tests;
struct cross_suite *cross_suites;
int cross_failures;

int main(void)
{
    int n = 0;

    for (const struct cross_test *t = cross_tests; t; t = t->next, n++) {
        int before = cross_failures;

        for (const struct cross_suite *s = cross_suites; s; s = s->next)
            if (strcmp(s->suite, t->suite) == 0 && s->init)
                s->init();
        t->run();
        if (cross_failures > before)
            printf("failed: %s, %s\n", t->suite, t->name);
    }
    printf("%d tests, %d failures\n", n, cross_failures);
    return cross_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif

#endif
