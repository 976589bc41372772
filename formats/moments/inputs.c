/*
 * inputs.c - which weights read the same vector
 */
#include "formats/moments/moments.h"

#include <stdio.h>

/* Weight name after "blk.N.", and the input it shares. */
static const struct {
    const char *weight, *input;
    bool is_layer;
} table[] = {
    {"attn_q.weight", "attn_in", true},
    {"attn_k.weight", "attn_in", true},
    {"attn_v.weight", "attn_in", true},
    {"attn_qkv.weight", "attn_in", true},
    {"attn_output.weight", "attn_out", true},
    {"ffn_gate.weight", "ffn_in", true},
    {"ffn_up.weight", "ffn_in", true},
    {"ffn_down.weight", "ffn_mid", true},
    {"ffn_gate_up_exps.weight", "exps_in", true},
    {"ffn_gate_exps.weight", "exps_in", true},
    {"ffn_up_exps.weight", "exps_in", true},
    {"ffn_down_exps.weight", "exps_mid", true},
    {"inp_gate.weight", "ple_gate_in", true},
    {"proj.weight", "ple_mid", true},
    {"token_embd.weight", "head_in", false},
    {"output.weight", "head_in", false},
    {"per_layer_model_proj.weight", "ple_model_in", false},
    {"dense_2.weight", "dense_2_in", false}, /* an encoder's heads, after pooling */
    {"dense_3.weight", "dense_3_in", false},
};

/* "blk.12.rest" -> "rest", and the length of "blk.12."; NULL when it is not of a layer. */
static const char *after_layer(const char *weight, int *n_prefix)
{
    size_t at = 4;

    if (strncmp(weight, "blk.", 4) != 0)
        return NULL;
    while (weight[at] >= '0' && weight[at] <= '9' && at < 16)
        at++;
    if (at == 4 || weight[at] != '.')
        return NULL;
    *n_prefix = (int)at + 1;
    return weight + at + 1;
}

bool moments_input(const char *weight, int expert, char out[MOMENTS_NAME])
{
    int n_prefix = 0;
    const char *rest = after_layer(weight, &n_prefix);

    if (expert >= 0 && strcmp(weight, "per_layer_token_embd.weight") == 0) {
        snprintf(out, MOMENTS_NAME, "blk.%d.ple_table", expert);
        return true;
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].is_layer != (rest != NULL) ||
            strcmp(table[i].weight, rest ? rest : weight) != 0)
            continue;
        if (expert >= 0)
            snprintf(out, MOMENTS_NAME, "%.*s%s.%d", n_prefix, weight, table[i].input,
                     expert);
        else
            snprintf(out, MOMENTS_NAME, "%.*s%s", n_prefix, weight, table[i].input);
        return true;
    }
    return false;
}
