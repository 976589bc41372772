#!/bin/sh
# inspect.sh CARAT DATA - what carat inspect prints of files made here
. "$(dirname "$0")/expect.sh"

# byte N...; u32 N; u64 N; text S (a GGUF string): little-endian bytes on stdout
byte() { for b; do printf '%b' "\\0$(printf %o "$b")"; done; }
u32() { byte $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
u64() { u32 "$1"; u32 0; }
text() { u64 ${#1}; printf %s "$1"; }
zeros() { head -c "$1" /dev/zero; }

gguf=$work/small.gguf
{
    printf GGUF; u32 3; u64 2; u64 3
    text general.architecture; u32 8; text gemma4
    text general.name; u32 8; text 'tiny'
    text gemma4.block_count; u32 10; u64 7
    text a.weight; u32 2; u64 32; u64 2; u32 8; u64 0
    text b.weight; u32 1; u64 4; u32 0; u64 96
} > "$gguf"
header=$(wc -c < "$gguf")
start=$(((header + 31) / 32 * 32))
zeros $((start - header + 96 + 32)) >> "$gguf"

run inspect "$gguf"
status 0
silent
prints_line "$gguf: GGUF, $((start + 128)) B, data from byte $start, alignment 32"
prints_line 'gemma4: 2 tensors, 68 weights, 3 keys'
prints_line '  general.name          string  "tiny"'
prints_line "  a.weight  Q8_0  [32, 2]     68     1     $start"
prints_line "  b.weight  F32   [4]         16     1     $((start + 96))"
prints_line '  Q8_0        1  68 B  81.0%          8.500'
prints_line '  gemma4.block_count: a u64, where a u32 is wanted'
prints_line '  a.weight: gemma4 has no such tensor, and one too many is refused'

run inspect "$gguf" --key general.name
status 0
prints tiny
run inspect "$gguf" --key general.nam
status 2
says "carat: $gguf: no key is called general.nam"
run inspect "$gguf" --json --brief
status 0
prints_part '"metadata":{"general.architecture":{"type":"string","value":"gemma4"}'
[ "$(wc -l < "$work/out")" = 1 ] || complain 'not one line'

# a file cut anywhere is refused in one sentence
for n in 0 3 4 20 60 150 "$header" $((start + 100)); do
    head -c "$n" "$gguf" > "$work/cut.gguf"
    run inspect "$work/cut.gguf"
    status 2
    prints ''
    [ "$(wc -l < "$work/err")" = 1 ] || complain 'not one sentence'
    says_part "carat: $work/cut.gguf: "
done

# safetensors: a file and a folder
st=$work/model.safetensors
json='{"x":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}'
{ u64 ${#json}; printf %s "$json"; zeros 12; } > "$st"
run inspect "$st"
status 0
prints_line '1 tensor, 6 weights'
prints_line "  x     BF16  [2, 3]     12     1      $((8 + ${#json}))"
run inspect "$work" --brief
status 0
prints_line '  BF16        1  12 B  100.0%'
run inspect "$st" --key x
status 2
says "carat: $st: only a GGUF has keys"

# neither
printf 'hello world' > "$work/notes.txt"
run inspect "$work/notes.txt"
status 2
says "carat: $work/notes.txt: neither GGUF nor safetensors"
run inspect /dev/null
status 2
says 'carat: /dev/null: not a regular file'

finish
