/*
 * test_plan.c - what a dry run says, recipes, and metadata the user sets
 */
#include "convert/convert.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>

static const char model_folder[] = CARAT_DATA "/models/tiny-e2b";

static struct plan *plan_of(const char *source, const struct convert_options *options)
{
    struct plan *plan = NULL;
    struct error err = {0};

    cr_assert_eq(convert_plan(source, NULL, options, &plan, &err), OK, "%s", err.text);
    return plan;
}

static struct plan *plan_with(const struct convert_options *options)
{
    return plan_of(model_folder, options);
}

static const struct plan_entry *entry(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_entries; i++)
        if (strcmp(plan->entries[i].name, name) == 0)
            return &plan->entries[i];
    cr_assert_fail("no %s in the plan", name);
    return NULL;
}

Test(plan, says_the_sizes_a_conversion_then_writes)
{
    char folder[FIXTURE_PATH];
    struct plan *plan = plan_with(&(struct convert_options){.type = "Q5_K_M"});
    struct convert_result r;
    char out[FIXTURE_PATH];
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(out, folder, "out.gguf");
    cr_assert_eq(convert_run(model_folder, out,
                             &(struct convert_options){.type = "Q5_K_M"}, NULL, &r, &err),
                 OK, "%s", err.text);
    cr_assert_eq(plan->n_files, r.n_files);
    cr_expect_eq(plan->n_entries, r.n_tensors);
    for (size_t i = 0; i < r.n_files; i++)
        cr_expect_eq(plan->file_bytes[i], r.files[i].bytes);
    convert_result_free(&r);
    plan_free(plan);
    fixture_remove(folder);
}

Test(plan, the_first_line_of_a_recipe_that_matches_wins)
{
    static const char text[] = "# comment\n"
                               "blk.0.ffn_*.weight = Q8_0   # the first layer\n"
                               "\n"
                               "blk.?.ffn_down.weight=q6_k\n"
                               "* = Q4_0\n";
    char folder[FIXTURE_PATH];
    char path[FIXTURE_PATH];

    fixture_folder(folder);
    fixture_join(path, folder, "recipe.txt");
    fixture_write(path, text, strlen(text));
    struct plan *plan = plan_with(
        &(struct convert_options){.type = "Q5_K_M", .recipe = path, .ple_type = "Q5_0"});
    cr_expect_eq(entry(plan, "blk.0.ffn_down.weight")->type, TYPE_Q8_0);
    cr_expect_eq(entry(plan, "blk.1.ffn_down.weight")->type, TYPE_Q6_K);
    cr_expect_eq(entry(plan, "blk.1.ffn_up.weight")->type, TYPE_Q4_0);
    cr_expect_eq(entry(plan, "token_embd.weight")->type, TYPE_Q4_0);
    cr_expect_eq(entry(plan, "per_layer_token_embd.weight")->type, TYPE_Q5_0);
    cr_expect_eq(entry(plan, "blk.1.attn_norm.weight")->type, TYPE_F32, "norms stay");
    plan_free(plan);
    fixture_remove(folder);
}

Test(plan, a_written_recipe_gives_the_same_types_again)
{
    char folder[FIXTURE_PATH];
    struct plan *plan = plan_with(&(struct convert_options){.type = "Q4_K_M"});
    char path[FIXTURE_PATH];
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(path, folder, "recipe.txt");
    cr_assert_eq(convert_write_recipe(plan, path, false, &err), OK, "%s", err.text);
    struct plan *again =
        plan_with(&(struct convert_options){.type = "Q8_0", .recipe = path});
    for (size_t i = 0; i < plan->n_entries; i++)
        cr_expect_eq(again->entries[i].type, plan->entries[i].type, "%s",
                     plan->entries[i].name);
    plan_free(again);
    plan_free(plan);
    fixture_remove(folder);
}

