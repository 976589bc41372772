#include "tests/runtime/kernel_tables.h"

#ifndef CARAT_EMULATED
#define CARAT_EMULATED 0
#endif

const struct kernels *table_at(int i)
{
    const struct cpu_features *cpu = cpu_features();

    if (i == 0)
        return &kernels_scalar;
#if defined(CARAT_X86)
    if (i == 1)
        return cpu->avx2 ? &kernels_avx2 : NULL;
    if (i == 2)
        return cpu->avx512 || CARAT_EMULATED ? &kernels_avx512 : NULL;
    if (i == 3)
        return cpu->avx512_vnni || CARAT_EMULATED ? &kernels_avx512_vnni : NULL;
#elif defined(CARAT_ARM)
    if (i == 1)
        return cpu->neon ? &kernels_neon : NULL;
    if (i == 2)
        return cpu->neon_dotprod ? &kernels_neon_dotprod : NULL;
    if (i == 3)
        return cpu->neon_i8mm ? &kernels_neon_i8mm : NULL;
#endif
    return NULL;
}
