/*
 * encoders.c - which table of hot loops this machine runs
 */
#include "quantize/encode_tables.h"

static const struct encoders *const tables[CPU_LEVELS] = {
    [CPU_SCALAR] = &encode_scalar,
#ifdef CARAT_X86
    [CPU_AVX2] = &encode_avx2,
    [CPU_AVX512] = &encode_avx512,
#endif
#ifdef CARAT_ARM
    [CPU_NEON] = &encode_neon,
#endif
};

const struct encoders *encoders_at(enum cpu_level level)
{
    return cpu_can_run(level) ? tables[level] : NULL;
}

const struct encoders *encoders_best(void)
{
    const struct encoders *best = encoders_at(cpu_level());

    return best ? best : &encode_scalar;
}
