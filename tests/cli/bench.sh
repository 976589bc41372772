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

# with a drafter: its guesses, passes of every length, and what follows from them
run bench "$model" --draft "$data/golden/e2b-assistant" --prompt 8 -n 3 --runs 1 --quiet
status 0
prints_line 'drafting	tokens	ms	decode steps'
prints_part 'guess	1	'
for tokens in 1 2 3 4 5 6 7 8; do prints_part "verify	$tokens	"; done
prints_part '# computed from these: drafting '
prints_line 'acceptance	guesses	speed-up'
for acceptance in 0.5 0.6 0.7 0.8 0.9; do prints_part "$acceptance	"; done

run bench "$model" --draft "$data/golden/e2b-assistant" --prompt 8 -n 1 --runs 1 --json --quiet
status 0
prints_part '"draft":{"guess_seconds":'
prints_part '"computed":[{"acceptance":0.5,"guesses":'

run bench "$model" --draft "$model" --prompt 8 -n 1 --runs 1 --quiet
status 2
prints ''
says_part 'a gemma4 model is no drafter'

run bench "$model" --prompt 0
status 2
run bench "$work/no-such-file"
status 2
prints ''

finish
