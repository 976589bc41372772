/*
 * family.c - one row an architecture
 *
 * Source: docs/architecture.md; for what llama.cpp 0.5.0 knows, its graphs.
 */
#include "runtime/family.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct family families[] = {
    {.architecture = "gemma4",
     .has_qk_norm = true,
     .has_value_norm = true,
     .has_keys_for_values = true,
     .has_layer_scale = true,
     .has_partial_rope = true,
     .is_causal = true,
     .unit_scores = true,
     .has_placeholders = true,
     .rope_base_local = 10000.0f,
     .ple = PLE_TABLE},
    {.architecture = "gemma4-assistant",
     .has_qk_norm = true,
     .has_value_norm = true,
     .has_layer_scale = true,
     .has_partial_rope = true,
     .is_causal = true,
     .is_drafter = true,
     .unit_scores = true,
     .rope_base_local = 10000.0f},
    {.architecture = "diffusion-gemma",
     .has_qk_norm = true,
     .has_value_norm = true,
     .has_keys_for_values = true,
     .has_layer_scale = true,
     .has_partial_rope = true,
     .is_causal = true,
     .is_denoiser = true,
     .unit_scores = true,
     .has_placeholders = true,
     .rope_base_local = 10000.0f},
    {.architecture = "embedding-gemma2",
     .has_qk_norm = true,
     .has_value_norm = true,
     .has_layer_scale = true,
     .unit_scores = true,
     .has_placeholders = true,
     .rope_base_local = 10000.0f,
     .ple = PLE_CONTEXT},
    {.architecture = "gemma3",
     .has_qk_norm = true,
     .is_causal = true,
     .global_period = 6,
     .wide_layers = 62,
     .rope_base_local = 10000.0f},
    {.architecture = "gemma-embedding",
     .has_qk_norm = true,
     .halves_window = true,
     .global_period = 6,
     .rope_base_local = 10000.0f},
    {.architecture = "gemma2", .is_causal = true, .global_period = 2, .wide_layers = 46},
};

enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };

const struct family *family_find(const char *architecture)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (strcmp(families[i].architecture, architecture) == 0)
            return &families[i];
    return NULL;
}

const char *family_list(char text[FAMILY_LIST])
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < N_FAMILIES && used < FAMILY_LIST; i++)
        used += (size_t)snprintf(text + used, FAMILY_LIST - used, "%s%s", i ? ", " : "",
                                 families[i].architecture);
    return text;
}
