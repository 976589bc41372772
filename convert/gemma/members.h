/*
 * members.h - the members of the family, one file each
 */
#ifndef CONVERT_GEMMA_MEMBERS_H
#define CONVERT_GEMMA_MEMBERS_H

#include "convert/gemma/gemma.h"

extern const struct gemma_family gemma4_family;

#endif
