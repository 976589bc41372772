/*
 * test_target.c - sizes that are kept, choices that are best, files of sensitivity that are none
 */
#include "convert/allocate.h"
#include "convert/convert.h"
#include "convert/sensitivity/sensitivity.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char model_folder[] = CARAT_DATA "/models/tiny-e2b";

/* ---- the allocator ---- */

enum { MANY = 6, FEW = 4 };

struct instance {
    struct choice choices[MANY][FEW];
    struct thing things[MANY];
    size_t n;
};

static uint64_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

static void make_instance(struct instance *in, uint64_t seed, uint64_t unit)
{
    uint64_t state = seed;

    in->n = 1 + draw(&state) % MANY;
    for (size_t i = 0; i < in->n; i++) {
        in->things[i] =
            (struct thing){.choices = in->choices[i], .n = 1 + draw(&state) % FEW};
        for (size_t c = 0; c < in->things[i].n; c++)
            in->choices[i][c] = (struct choice){.bytes = unit * (1 + draw(&state) % 40),
                                                .loss = (double)(draw(&state) % 1000)};
    }
}

/* The least loss within the budget, by trying everything; infinity when nothing fits. */
static double try_all(const struct instance *in, size_t i, uint64_t budget)
{
    double best = INFINITY;

    if (i >= in->n || i >= MANY)
        return 0;
    for (size_t c = 0; c < in->things[i].n; c++) {
        const struct choice *choice = &in->choices[i][c];

        if (choice->bytes > budget)
            continue;
        const double loss = choice->loss + try_all(in, i + 1, budget - choice->bytes);
        best = loss < best ? loss : best;
    }
    return best;
}

static double run(const struct instance *in, uint64_t budget)
{
    size_t chosen[MANY];
    struct error err = {0};
    uint64_t bytes = 0;
    double loss = 0;

    cr_assert_eq(allocate(in->things, in->n, budget, chosen, &err), OK);
    for (size_t i = 0; i < in->n; i++) {
        bytes += in->choices[i][chosen[i]].bytes;
        loss += in->choices[i][chosen[i]].loss;
    }
    cr_expect_leq(bytes, budget);
    return loss;
}

Test(allocate, finds_what_trying_everything_finds)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct instance in;

        make_instance(&in, seed, seed % 3 ? 96 : 1);
        const uint64_t least = allocate_least(in.things, in.n);
        for (uint64_t more = 0; more < 4000; more += 371) /* losses are whole numbers */
            cr_expect_eq(run(&in, least + more), try_all(&in, 0, least + more),
                         "seed %" PRIu64 ", %" PRIu64 " more", seed, more);
    }
}

Test(allocate, least_is_the_smallest_budget_that_can_be_kept)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct instance in;

        make_instance(&in, seed, 32);
        const uint64_t least = allocate_least(in.things, in.n);
        cr_expect(isfinite(try_all(&in, 0, least)));
        cr_expect_not(isfinite(try_all(&in, 0, least - 1)));
    }
}

/* Sizes with no divisor in common and a budget of more steps than the table has. */
Test(allocate, stays_within_budgets_too_fine_for_its_table)
{
    const struct choice a[] = {{1, 9}, {1000003, 5}, {9000011, 0}};
    const struct choice b[] = {{2, 8}, {2000003, 3}, {7000003, 1}};
    const struct thing things[] = {{a, 3}, {b, 3}};

    for (uint64_t budget = 3; budget < 17000000; budget += 99991) {
        struct error err = {0};
        size_t chosen[2];

        cr_assert_eq(allocate(things, 2, budget, chosen, &err), OK);
        cr_expect_leq(a[chosen[0]].bytes + b[chosen[1]].bytes, budget);
    }
}

/* ---- files ---- */

static const struct {
    const char *type;
    double kld;
} ladder[] = {
    {"Q4_0", 1.1}, {"Q4_K", 0.9}, {"Q5_K", 0.2}, {"Q6_K", 0.05}, {"Q8_0", 0.004}};
enum { N_LADDER = sizeof(ladder) / sizeof(ladder[0]) };

