/*
 * mix.c - which type each tensor gets: the mixes of llama-quantize, as tables
 *
 * A mix has a base type and a few rules that lift some tensors above it. The rules are those
 * of llama.cpp 0.5.0 for the Gemma family (llama-quant.cpp, llama_tensor_get_type_impl);
 * docs/rounding.md states them in words.
 */
#include "quantize/mix.h"

#include "quantize/quantize.h"

#include <stdlib.h>
#include <strings.h>

/* When a rule holds for the i-th of n tensors of its kind. */
enum when { NEVER, FIRST_FOUR, FIRST_EIGHTH, MORE_BITS, IMPORTANT_EIGHTH, ALWAYS };

struct rule {
    enum part part;
    enum when when;
    enum block_type type;
    const char *why;
};

enum { MAX_RULES = 2 };

struct mix {
    const char *name;
    enum block_type base;
    uint32_t file_type;
    struct rule rules[MAX_RULES]; /* the first that holds decides */
};

static const struct mix mixes[] = {
    {.name = "F32", .base = TYPE_F32, .file_type = 0},
    {.name = "F16", .base = TYPE_F16, .file_type = 1},
    {.name = "BF16", .base = TYPE_BF16, .file_type = 32},
    {.name = "Q8_0", .base = TYPE_Q8_0, .file_type = 7},
    {.name = "Q4_0",
     .base = TYPE_Q4_0,
     .file_type = 2,
     .rules = {{PART_FFN_DOWN, IMPORTANT_EIGHTH, TYPE_Q4_1, "early, with importance"}}},
    {.name = "Q4_1", .base = TYPE_Q4_1, .file_type = 3},
    {.name = "Q5_0",
     .base = TYPE_Q5_0,
     .file_type = 8,
     .rules = {{PART_FFN_DOWN, IMPORTANT_EIGHTH, TYPE_Q5_1, "early, with importance"}}},
    {.name = "Q5_1", .base = TYPE_Q5_1, .file_type = 9},
    {.name = "Q4_K_S",
     .base = TYPE_Q4_K,
     .file_type = 14,
     .rules = {{PART_ATTN_V, FIRST_FOUR, TYPE_Q5_K, "one of the first four attn_v"},
               {PART_FFN_DOWN, FIRST_EIGHTH, TYPE_Q5_K, "an early ffn_down"}}},
    {.name = "Q4_K_M",
     .base = TYPE_Q4_K,
     .file_type = 15,
     .rules = {{PART_ATTN_V, MORE_BITS, TYPE_Q6_K, "a layer that gets more bits"},
               {PART_FFN_DOWN, MORE_BITS, TYPE_Q6_K, "a layer that gets more bits"}}},
    {.name = "Q5_K_S", .base = TYPE_Q5_K, .file_type = 16},
    {.name = "Q5_K_M",
     .base = TYPE_Q5_K,
     .file_type = 17,
     .rules = {{PART_ATTN_V, MORE_BITS, TYPE_Q6_K, "a layer that gets more bits"},
               {PART_FFN_DOWN, MORE_BITS, TYPE_Q6_K, "a layer that gets more bits"}}},
    {.name = "Q6_K", .base = TYPE_Q6_K, .file_type = 18},
};

/* A model of exactly eight experts, before the rules of its mix; the last for Q4_K only. */
static const struct rule eight_experts[] = {
    {PART_ATTN_V, ALWAYS, TYPE_Q8_0, "attn_v of an eight-expert model"},
    {PART_ATTN_K, ALWAYS, TYPE_Q8_0, "attn_k of an eight-expert model"},
    {PART_ATTN_OUTPUT, ALWAYS, TYPE_Q5_K, "attn_output of an eight-expert model"},
};

enum { N_EIGHT = sizeof(eight_experts) / sizeof(eight_experts[0]) };

enum { N_MIXES = sizeof(mixes) / sizeof(mixes[0]) };

const struct mix *mix_find(const char *name)
{
    for (size_t i = 0; i < N_MIXES; i++)
        if (strcasecmp(mixes[i].name, name) == 0)
            return &mixes[i];
    return NULL;
}

const char *mix_name(const struct mix *mix)
{
    return mix->name;
}

uint32_t mix_file_type(const struct mix *mix)
{
    return mix->file_type;
}

size_t mix_count(void)
{
    return N_MIXES;
}

const struct mix *mix_at(size_t i)
{
    return &mixes[i];
}

enum block_type mix_fallback(enum block_type type, uint64_t n_cols)
{
    static const enum block_type smaller[TYPE_COUNT] = {
        [TYPE_Q2_K] = TYPE_Q4_0, [TYPE_Q3_K] = TYPE_Q4_0, [TYPE_Q4_K] = TYPE_Q5_0,
        [TYPE_Q5_K] = TYPE_Q5_1, [TYPE_Q6_K] = TYPE_Q8_0, [TYPE_IQ4_XS] = TYPE_IQ4_NL,
    };
    enum block_type next = type;

