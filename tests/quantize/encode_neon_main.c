/*
 * encode_neon_main.c - the NEON table against the scalar one; run under an emulator
 */
#include "tests/quantize/agree.h"

#include <stdio.h>

int main(void)
{
    const char *differs = tables_disagree(&encode_neon);

    if (differs)
        printf("neon: %s differs from scalar\n", differs);
    return differs ? 1 : 0;
}
