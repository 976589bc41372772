/*
 * test_parallel.c - ranges cover everything once, whatever the number of threads
 */
#include "base/cpu.h"
#include "base/parallel.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { N = 1000 };

static atomic_int seen[N];
static atomic_int ragged, bad_index;
static size_t grain_of_now;

static void see(void *arg, size_t begin, size_t end)
{
    const size_t n = *(const size_t *)arg;

    if (begin % grain_of_now != 0 || (end - begin != grain_of_now && end != n))
        atomic_fetch_add(&ragged, 1);
    if (parallel_index() < 0 || parallel_index() >= parallel_threads())
        atomic_fetch_add(&bad_index, 1);
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add(&seen[i], 1);
}

typedef void loop(size_t n, size_t grain, void (*body)(void *, size_t, size_t),
                  void *arg);

static loop *const loops[] = {parallel_for, parallel_for_once};

static void visit_all(loop *run)
{
    static const size_t grains[] = {1, 3, 64, 999, 1000, 5000};

    for (int threads = 1; threads <= 5; threads++)
        for (size_t g = 0; g < sizeof(grains) / sizeof(grains[0]); g++)
            for (size_t n = 0; n <= N; n += 125) {
                memset(seen, 0, sizeof(seen));
                grain_of_now = grains[g];
                parallel_set_threads(threads);
                run(n, grains[g], see, &n);
                for (size_t i = 0; i < N; i++)
                    cr_assert_eq(seen[i], i < n, "item %zu of %zu", i, n);
            }
    cr_assert_eq(ragged, 0, "ranges are whole multiples of the grain");
    cr_assert_eq(bad_index, 0);
}

Test(parallel, every_item_is_visited_once)
{
    for (int l = 0; l < 2; l++)
        visit_all(loops[l]);
}

static void count(void *arg, size_t begin, size_t end)
{
    atomic_fetch_add((atomic_int *)arg, (int)(end - begin));
}

static void nest(void *arg, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        const int index = parallel_index();
        atomic_int inner = 0;

        loops[i % 2](10, 1, count, &inner);
        if (inner == 10 && parallel_index() == index)
            atomic_fetch_add((atomic_int *)arg, 1);
    }
}

Test(parallel, a_call_inside_a_body_runs_all_its_ranges)
{
    parallel_set_threads(4);
    for (int l = 0; l < 2; l++) {
        atomic_int good = 0;

        loops[l](32, 1, nest, &good);
        cr_assert_eq(good, 32);
    }
}

Test(parallel, the_default_is_at_least_one_thread_and_comes_back)
{
    const int standard = parallel_threads();

    cr_assert_geq(standard, 1);
    parallel_set_threads(standard + 3);
    cr_assert_eq(parallel_threads(), standard + 3);
    parallel_set_threads(0);
    cr_assert_eq(parallel_threads(), standard);
}

Test(cpu, scalar_caps_everything)
{
    struct error err;

    setenv("CARAT_CPU", "scalar", 1);
    cr_assert_eq(cpu_check_environment(&err), OK);
    cr_assert_eq(cpu_level(), CPU_SCALAR);
    cr_assert_not(cpu_can_run(CPU_AVX2));
    cr_assert_not(cpu_can_run(CPU_NEON));
    cr_assert_not(cpu_features()->avx2 || cpu_features()->neon);
}

Test(cpu, a_level_that_is_unknown_or_absent_is_a_usage_error)
{
    struct error err;

    setenv("CARAT_CPU", "sse9", 1);
    cr_assert_eq(cpu_check_environment(&err), ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "sse9"));
#ifdef CARAT_X86
    setenv("CARAT_CPU", "neon", 1);
#else
    setenv("CARAT_CPU", "avx2", 1);
#endif
    cr_assert_eq(cpu_check_environment(&err), ERR_USAGE);
}

Test(cpu, each_level_a_machine_has_includes_plain_c)
{
    unsetenv("CARAT_CPU");
    cr_assert(cpu_can_run(CPU_SCALAR));
    cr_assert(cpu_can_run(cpu_level()));
    cr_assert_str_eq(cpu_level_name(CPU_SCALAR), "scalar");
}
