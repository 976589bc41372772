/*
 * members.h - the members of the family, in the order they are asked
 */
#ifndef CONVERT_GEMMA_MEMBERS_H
#define CONVERT_GEMMA_MEMBERS_H

#include "convert/gemma/gemma.h"

extern const struct gemma_family gemma4_family;
extern const struct gemma_family gemma4_assistant_family;
extern const struct gemma_family diffusion_gemma_family;
extern const struct gemma_family embedding_gemma2_family;
extern const struct gemma_family gemma_embedding_family;
extern const struct gemma_family gemma3_family;

#endif