/* The shortest name there is: "output.weight". */
Test(plan, a_recipe_reaches_a_head_of_its_own)
{
    static const char text[] = "output.weight = Q5_0\n";
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct tiny tiny;

    fixture_folder(folder);
    fixture_join(path, folder, "recipe.txt");
    fixture_write(path, text, strlen(text));
    tiny_begin(&tiny, TINY_E2B);
    tiny_copy(&tiny, "lm_head.weight", "embed_tokens.weight")->bf16[77] ^= 0x4000;
    tiny_write(&tiny);
    struct plan *plan =
        plan_of(tiny.folder, &(struct convert_options){.type = "Q4_0", .recipe = path});
    cr_expect_eq(entry(plan, "output.weight")->type, TYPE_Q5_0);
    plan_free(plan);
    tiny_end(&tiny);
    fixture_remove(folder);
}

Test(plan, names_the_line_of_a_recipe_that_is_none)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"a = Q4_0\nnonsense\n", "recipe.txt:2: \"nonsense\""},
        {"a = Q9\n", "recipe.txt:1: \"Q9\" is not a type"},
        {" = Q4_0\n", "recipe.txt:1:"},
        {"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*"
         "a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a = Q4_0\n",
         "recipe.txt:1: a pattern of more than 128 bytes"}};
    char folder[FIXTURE_PATH];
    char path[FIXTURE_PATH];

    fixture_folder(folder);
    fixture_join(path, folder, "recipe.txt");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan *plan = NULL;
        struct error err = {0};

        fixture_write(path, cases[i].text, strlen(cases[i].text));
        cr_expect_eq(
            convert_plan(model_folder, NULL,
                         &(struct convert_options){.type = "Q4_0", .recipe = path}, &plan,
                         &err),
            ERR_USAGE);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s", err.text);
    }
    fixture_remove(folder);
}

Test(plan, refuses_recipes_that_are_too_long_or_no_text)
{
    enum { MOST = 1 << 20 };
    const struct {
        size_t n, nul;
        const char *says;
    } cases[] = {{MOST + 1, MOST + 1, "recipe.txt: "}, {64, 20, "it holds a NUL"}};
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    char *text = malloc(MOST + 1);

    cr_assert_not_null(text);
    fixture_folder(folder);
    fixture_join(path, folder, "recipe.txt");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan *plan = NULL;
        struct error err = {0};

        memset(text, '#', MOST + 1);
        if (cases[i].nul < cases[i].n)
            text[cases[i].nul] = '\0';
        fixture_write(path, text, cases[i].n);
        cr_expect_neq(
            convert_plan(model_folder, NULL,
                         &(struct convert_options){.type = "Q4_0", .recipe = path}, &plan,
                         &err),
            OK);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s", err.text);
    }
    free(text);
    fixture_remove(folder);
}

Test(plan, metadata_the_user_sets_replaces_the_source_s)
{
    const char *const pairs[] = {"general.name=Mine", "general.author=Me"};
    const struct convert_options options = {
        .type = "Q4_0", .source = {.metadata = pairs, .n_metadata = 2}};
    struct plan *plan = plan_with(&options);
    struct gguf_str text;

    cr_assert(gguf_get_str(plan->meta, "general.name", &text));
    cr_expect_str_eq(text.text, "Mine");
    cr_assert(gguf_get_str(plan->meta, "general.author", &text));
    cr_expect_str_eq(text.text, "Me");
    plan_free(plan);
}

Test(plan, metadata_that_would_spoil_the_file_are_refused)
{
    static const struct {
        const char *pair, *says;
    } cases[] = {
        {"gemma4.block_count=3", "not a string"},
        {"general.architecture=gemma3", "stays"},
        {"general.alignment=64", "stays"},
        {"split.count=2", "stays"},
        {"general.name=\xff", "not UTF-8"},
        {"a key", "KEY=VALUE"},
        {"=value", "KEY=VALUE"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct convert_options options = {
            .type = "Q4_0", .source = {.metadata = &cases[i].pair, .n_metadata = 1}};
        struct plan *plan = NULL;
        struct error err = {0};

        cr_expect_eq(convert_plan(model_folder, NULL, &options, &plan, &err), ERR_USAGE,
                     "%s", cases[i].pair);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s", err.text);
    }
}