/* A made-up file of sensitivity for every matrix: tensors differ by a factor of up to 50. */
static void write_sensitivity(const char *path)
{
    struct plan *plan = NULL;
    struct error err = {0};
    uint64_t state = 5;
    FILE *f = fopen(path, "w");

    cr_assert_eq(
        convert_plan(model_folder, NULL, &(struct convert_options){0}, &plan, &err), OK,
        "%s", err.text);
    fprintf(f,
            "carat-sensitivity\t1\nsource\tmade up\ntext\t0\ntokens\t1\nmethod\tplain\n");
    for (size_t i = 0; i < plan->n_entries; i++) {
        const struct plan_entry *e = &plan->entries[i];
        const double weight = 1e-4 * (double)(1 + draw(&state) % 50);

        for (size_t k = 0; e->n_dims > 1 && k < N_LADDER; k++)
            fprintf(f, "%s\t%s\t%.3e\tscaled\n", e->name, ladder[k].type,
                    weight * ladder[k].kld);
    }
    fclose(f);
    plan_free(plan);
}

struct place {
    char folder[FIXTURE_PATH], sensitivity[FIXTURE_PATH], recipe[FIXTURE_PATH];
    char a[FIXTURE_PATH], b[FIXTURE_PATH];
};

static void place_begin(struct place *p)
{
    fixture_folder(p->folder);
    fixture_join(p->sensitivity, p->folder, "model.sens");
    fixture_join(p->recipe, p->folder, "recipe.txt");
    fixture_join(p->a, p->folder, "a.gguf");
    fixture_join(p->b, p->folder, "b.gguf");
    write_sensitivity(p->sensitivity);
}

static uint64_t total(const struct plan *plan)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < plan->n_files; i++)
        sum += plan->file_bytes[i];
    return sum;
}

Test(target, no_size_is_exceeded_and_more_bytes_are_used)
{
    struct place p;
    uint64_t before = 0;

    place_begin(&p);
    for (int is_inline = 0; is_inline < 2; is_inline++, before = 0)
        for (uint64_t size = 4000000; size < 7000000; size += 163841) {
            const struct convert_options options = {.target_size = size,
                                                    .ple_inline = is_inline,
                                                    .sensitivity = p.sensitivity};
            struct plan *plan = NULL;
            struct error err = {0};

            cr_assert_eq(convert_plan(model_folder, NULL, &options, &plan, &err), OK,
                         "%s", err.text);
            cr_expect_leq(total(plan), size);
            /* the narrowest matrix to choose for has 8192 weights, and the smallest rise is half a
             * bit a weight, 512 bytes; pages of the table's file may add 4096 */
            cr_expect_gt(total(plan) + 3 * 8192, size);
            cr_expect_gt(total(plan), before);
            before = total(plan);
            plan_free(plan);
        }
    fixture_remove(p.folder);
}

Test(target, the_table_and_the_rest_keep_to_budgets_of_their_own)
{
    struct place p;

    place_begin(&p);
    for (uint64_t table = 600000; table < 1300000; table += 100000) {
        const struct convert_options options = {
            .target_size = 4600000, .ple_size = table, .sensitivity = p.sensitivity};
        struct plan *plan = NULL;
        struct error err = {0};

        cr_assert_eq(convert_plan(model_folder, NULL, &options, &plan, &err), OK, "%s",
                     err.text);
        cr_expect_leq(plan->file_bytes[1], table);
        cr_expect_leq(plan->file_bytes[0], 4600000 - table);
        plan_free(plan);
    }
    fixture_remove(p.folder);
}

Test(target, a_size_too_small_is_refused_with_one_that_is_not)
{
    struct place p;
    struct plan *plan = NULL;
    struct error err = {0};

    place_begin(&p);
    struct convert_options options = {.target_size = 1 << 20,
                                      .sensitivity = p.sensitivity};
    cr_assert_eq(convert_plan(model_folder, NULL, &options, &plan, &err), ERR_USAGE);
    const char *takes = strstr(err.text, "it takes ");
    cr_assert_not_null(takes, "%s", err.text);
    options.target_size = strtoull(takes + strlen("it takes "), NULL, 10);
    cr_expect_eq(convert_plan(model_folder, NULL, &options, &plan, &err), OK);
    cr_expect_eq(total(plan), options.target_size);
    plan_free(plan);
    options.target_size--;
    cr_expect_eq(convert_plan(model_folder, NULL, &options, &plan, &err), ERR_USAGE);
    fixture_remove(p.folder);
}

Test(target, what_the_user_decides_is_left_alone)
{
    static const char recipe[] = "blk.2.* = Q8_0\n";
    struct place p;
    struct plan *plan = NULL;
    struct error err = {0};

    place_begin(&p);
    fixture_write(p.recipe, recipe, strlen(recipe));
    const struct convert_options options = {.target_size = 4600000,
                                            .recipe = p.recipe,
                                            .ple_type = "Q5_0",
                                            .sensitivity = p.sensitivity};
    cr_assert_eq(convert_plan(model_folder, NULL, &options, &plan, &err), OK, "%s",
                 err.text);
    for (size_t i = 0; i < plan->n_entries; i++) {
        const struct plan_entry *e = &plan->entries[i];

        if (strcmp(e->name, "blk.2.ffn_up.weight") == 0)
            cr_expect_eq(e->type, TYPE_Q8_0);
        if (strcmp(e->name, "per_layer_token_embd.weight") == 0)
            cr_expect_eq(e->type, TYPE_Q5_0);
    }
    cr_expect_leq(total(plan), 4600000);
    plan_free(plan);
    fixture_remove(p.folder);
}

