/*
 * mix_names.c - what a tensor's name says: its part in the model, its layer, and whether it
 * is quantized at all
 *
 * Source: llama.cpp 0.5.0, llama-quant.cpp, tensor_get_category and
 * tensor_allows_quantization, less what no Gemma has.
 */
#include "quantize/mix.h"

#include <stdlib.h>

static enum part part_of(const char *name)
{
    static const struct {
        const char *text;
        enum part part;
    } parts[] = {
        {"attn_qkv.weight", PART_ATTN_V},
        {"attn_v.weight", PART_ATTN_V},
        {"attn_k.weight", PART_ATTN_K},
        {"attn_q.weight", PART_ATTN_Q},
        {"attn_output.weight", PART_ATTN_OUTPUT},
        {"ffn_up", PART_FFN_UP},
        {"ffn_gate", PART_FFN_GATE}, /* ffn_gate_up_exps too */
        {"ffn_down", PART_FFN_DOWN},
    };

    if (strcmp(name, "output.weight") == 0)
        return PART_OUTPUT;
    if (strcmp(name, "token_embd.weight") == 0 ||
        strcmp(name, "per_layer_token_embd.weight") == 0)
        return PART_TABLE;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strstr(name, parts[i].text))
            return parts[i].part;
    return PART_OTHER;
}

static bool ends_in_weight(const char *name)
{
    const size_t n = strlen(name), tail = strlen("weight");

    return n >= tail && strcmp(name + n - tail, "weight") == 0;
}

static bool is_kept(const struct gguf_tensor *t)
{
    static const char *const kept[] = {
        "_norm.weight", "ffn_gate_inp.weight",  "altup",
        "laurel",       "per_layer_model_proj", ".position_embd",
        ".rel_pos",     ".patch_embd",          ".patch_merger",
    };
    int n_dims = 1;

    for (int d = 1; d < 4; d++)
        n_dims = t->ne[d] > 1 ? d + 1 : n_dims; /* trailing ones do not count */
    if (n_dims < 2 || !ends_in_weight(t->name) ||
        strcmp(t->name, "position_embd.weight") == 0 ||
        strcmp(t->name, "token_types.weight") == 0)
        return true;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (strstr(t->name, kept[i]))
            return true;
    return false;
}

/* N of "blk.N.", or -1. */
static int layer_of(const char *name)
{
    char *end;

    if (strncmp(name, "blk.", 4) != 0)
        return -1;
    long layer = strtol(name + 4, &end, 10);
    return end > name + 4 && *end == '.' && layer >= 0 && layer < 100000 ? (int)layer
                                                                         : -1;
}

static int by_layer_and_name(const void *a, const void *b)
{
    const struct mix_tensor *x = a, *y = b;

    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    return strcmp(x->tensor->name, y->tensor->name);
}

struct mix_tensor *mix_sort(const struct gguf_tensor *tensors, size_t n)
{
    struct mix_tensor *sorted = calloc(n + 1, sizeof(*sorted));

    if (!sorted)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        sorted[i].tensor = &tensors[i];
        sorted[i].part = part_of(tensors[i].name);
        sorted[i].layer = layer_of(tensors[i].name);
        sorted[i].is_kept = is_kept(&tensors[i]);
    }
    qsort(sorted, n, sizeof(*sorted), by_layer_and_name);
    return sorted;
}
