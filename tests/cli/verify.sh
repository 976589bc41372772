#!/bin/sh
# verify.sh CARAT DATA - what a file is held against
. "$(dirname "$0")/expect.sh"
file=$work/m.gguf

convert() { run convert "$@" -o "$file" --type Q8_0 --ple inline --force --quiet; }
verify() { run verify "$file" --quiet "$@"; }

# a drafter has no pass of its own: the rest is judged, and the gap told
drafter=$data/golden/e2b-assistant
convert "$drafter"
verify --source "$drafter"
status 0
prints_part 'ok   tensors'
prints_line "--   layers     left out, and logits: a drafter's layers read its target's keys and values"
prints_line 'certified'
verify --source "$drafter" --json
status 0
prints_part '"left_out":{"checks":["layers","logits"],"why":"a drafter'
verify --source "$drafter" --fast
status 0
! grep -q 'left out' "$work/out" || complain 'told what was asked for'

finish