Test(target, the_recipe_that_comes_out_gives_the_same_bytes)
{
    struct place p;
    struct convert_result a, b;
    struct plan *plan = NULL;
    struct error err = {0};

    place_begin(&p);
    const struct convert_options chosen = {.target_size = 4500000,
                                           .sensitivity = p.sensitivity};
    cr_assert_eq(convert_plan(model_folder, NULL, &chosen, &plan, &err), OK);
    cr_assert_eq(convert_write_recipe(plan, p.recipe, false, &err), OK);
    cr_assert_eq(convert_run(model_folder, p.a, &chosen, NULL, &a, &err), OK, "%s",
                 err.text);
    cr_assert_eq(convert_run(model_folder, p.b,
                             &(struct convert_options){.recipe = p.recipe}, NULL, &b,
                             &err),
                 OK, "%s", err.text);
    cr_assert_eq(a.n_files, 2);
    cr_expect_leq(a.files[0].bytes + a.files[1].bytes, 4500000);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(a.files[i].bytes, plan->file_bytes[i]);
        cr_expect_str_eq(a.files[i].sha256, b.files[i].sha256);
    }
    convert_result_free(&a);
    convert_result_free(&b);
    plan_free(plan);
    fixture_remove(p.folder);
}

/* Where bytes are plenty, tensors become F32 or BF16: neither must bar an input from being equalized in
 * one of the two ways only, and lines of the user's own come back as chosen ones. */
Test(target, the_recipe_equalizes_what_the_size_equalized)
{
    static const char own[] = "blk.1.ffn_down.weight = BF16\nblk.2.ffn_up.weight = F32\n"
                              "blk.3.* = Q8_0\n";
    static const uint64_t sizes[] = {9000000, 11000000};
    struct place p;
    char line[FIXTURE_PATH];

    place_begin(&p);
    fixture_join(line, p.folder, "own.txt");
    fixture_write(line, own, strlen(own));
    for (int i = 0; i < 4; i++) {
        struct convert_options options = {.method = METHOD_SEARCH,
                                          .equalize = i < 2 ? EQUALIZE_ON : EQUALIZE_AUTO,
                                          .recipe = i % 2 ? line : NULL,
                                          .ple_type = i % 2 ? "Q5_0" : NULL,
                                          .target_size = sizes[i % 2],
                                          .sensitivity = p.sensitivity,
                                          .force = true};
        struct convert_result a, b;
        struct plan *plan = NULL;
        struct error err = {0};

        cr_assert_eq(convert_plan(model_folder, NULL, &options, &plan, &err), OK, "%s",
                     err.text);
        cr_assert_eq(convert_write_recipe(plan, p.recipe, true, &err), OK);
        cr_assert_eq(convert_run(model_folder, p.a, &options, NULL, &a, &err), OK, "%s",
                     err.text);
        options.recipe = p.recipe;
        options.ple_type = NULL;
        options.target_size = 0;
        cr_assert_eq(convert_run(model_folder, p.b, &options, NULL, &b, &err), OK, "%s",
                     err.text);
        cr_expect(i >= 2 || a.n_equalized > 0);
        for (size_t f = 0; f < 2; f++)
            cr_expect_str_eq(a.files[f].sha256, b.files[f].sha256, "case %d", i);
        convert_result_free(&a);
        convert_result_free(&b);
        plan_free(plan);
    }
    fixture_remove(p.folder);
}

Test(target, needs_a_file_of_sensitivity)
{
    struct plan *plan = NULL;
    struct error err = {0};

    cr_expect_eq(convert_plan(model_folder, NULL,
                              &(struct convert_options){.target_size = 1 << 23}, &plan,
                              &err),
                 ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "--sensitivity"));
}

/* ---- the file of sensitivity ---- */

#define HEAD "carat-sensitivity\t1\n"

