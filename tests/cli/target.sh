#!/bin/sh
# target.sh CARAT DATA - from a text to files of a size: sensitivity, plan, convert
. "$(dirname "$0")/expect.sh"

model=$data/models/tiny-e2b
yes 'The whole of the law, and what it costs to keep it.' | head -40 > "$work/text"

run sensitivity "$model" --text "$work/text" -o "$work/a.sens" --ctx 16 --chunks 1
status 0
prints_part 'a.sens: 512 rows, 67 of them measured, on 7 scored tokens'
[ ! -e "$work/a.sens.reference" ] || complain 'the reference was left behind'
run sensitivity "$model" --text "$work/text" -o "$work/a.sens" --ctx 16 --chunks 1
status 2
says_part 'a.sens: exists already'
run sensitivity "$model" --text "$work/text" -o "$work/b.sens" --ctx 16 --chunks 1 -t 1
status 0
cmp -s "$work/a.sens" "$work/b.sens" || complain 'another number of threads, another file'

# an interrupted run: what it measured is taken, as a number nobody would measure shows
[ ! -e "$work/b.sens.part" ] || complain 'the part was left behind'
head -30 "$work/a.sens" | sed 's/^\(token_embd.weight.Q4_K.\)[^\t]*/\11.250000e+02/' > "$work/r.sens.part"
run sensitivity "$model" --text "$work/text" -o "$work/r.sens" --ctx 16 --chunks 1 --resume
status 0
grep -q 'token_embd.weight.Q4_K.1.250000e+02' "$work/r.sens" || complain 'begun anew'
[ "$(diff "$work/a.sens" "$work/r.sens" | grep -c '^>')" = 1 ] || complain 'another file'
head -30 "$work/a.sens" > "$work/q.sens.part"
run sensitivity "$model" --text "$work/text" -o "$work/q.sens" --ctx 24 --chunks 1 --resume
status 2
says_part 'q.sens.part: it was measured on another model or text'

run plan "$model" --target-size 4300000 --sensitivity "$work/a.sens" --recipe-out "$work/recipe"
status 0
prints_part 'predicted divergence'
run convert "$model" --target-size 4300000 --sensitivity "$work/a.sens" -o "$work/a.gguf"
status 0
bytes=$(cat "$work"/a-0000?-of-00002.gguf | wc -c)
[ "$bytes" -le 4300000 ] || complain "$bytes bytes"
[ "$bytes" -gt 4280000 ] || complain "$bytes bytes"
run convert "$model" --recipe "$work/recipe" -o "$work/b.gguf"
status 0
for n in 1 2; do
    cmp -s "$work/a-0000$n-of-00002.gguf" "$work/b-0000$n-of-00002.gguf" ||
        complain 'the recipe gives other bytes'
done

run convert "$model" --target-size 1M --sensitivity "$work/a.sens" -o "$work/c.gguf"
status 2
says_part 'is too small: it takes'
[ -z "$(ls "$work" | grep "^c")" ] || complain 'a file was written'
run convert "$model" --target-size 4300000 -o "$work/c.gguf"
status 2
says_part 'needs --sensitivity'
finish
