#!/bin/sh
# cross_kernels.sh CC ROOT OUT - build the kernel tests for AArch64, in a folder beside OUT
#
# The *_neon.c files need flags of their own, as in runtime/kernels/CMakeLists.txt. Tests are not
# vectorized: GCC 12 for AArch64 fails on one of them.
set -e
cc=$1 root=$2 out=$3 parts=$3.parts
flags="-std=c17 -ffp-contract=off -fno-math-errno -fopenmp -DCARAT_ARM=1
    -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -I$root -I$root/tests/cross"

build() # FLAGS SOURCE...
{
    extra=$1
    shift
    for source; do
        # shellcheck disable=SC2086
        $cc $flags $extra -c "$root/$source.c" -o "$parts/$(basename "$source").o"
    done
}

rm -rf "$parts"
mkdir -p "$parts"
kernels=runtime/kernels
build -O3 $kernels/kernels $kernels/matmul $kernels/attend $kernels/codes $kernels/limits \
    $kernels/kernels_scalar $kernels/kernels_neon $kernels/tiles_neon $kernels/dots_neon
build '-O3 -march=armv8.2-a+dotprod' $kernels/dotprod_neon
build '-O3 -march=armv8.2-a+dotprod+i8mm' $kernels/i8mm_neon
build -O1 formats/blocks/blocks formats/blocks/decode_small formats/blocks/decode_super \
    formats/blocks/halves formats/formats formats/widen base/status base/utf8 base/parallel \
    base/cores base/cpu base/clock tests/fixture tests/runtime/kernel_tables \
    tests/runtime/test_kernels_attention tests/runtime/test_kernels_rows \
    tests/runtime/test_kernels_emulated
build '-O1 -DCROSS_MAIN' tests/runtime/test_kernels_matmul
$cc -fopenmp -static "$parts"/*.o -o "$out" -lm 2>"$parts/log" || { cat "$parts/log"; exit 1; }