Test(sensitivity, refuses_what_it_is_not)
{
    static const struct {
        const char *text;
        enum status code;
        const char *says;
    } cases[] = {
        {"", ERR_USAGE, "not a file of sensitivity"},
        {"a = Q4_0\n", ERR_USAGE, "not a file of sensitivity"},
        {"carat-sensitivity\t2\n", ERR_UNSUPPORTED, "version 2"},
        {HEAD, ERR_CORRUPT, "no tensor"},
        {HEAD "a\tQ4_0\tnan\tmeasured\n", ERR_CORRUPT, ":2: the divergence"},
        {HEAD "a\tQ4_0\tinf\tmeasured\n", ERR_CORRUPT, ":2: the divergence"},
        {HEAD "a\tQ4_0\t-1e-9\tmeasured\n", ERR_CORRUPT, ":2: the divergence"},
        {HEAD "a\tQ4_0\t1e999\tmeasured\n", ERR_CORRUPT, ":2: the divergence"},
        {HEAD "a\tQ4_0\t1x\tmeasured\n", ERR_CORRUPT, ":2: the divergence"},
        {HEAD "a\tQ4_0\t\tmeasured\n", ERR_CORRUPT, ":2: the divergence"},
        {HEAD "a\tQ9\t1\tmeasured\n", ERR_CORRUPT, ":2: not a type"},
        {HEAD "a\tQ2_K\t1\tmeasured\n", ERR_CORRUPT, ":2: not a type"},
        {HEAD "a\tQ4_0\t1\tguessed\n", ERR_CORRUPT, ":2: neither"},
        {HEAD "a\tQ4_0\t1\tmeasured\tx\n", ERR_CORRUPT, ":2: neither"},
        {HEAD "a\tQ4_0\t1\n", ERR_CORRUPT, ":2: neither"},
        {HEAD "\tQ4_0\t1\tscaled\n", ERR_CORRUPT, ":2: not a tensor"},
        {HEAD "a\tQ4_0\t1\tscaled\na\tQ4_0\t1\tscaled\n", ERR_CORRUPT, ":3: this tensor"},
        {HEAD "a\tQ4_0\t1\tscaled\nb\tQ4_0\t1\tscaled\na\tQ5_0\t1\tscaled\n", ERR_CORRUPT,
         ":4: the rows"},
        {HEAD "tokens\t-3\n", ERR_CORRUPT, ":2: the number"},
        {HEAD "colour\tred\n", ERR_CORRUPT, ":2: not a fact"},
    };
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];

    fixture_folder(folder);
    fixture_join(path, folder, "model.sens");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sensitivity s;
        struct error err = {0};

        fixture_write(path, cases[i].text, strlen(cases[i].text));
        cr_expect_eq(sensitivity_read(path, &s, &err), cases[i].code, "case %zu", i);
        cr_expect_not_null(strstr(err.text, cases[i].says), "case %zu: %s", i, err.text);
    }
    static const char with_nul[] = HEAD "a\0b\tQ4_0\t1\tscaled\n";
    fixture_write(path, with_nul, sizeof(with_nul) - 1);
    struct sensitivity s;
    struct error err = {0};
    cr_expect_eq(sensitivity_read(path, &s, &err), ERR_CORRUPT);
    fixture_remove(folder);
}

Test(sensitivity, comes_back_as_it_was_written)
{
    struct sensitivity_row rows[] = {{"a.weight", TYPE_Q4_K, 1.25e-5, true},
                                     {"a.weight", TYPE_Q8_0, 0, false},
                                     {"b.weight", TYPE_Q6_K, 3.5, true}};
    const struct sensitivity written = {.source = "A #1\tmodel\n",
                                        .text = "abc",
                                        .method = "plain",
                                        .n_tokens = 77,
                                        .rows = rows,
                                        .n_rows = 3};
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct sensitivity s;
    struct error err = {0};
    size_t n;

    fixture_folder(folder);
    fixture_join(path, folder, "model.sens");
    cr_assert_eq(sensitivity_write(&written, path, false, &err), OK);
    cr_assert_eq(sensitivity_read(path, &s, &err), OK, "%s", err.text);
    cr_expect_eq(s.n_tokens, 77);
    cr_expect_str_eq(s.text, "abc");
    cr_assert_eq(s.n_rows, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(s.rows[i].tensor, rows[i].tensor);
        cr_expect_eq(s.rows[i].type, rows[i].type);
        cr_expect_eq(s.rows[i].kld, rows[i].kld);
        cr_expect_eq(s.rows[i].is_measured, rows[i].is_measured);
    }
    cr_expect_eq(sensitivity_find(&s, "b.weight", &n), &s.rows[2]);
    cr_expect_eq(n, 1);
    cr_expect_null(sensitivity_find(&s, "c.weight", &n));
    sensitivity_free(&s);
    fixture_remove(folder);
}
