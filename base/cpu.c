/*
 * cpu.c - what this machine can run, decided once
 *
 * Source: Intel SDM volume 2A, CPUID leaf 1; Linux, Documentation/arch/arm64/elf_hwcaps.rst.
 */
#include "base/cpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(CARAT_X86)
#include <cpuid.h>
#elif defined(CARAT_ARM)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static struct cpu_features machine, capped;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *const level_names[CPU_LEVELS] = {
    [CPU_SCALAR] = "scalar",
    [CPU_AVX2] = "avx2",
    [CPU_AVX512] = "avx512",
    [CPU_NEON] = "neon",
};

#if defined(CARAT_X86)
/* Clang 14's __builtin_cpu_supports() does not know F16C. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static struct cpu_features ask_machine(void)
{
    struct cpu_features f = {0};

    __builtin_cpu_init();
    f.avx2 =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
    f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
    f.avx512_bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
    return f;
}
#elif defined(CARAT_ARM)
static struct cpu_features ask_machine(void)
{
    struct cpu_features f = {0};

    f.neon = (getauxval(AT_HWCAP) & HWCAP_ASIMD) != 0;
    f.neon_dotprod = f.neon && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    f.neon_i8mm = f.neon && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
    return f;
}
#else
static struct cpu_features ask_machine(void)
{
    return (struct cpu_features){0};
}
#endif

static bool has_level(const struct cpu_features *f, enum cpu_level level)
{
    switch (level) {
    case CPU_SCALAR:
        return true;
    case CPU_AVX2:
        return f->avx2;
    case CPU_AVX512:
        return f->avx512;
    case CPU_NEON:
        return f->neon;
    case CPU_LEVELS:
        break;
    }
    return false;
}

/* The level CARAT_CPU names; CPU_LEVELS when it names none. */
static enum cpu_level level_from_name(const char *name)
{
    int level = CPU_SCALAR;

    while (level < CPU_LEVELS && strcmp(level_names[level], name) != 0)
        level++;
    return (enum cpu_level)level;
}

static void choose(void)
{
    const char *cap = getenv("CARAT_CPU");

    machine = ask_machine();
    capped = machine;
    if (!cap || !*cap)
        return;
    if (level_from_name(cap) < CPU_AVX512)
        capped.avx512 = capped.avx512_vnni = capped.avx512_bf16 = false;
    if (level_from_name(cap) == CPU_SCALAR)
        capped = (struct cpu_features){0};
}

const struct cpu_features *cpu_features(void)
{
    pthread_once(&once, choose);
    return &capped;
}

enum cpu_level cpu_level(void)
{
    enum cpu_level best = CPU_SCALAR;

    for (int level = CPU_SCALAR; level < CPU_LEVELS; level++)
        if (has_level(cpu_features(), (enum cpu_level)level))
            best = (enum cpu_level)level;
    return best;
}

bool cpu_can_run(enum cpu_level level)
{
    return has_level(cpu_features(), level);
}

const char *cpu_level_name(enum cpu_level level)
{
    return level_names[level];
}

enum status cpu_check_environment(struct error *err)
{
    const char *cap = getenv("CARAT_CPU");
    enum cpu_level level;

    if (!cap || !*cap)
        return OK;
    level = level_from_name(cap);
    if (level == CPU_LEVELS)
        return fail(err, ERR_USAGE,
                    "CARAT_CPU: no level is called %s (scalar, avx2, avx512, neon)", cap);
    pthread_once(&once, choose);
    if (!has_level(&machine, level))
        return fail(err, ERR_USAGE, "CARAT_CPU: this machine has no %s", cap);
    return OK;
}
