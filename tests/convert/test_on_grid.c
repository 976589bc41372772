/*
 * test_on_grid.c - weights of quantization-aware training: found, kept to the bit, told
 */
#include "convert/convert.h"
#include "formats/model/model.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const char table[] = "embed_tokens_per_layer.weight";
static const char gguf_table[] = "per_layer_token_embd.weight";
static struct tiny tiny;
static char out[FIXTURE_PATH];

static void begin(void)
{
    tiny_begin(&tiny, TINY_E2B);
    fixture_join(out, tiny.folder, "out.gguf");
}

static void end(void)
{
    tiny_end(&tiny);
}

TestSuite(on_grid, .init = begin, .fini = end);

/* To bfloat16, ties to even: what a trainer stores. */
static uint16_t bf16(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Codes times a scale of 8 significant bits, one in each 32; the extremum has any code. */
static void train_on_grid(struct tiny_tensor *t)
{
    uint64_t state = 7;

    for (uint64_t i = 0; i < tiny_elements(t); i += 32) {
        const float d = (float)(128 + fixture_random(&state) % 128) / 8192.0F;
        const int most = (int)(fixture_random(&state) % 7) + 1;

        for (uint64_t k = 0; k < 32; k++) {
            const int code = (int)(fixture_random(&state) % (uint64_t)(2 * most)) - most;

            t->bf16[i + k] = bf16(d * (float)code);
        }
    }
}

static const struct plan_entry *planned(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_entries; i++)
        if (strcmp(plan->entries[i].name, name) == 0)
            return &plan->entries[i];
    cr_assert_fail("no %s in the plan", name);
    return NULL;
}

static struct plan *plan(const char *type, enum method method)
{
    const struct convert_options options = {.type = type, .method = method};
    struct plan *made = NULL;
    struct error err = {0};

    tiny_write(&tiny);
    cr_assert_eq(convert_plan(tiny.folder, out, &options, &made, &err), OK, "%s",
                 err.text);
    return made;
}

static bool notes_say(const struct plan *plan, const char *words)
{
    for (size_t i = 0; i < plan->n_notes; i++)
        if (strstr(plan->notes[i], words))
            return true;
    return false;
}

/* The type that a plan gives the per-layer table. */
static enum block_type table_type(const char *type, enum method method)
{
    struct plan *made = plan(type, method);
    const enum block_type found = planned(made, gguf_table)->type;

    plan_free(made);
    return found;
}

Test(on_grid, a_table_the_mix_would_widen_stays_on_it)
{
    cr_expect_eq(table_type("Q4_0", METHOD_SEARCH), TYPE_Q8_0, "by the mix: short rows");
    train_on_grid(tiny_tensor(&tiny, table));
    struct plan *made = plan("Q4_0", METHOD_SEARCH);
    cr_expect_eq(planned(made, gguf_table)->type, TYPE_Q4_0);
    cr_expect_str_eq(planned(made, gguf_table)->rounding, "grid");
    cr_expect_str_eq(planned(made, "token_embd.weight")->rounding, "search");
    plan_free(made);
}

Test(on_grid, plain_rounding_promises_the_types_of_llama_quantize)
{
    const enum block_type before = table_type("Q4_0", METHOD_PLAIN);

    train_on_grid(tiny_tensor(&tiny, table));
    cr_expect_eq(table_type("Q4_0", METHOD_PLAIN), before);
}

/* Rows nobody trained are zero, and zeros are on every grid. */
Test(on_grid, zeros_say_nothing)
{
    struct tiny_tensor *t = tiny_tensor(&tiny, table);
    const size_t half = (size_t)tiny_elements(t) / 2;

    memset(t->bf16, 0, half * sizeof(*t->bf16));
    cr_expect_eq(table_type("Q4_0", METHOD_SEARCH), TYPE_Q8_0, "its other half is off");
    train_on_grid(t);
    memset(t->bf16, 0, half * sizeof(*t->bf16));
    cr_expect_eq(table_type("Q4_0", METHOD_SEARCH), TYPE_Q4_0, "its other half is on");
    memset(t->bf16, 0, 2 * half * sizeof(*t->bf16));
    cr_expect_eq(table_type("Q4_0", METHOD_SEARCH), TYPE_Q8_0, "nothing but zeros");
}

Test(on_grid, who_asks_for_what_loses_the_grid_is_told)
{
    struct plan *made = plan("Q8_0", METHOD_SEARCH);

    cr_expect_not(notes_say(made, "4-bit grid"));
    plan_free(made);
    train_on_grid(tiny_tensor(&tiny, "layers.0.mlp.up_proj.weight"));
    made = plan("Q8_0", METHOD_SEARCH);
    cr_expect(notes_say(made, "1 tensors lie on a 4-bit grid"));
    plan_free(made);
    made = plan("Q4_0", METHOD_PLAIN);
    cr_expect(notes_say(made, "blk.0.ffn_up.weight lies on a 4-bit grid"));
    plan_free(made);
    made = plan("Q4_0", METHOD_SEARCH);
    cr_expect_not(notes_say(made, "keeps"));
    plan_free(made);
}

static float *read_table(uint64_t *n)
{
    struct model *model = NULL;
    struct error err = {0};
    char first[FIXTURE_PATH];
    float *x = NULL;

    fixture_join(first, tiny.folder, "out-00001-of-00002.gguf");
    cr_assert_eq(convert_open_model(first, NULL, &model, &err), OK, "%s", err.text);
    for (size_t i = 0; i < model->n_tensors; i++)
        if (strcmp(model->tensors[i].name, gguf_table) == 0) {
            *n = model->tensors[i].ne[0] * model->tensors[i].ne[1];
            cr_assert_eq(model_read_f32(model, i, &x, &err), OK, "%s", err.text);
        }
    model_close(model);
    cr_assert_not_null(x);
    return x;
}

Test(on_grid, the_file_has_the_weights_to_the_bit_and_the_report_counts_them)
{
    const struct convert_options options = {.type = "Q4_0", .method = METHOD_SEARCH};
    struct tiny_tensor *t = tiny_tensor(&tiny, table);
    struct convert_result result;
    struct error err = {0};
    uint64_t n = 0, n_off = 0;
    size_t n_told = 0;

    train_on_grid(t);
    t->bf16[tiny_elements(t) - 1] = bf16(0.3F); /* the last block is off the grid */
    t->bf16[tiny_elements(t) - 2] = bf16(0.0123F);
    tiny_write(&tiny);
    cr_assert_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), OK, "%s",
                 err.text);
    for (size_t i = 0; i < result.n_rounded; i++) {
        if (strcmp(result.rounded[i].name, gguf_table) != 0)
            continue;
        n_told++;
        cr_expect_eq(result.rounded[i].n_blocks, tiny_elements(t) / 32);
        cr_expect_eq(result.rounded[i].n_exact, tiny_elements(t) / 32 - 1);
    }
    cr_expect_eq(n_told, 1);
    float *x = read_table(&n);
    cr_assert_eq(n, tiny_elements(t));
    for (uint64_t i = 0; i < n; i++)
        n_off += (bf16(x[i]) & 0x7fff) != (t->bf16[i] & 0x7fff);
    cr_expect_gt(n_off, 0);
    cr_expect_leq(n_off, 32, "only the last block may differ");
    free(x);
    convert_result_free(&result);
}
