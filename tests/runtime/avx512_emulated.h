/*
 * avx512_emulated.h - AVX-512 intrinsics on a machine without them: SIMDe, and what it lacks
 *
 * Forced in front of the *_avx512.c files when a test compiles them for any x86 machine.
 */
#ifndef TESTS_RUNTIME_AVX512_EMULATED_H
#define TESTS_RUNTIME_AVX512_EMULATED_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

static inline simde__m512 emulated_cvtepi32_ps(simde__m512i a)
{
    simde__m512i_private in = simde__m512i_to_private(a);
    simde__m512_private out;

    for (int i = 0; i < 16; i++)
        out.f32[i] = (float)in.i32[i];
    return simde__m512_from_private(out);
}

static inline simde__m512i emulated_srai_epi32(simde__m512i a, int n)
{
    simde__m512i_private v = simde__m512i_to_private(a);

    for (int i = 0; i < 16; i++)
        v.i32[i] >>= n;
    return simde__m512i_from_private(v);
}

static inline simde__m256 emulated_extractf32x8_ps(simde__m512 a, int n)
{
    return simde__m512_to_private(a).m256[n];
}

/* SIMDe 0.7.4 gives this name to the masked form. */
#undef _mm512_madd_epi16
static inline simde__m512i emulated_madd_epi16(simde__m512i a, simde__m512i b)
{
    return simde_mm512_madd_epi16(a, b);
}

#define _mm512_madd_epi16      emulated_madd_epi16
#define _mm512_cvtepi32_ps     emulated_cvtepi32_ps
#define _mm512_srai_epi32      emulated_srai_epi32
#define _mm512_extractf32x8_ps emulated_extractf32x8_ps

#endif
