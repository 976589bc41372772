#!/bin/sh
# bench.sh CARAT DATA - what carat bench prints; not how fast anything is
. "$(dirname "$0")/expect.sh"
model=$data/golden/e2b

run bench "$model" --prompt 8 -n 2 --runs 1 --quiet
status 0
prints_line 'phase	tokens	tok/s	GB/s	GOP/s	limit	share'
prints_part 'prefill	8	'
prints_part 'decode	2	'
prints_part '# limits: read '

# a checkpoint of BF16 is multiplied in f32, and decoding is bound by reading
run bench "$model" --prompt 8 -n 2 --runs 1 --json --quiet -t 1 --ple memory
status 0
prints_part '"architecture":"gemma4"'
prints_part '"threads":1'
prints_part '"limit":"f32"'
prints_part '"limit":"read"'

run bench "$model" --prompt 0
status 2
run bench "$work/no-such-file"
status 2
prints ''

finish
