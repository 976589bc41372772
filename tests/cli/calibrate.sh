#!/bin/sh
# calibrate.sh CARAT DATA - which text is run
. "$(dirname "$0")/expect.sh"
model=$data/golden/e2b

# without --text it is carat's own, and the file says so
run calibrate "$model" -o "$work/own.gguf" --ctx 64 --tokens 640
status 0
run inspect "$work/own.gguf" --json
status 0
grep -q '"carat:prose.txt"' "$work/out" || complain 'no carat:prose.txt'

# saying so is the same; two chunks of each document, one of them held out
run calibrate "$model" -o "$work/said.gguf" --ctx 64 --tokens 640 --text default --json
status 0
grep -q '"tokens": *320, *"held_tokens": *320' "$work/out" || complain 'not 320 and 320 tokens'
cmp -s "$work/own.gguf" "$work/said.gguf" || complain 'default is another text'

run calibrate "$model" -o "$work/x.gguf" --quiet --text default --text default
status 2
says 'carat: the default text is given twice'

run calibrate "$model" -o "$work/x.gguf" --text ./default
status 2
finish
