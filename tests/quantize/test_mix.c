/*
 * test_mix.c - a mix gives every tensor the type llama-quantize gives it
 *
 * data/vectors/quant/types.tsv lists the tensors of a small model of each architecture and
 * the types llama.cpp 0.5.0 chose for nine file types, without importance.
 */
#include "quantize/quantize.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_TENSORS = 128, N_MIXES = 9, MAX_LINE = 512 };

static const char *const names[N_MIXES] = {
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K",
};

struct model {
    char name[32];
    struct mix_facts facts;
    size_t n;
    struct gguf_tensor tensors[MAX_TENSORS];
    char tensor_names[MAX_TENSORS][64];
    char want[MAX_TENSORS][N_MIXES][8];
};

static void parse_tensor(struct model *m, char *line)
{
    struct gguf_tensor *t = &m->tensors[m->n];
    char *rest = line, *word = strtok_r(rest, "\t\n", &rest);

    snprintf(m->tensor_names[m->n], sizeof(m->tensor_names[0]), "%s", word);
    t->name = m->tensor_names[m->n];
    cr_assert(block_type_from_name(strtok_r(rest, "\t\n", &rest), &t->type));
    t->ne[3] = 1;
    for (int d = 0; d < 3; d++)
        t->ne[d] = strtoul(strtok_r(rest, "\t\n", &rest), NULL, 10);
    t->n_dims = t->ne[2] > 1 ? 3 : t->ne[1] > 1 ? 2 : 1;
    for (int i = 0; i < N_MIXES; i++)
        snprintf(m->want[m->n][i], 8, "%s", strtok_r(rest, "\t\n", &rest));
    m->n++;
}

/* Read the next model, up to the line that begins the one after it. */
static bool next_model(FILE *file, struct model *m)
{
    char line[MAX_LINE];
    int c;

    *m = (struct model){0};
    do {
        if (!fgets(line, sizeof(line), file))
            return false;
    } while (sscanf(line, "model\t%31s\t%u\t%u", m->name, &m->facts.n_layers,
                    &m->facts.n_experts) != 3);
    while ((c = fgetc(file)) != 'm' && c != EOF) {
        ungetc(c, file);
        cr_assert(fgets(line, sizeof(line), file) && m->n < MAX_TENSORS);
        parse_tensor(m, line);
    }
    ungetc(c, file);
    return true;
}

static void expect_types(const struct model *m, int i, const struct gguf_tensor *tensors,
                         const size_t *order)
{
    enum block_type types[MAX_TENSORS];
    const char *why[MAX_TENSORS];
    struct error err = {0};

    cr_assert_eq(
        mix_apply(mix_find(names[i]), &m->facts, tensors, m->n, types, why, &err), OK);
    for (size_t t = 0; t < m->n; t++)
        cr_expect_str_eq(block_type_name(types[t]), m->want[order[t]][i],
                         "%s %s: %s (%s)", m->name, names[i], tensors[t].name, why[t]);
}

static FILE *open_types(void)
{
    FILE *file = fopen(CARAT_DATA "/vectors/quant/types.tsv", "r");

    cr_assert_not_null(file);
    return file;
}

Test(mix, every_tensor_gets_the_type_of_llama_quantize)
{
    static struct model m;
    size_t order[MAX_TENSORS];
    int n_models = 0;
    FILE *file = open_types();

    for (size_t t = 0; t < MAX_TENSORS; t++)
        order[t] = t;
    while (next_model(file, &m)) {
        for (int i = 0; i < N_MIXES; i++)
            expect_types(&m, i, m.tensors, order);
        n_models++;
    }
    cr_assert_eq(n_models, 5);
    fclose(file);
}

Test(mix, the_order_of_the_tensors_does_not_matter)
{
    static struct model m;
    struct gguf_tensor turned[MAX_TENSORS];
    size_t order[MAX_TENSORS];
    FILE *file = open_types();

    while (next_model(file, &m)) {
        for (size_t t = 0; t < m.n; t++) {
            order[t] = m.n - 1 - t;
            turned[t] = m.tensors[order[t]];
        }
        for (int i = 0; i < N_MIXES; i++)
            expect_types(&m, i, turned, order);
    }
    fclose(file);
}