    if (n_cols % block_type_info(type)->weights == 0)
        return type;
    if (smaller[type] != TYPE_F32)
        next = smaller[type];
    return n_cols % block_type_info(next)->weights == 0 ? next : TYPE_F16;
}

/* The first and last eighth of the layers, and every third between. */
static bool gets_more_bits(uint32_t i, uint32_t n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static bool holds(enum when when, const struct mix_facts *facts, uint32_t i, uint32_t n)
{
    switch (when) {
    case NEVER:
        return false;
    case FIRST_FOUR:
        return i < 4;
    case FIRST_EIGHTH:
        return i < n / 8;
    case MORE_BITS:
        return gets_more_bits(i, n);
    case IMPORTANT_EIGHTH:
        return facts->has_importance && i < n / 8;
    case ALWAYS:
        return true;
    }
    return false;
}

/* What the walk over the tensors counts. */
struct counts {
    uint32_t attn_v, n_attn_v; /* seen, in all */
    uint32_t ffn_down;
    bool is_tied; /* no output.weight: the embedding tables serve as output */
};

/* The first rule that holds for the i-th of n tensors of its part, or NULL. */
static const struct rule *find_rule(const struct rule *rules, int n_rules, enum part part,
                                    const struct mix_facts *facts, uint32_t i, uint32_t n)
{
    for (int r = 0; r < n_rules; r++)
        if (rules[r].part == part && holds(rules[r].when, facts, i, n))
            return &rules[r];
    return NULL;
}

/* The mix's type for one tensor, before the fallback for its row length. */
static enum block_type decide(const struct mix *mix, const struct mix_facts *facts,
                              const struct mix_tensor *t, const struct counts *counts,
                              const char **why)
{
    const uint32_t block = block_type_info(mix->base)->weights;
    uint32_t i = t->part == PART_ATTN_V ? counts->attn_v : counts->ffn_down;
    uint32_t n = t->part == PART_ATTN_V ? counts->n_attn_v : facts->n_layers;
    const struct rule *rule = NULL;

    if (t->part == PART_OUTPUT || (t->part == PART_TABLE && counts->is_tied)) {
        bool whole = t->tensor->ne[0] % block == 0;

        *why = whole ? "output, or a table that serves as one" : "output of uneven rows";
        return !whole || mix->base == TYPE_Q8_0 ? TYPE_Q8_0 : TYPE_Q6_K;
    }
    if (t->part == PART_FFN_DOWN && facts->n_experts > 1)
        i = (uint32_t)t->layer;
    if (facts->n_experts == 8)
        rule = find_rule(eight_experts, mix->base == TYPE_Q4_K ? N_EIGHT : N_EIGHT - 1,
                         t->part, facts, i, n);
    if (!rule)
        rule = find_rule(mix->rules, MAX_RULES, t->part, facts, i, n);
    *why = rule ? rule->why : "base type of the mix";
    return rule ? rule->type : mix->base;
}

static enum block_type type_of(const struct mix *mix, const struct mix_facts *facts,
                               const struct mix_tensor *t, const struct counts *counts,
                               const char **why)
{
    const bool quantizes = block_type_info(mix->base)->is_quantized;
    enum block_type type = mix->base, fallen;

    *why = "base type of the mix";
    if (quantizes && !facts->pure)
        type = decide(mix, facts, t, counts, why);
    if (!quantizes)
        return type;
    fallen = mix_fallback(type, t->tensor->ne[0]);
    if (fallen != type)
        *why = "rows are not whole blocks of the type meant";
    return fallen;
}

static struct counts count_all(const struct mix_tensor *sorted, size_t n)
{
    struct counts counts = {.is_tied = true};

    for (size_t i = 0; i < n; i++) {
        counts.n_attn_v += sorted[i].part == PART_ATTN_V;
        if (sorted[i].part == PART_OUTPUT)
            counts.is_tied = false;
    }
    return counts;
}

enum status mix_apply(const struct mix *mix, const struct mix_facts *facts,
                      const struct gguf_tensor *tensors, size_t n_tensors,
                      enum block_type *types, const char **why, struct error *err)
{
    struct mix_tensor *sorted = mix_sort(tensors, n_tensors);
    if (!sorted)
        return fail(err, ERR_NOMEM, "no memory to choose types of %zu tensors",
                    n_tensors);

    struct counts counts = count_all(sorted, n_tensors);
    for (size_t i = 0; i < n_tensors; i++) {
        const struct mix_tensor *t = &sorted[i];
        size_t at = (size_t)(t->tensor - tensors);
        const char *reason = "never quantized";

        types[at] = t->tensor->type;
        if (!t->is_kept) {
            types[at] = type_of(mix, facts, t, &counts, &reason);
            counts.attn_v += t->part == PART_ATTN_V;
            counts.ffn_down += t->part == PART_FFN_DOWN;
        }
        if (why)
            why[at] = reason;
    }
    free(sorted);
    return OK;
}
