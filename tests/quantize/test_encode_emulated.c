/*
 * test_encode_emulated.c - the AVX-512 table, compiled against an emulation of AVX-512, so
 * that its bits are checked on machines without it
 */
#include "tests/quantize/agree.h"

#include <criterion/criterion.h>

Test(encoders, the_avx512_table_agrees_with_scalar)
{
    const char *differs = tables_disagree(&encode_avx512);

    cr_assert_null(differs, "%s differs from scalar", differs);
}