/* A model of n layers with a v and a down matrix in each; the types of both. */
static void types_of_layers(const char *mix, struct mix_facts facts, enum block_type *v,
                            enum block_type *down)
{
    static struct gguf_tensor tensors[2 * 64];
    static char text[2 * 64][64];
    enum block_type types[2 * 64];
    struct error err = {0};
    const uint32_t n = facts.n_layers;

    for (uint32_t i = 0; i < 2 * n; i++) {
        snprintf(text[i], 64, "blk.%u.%s.weight", i / 2, i % 2 ? "ffn_down" : "attn_v");
        tensors[i] = (struct gguf_tensor){
            .name = text[i], .type = TYPE_BF16, .n_dims = 2, .ne = {512, 512, 1, 1}};
    }
    cr_assert_eq(mix_apply(mix_find(mix), &facts, tensors, 2 * n, types, NULL, &err), OK);
    for (uint32_t i = 0; i < n; i++) {
        v[i] = types[2 * i];
        down[i] = types[2 * i + 1];
    }
}

/* Every digit of `layers` is a layer's answer: 1 where it gets more bits. The rows follow
 * from llama.cpp's rule for 35 (E2B) and 42 (E4B) layers. */
Test(mix, more_bits_go_to_the_layers_llama_quantize_picks)
{
    static const struct {
        uint32_t n;
        const char *layers;
    } cases[] = {
        {35, "11110010010010010010010010010011111"},
        {42, "111110010010010010010010010010010010111111"},
        {15, "100100100100111"},
    };

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct mix_facts facts = {.n_layers = cases[c].n};
        enum block_type v[64], down[64];

        types_of_layers("q4_k_m", facts, v, down);
        for (uint32_t i = 0; i < cases[c].n; i++) {
            enum block_type want = cases[c].layers[i] == '1' ? TYPE_Q6_K : TYPE_Q4_K;
            cr_expect_eq(v[i], want, "%u layers, attn_v %u", cases[c].n, i);
            cr_expect_eq(down[i], want, "%u layers, ffn_down %u", cases[c].n, i);
        }
    }
}

Test(mix, importance_lifts_the_first_eighth_of_ffn_down)
{
    struct mix_facts facts = {.n_layers = 24, .has_importance = true};
    enum block_type v[64], down[64];

    types_of_layers("Q4_0", facts, v, down);
    for (int i = 0; i < 24; i++)
        cr_expect_eq(down[i], i < 3 ? TYPE_Q4_1 : TYPE_Q4_0, "layer %d", i);
    types_of_layers("Q5_0", facts, v, down);
    cr_expect_eq(down[2], TYPE_Q5_1);
    facts.pure = true;
    types_of_layers("Q4_0", facts, v, down);
    cr_expect_eq(down[0], TYPE_Q4_0, "pure means the base type everywhere");
}

Test(mix, a_row_of_uneven_length_falls_back)
{
    cr_expect_eq(mix_fallback(TYPE_Q4_K, 512), TYPE_Q4_K);
    cr_expect_eq(mix_fallback(TYPE_Q4_K, 2112), TYPE_Q5_0);
    cr_expect_eq(mix_fallback(TYPE_Q5_K, 704), TYPE_Q5_1);
    cr_expect_eq(mix_fallback(TYPE_Q6_K, 704), TYPE_Q8_0);
    cr_expect_eq(mix_fallback(TYPE_Q6_K, 100), TYPE_F16);
    cr_expect_eq(mix_fallback(TYPE_Q4_0, 40), TYPE_F16);
    cr_expect_eq(mix_fallback(TYPE_BF16, 7), TYPE_BF16);
}

Test(mix, mixes_are_found_in_any_case_and_know_their_file_type)
{
    cr_assert_null(mix_find("Q3_X"));
    cr_assert_str_eq(mix_name(mix_find("q4_k_m")), "Q4_K_M");
    cr_assert_eq(mix_file_type(mix_find("Q4_K_M")), 15);
    cr_assert_eq(mix_file_type(mix_find("bf16")), 32);
    for (size_t i = 0; i < mix_count(); i++)
        cr_expect_eq(mix_find(mix_name(mix_at(i))), mix_at(i));
}
