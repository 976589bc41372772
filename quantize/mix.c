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
enum when { ALWAYS, FIRST_FOUR, FIRST_EIGHTH, MORE_BITS, EIGHT_EXPERTS, WITH_IMPORTANCE };

struct rule {
    enum part part;
    enum when when;
    enum block_type type;
    const char *why;
};

enum { MAX_RULES = 5 };

struct mix {
    const char *name;
    enum block_type base;
    uint32_t file_type;
    struct rule rules[MAX_RULES]; /* the first that holds decides; an empty `why` ends */
};

#define EIGHT_V {PART_ATTN_V, EIGHT_EXPERTS, TYPE_Q8_0, "attn_v of an eight-expert model"}
#define EIGHT_K {PART_ATTN_K, EIGHT_EXPERTS, TYPE_Q8_0, "attn_k of an eight-expert model"}
#define EIGHT_O {PART_ATTN_OUTPUT, EIGHT_EXPERTS, TYPE_Q5_K, "attn_output of an eight-expert model"}

static const struct mix mixes[] = {
    {"F32", TYPE_F32, 0, {{0}}},
    {"F16", TYPE_F16, 1, {{0}}},
    {"BF16", TYPE_BF16, 32, {{0}}},
    {"Q8_0", TYPE_Q8_0, 7, {{0}}},
    {"Q4_0",
     TYPE_Q4_0,
     2,
     {EIGHT_V,
      EIGHT_K,
      {PART_FFN_DOWN, WITH_IMPORTANCE, TYPE_Q4_1, "ffn_down of the first eighth, with importance"}}},
    {"Q4_1", TYPE_Q4_1, 3, {EIGHT_V, EIGHT_K}},
    {"Q5_0",
     TYPE_Q5_0,
     8,
     {EIGHT_V,
      EIGHT_K,
      {PART_FFN_DOWN, WITH_IMPORTANCE, TYPE_Q5_1, "ffn_down of the first eighth, with importance"}}},
    {"Q5_1", TYPE_Q5_1, 9, {EIGHT_V, EIGHT_K}},
    {"Q4_K_S",
     TYPE_Q4_K,
     14,
     {EIGHT_V,
      EIGHT_K,
      EIGHT_O,
      {PART_ATTN_V, FIRST_FOUR, TYPE_Q5_K, "one of the first four attn_v"},
      {PART_FFN_DOWN, FIRST_EIGHTH, TYPE_Q5_K, "ffn_down of the first eighth"}}},
    {"Q4_K_M",
     TYPE_Q4_K,
     15,
     {EIGHT_V,
      EIGHT_K,
      EIGHT_O,
      {PART_ATTN_V, MORE_BITS, TYPE_Q6_K, "attn_v of a layer that gets more bits"},
      {PART_FFN_DOWN, MORE_BITS, TYPE_Q6_K, "ffn_down of a layer that gets more bits"}}},
    {"Q5_K_S", TYPE_Q5_K, 16, {EIGHT_V, EIGHT_K}},
    {"Q5_K_M",
     TYPE_Q5_K,
     17,
     {EIGHT_V,
      EIGHT_K,
      {PART_ATTN_V, MORE_BITS, TYPE_Q6_K, "attn_v of a layer that gets more bits"},
      {PART_FFN_DOWN, MORE_BITS, TYPE_Q6_K, "ffn_down of a layer that gets more bits"}}},
    {"Q6_K", TYPE_Q6_K, 18, {EIGHT_V, EIGHT_K}},
};

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
    case ALWAYS:
        return true;
    case FIRST_FOUR:
        return i < 4;
    case FIRST_EIGHTH:
        return i < n / 8;
    case MORE_BITS:
        return gets_more_bits(i, n);
    case EIGHT_EXPERTS:
        return facts->n_experts == 8;
    case WITH_IMPORTANCE:
        return facts->has_importance && i < n / 8;
    }
    return false;
}

/* What the walk over the tensors counts. */
struct counts {
    uint32_t attn_v, n_attn_v; /* seen, in all */
    uint32_t ffn_down;
    bool is_tied; /* no output.weight: the embedding tables serve as output */
};

/* The mix's type for one tensor, before the fallback for its row length. */
static enum block_type decide(const struct mix *mix, const struct mix_facts *facts,
                              const struct mix_tensor *t, const struct counts *counts,
                              const char **why)
{
    uint32_t i = t->part == PART_ATTN_V ? counts->attn_v : counts->ffn_down;
    uint32_t n = t->part == PART_ATTN_V ? counts->n_attn_v : facts->n_layers;

    if (t->part == PART_OUTPUT || (t->part == PART_TABLE && counts->is_tied)) {
        bool whole = t->tensor->ne[0] % block_type_info(mix->base)->weights == 0;

        *why = whole ? "output, or a table that serves as one" : "output of uneven rows";
        return !whole || mix->base == TYPE_Q8_0 ? TYPE_Q8_0 : TYPE_Q6_K;
    }
    if (t->part == PART_FFN_DOWN && facts->n_experts > 1)
        i = (uint32_t)t->layer;
    for (int r = 0; r < MAX_RULES && mix->rules[r].why; r++) {
        const struct rule *rule = &mix->rules[r];

        if (rule->part == t->part && holds(rule->when, facts, i, n)) {
            *why = rule->why;
            return rule->type;
        }
    }
    *why = "base type of the mix";
    return mix->base;
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
        return fail(err, ERR_NOMEM, "no memory to choose types of %zu tensors", n_tensors);

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
