/*
 * cpu.h - what this machine can run, decided once
 *
 * CARAT_CPU caps the choice: scalar, avx2, avx512 or neon. Kernel tables ask cpu_level()
 * once and then never look again.
 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include "base/status.h"

#include <stdbool.h>

enum cpu_level {
    CPU_SCALAR, /* plain C: the definition */
    CPU_AVX2,   /* AVX2 + FMA + F16C */
    CPU_AVX512, /* AVX-512 F, BW, VL, DQ; VNNI and BF16 are asked for apart */
    CPU_NEON,   /* AArch64 Advanced SIMD; dotprod and i8mm are asked for apart */
    CPU_LEVELS,
};

struct cpu_features {
    bool avx2, avx512, avx512_vnni, avx512_bf16; /* avx2 implies FMA and F16C */
    bool neon, neon_dotprod, neon_i8mm;
};

/* What the machine has, after the cap of CARAT_CPU. Chosen once. */
const struct cpu_features *cpu_features(void);

/* The best level this machine can run under the cap. */
enum cpu_level cpu_level(void);

/* True when tables of this level may run here (the cap does not hide lower levels). */
bool cpu_can_run(enum cpu_level level);

const char *cpu_level_name(enum cpu_level level); /* "scalar", "avx2", "avx512", "neon" */

/* ERR_USAGE when CARAT_CPU is set to something unknown or to a level this machine lacks.
 * The command line calls this before any work. */
MUST_CHECK enum status cpu_check_environment(struct error *err);

#endif
