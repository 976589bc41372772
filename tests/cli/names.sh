#!/bin/sh
# names.sh CARAT DATA - names that are not UTF-8, and names that would disturb a terminal
. "$(dirname "$0")/expect.sh"
model=$data/models/tiny-e2b
odd=$(printf 'odd\377')

printf '2 3 4 5' > "$work/ids"
yes 'Some words to score, more of them than one chunk holds.' | head -40 > "$work/text"

# an answer is not lost because a path has no spelling in JSON
run logits "$model" --ids "$work/ids" -o "$work/$odd.st" --json --quiet
status 0
prints "{\"path\":\"$work/odd\\\\xff.st\",\"tokens\":4,\"tensors\":1}"
run reference "$model" --text "$work/text" --ctx 64 --chunks 1 -o "$work/$odd.ref" --json --quiet
status 0
prints_part 'odd\\xff.ref'

# what a model calls itself is shown, and does nothing
run convert "$model" -o "$work/m.gguf" --type Q8_0 --ple inline --quiet \
    --metadata "general.name=$(printf 'tiny\033[31m')"
status 0
run reference "$work/m.gguf" --text "$work/text" --ctx 64 --chunks 1 -o "$work/red.ref" --quiet
status 0
prints_part 'tiny\x1b[31m: perplexity'
run compare "$work/m.gguf" --reference "$work/red.ref" --quiet
status 0
prints_part 'red.ref of tiny\x1b[31m (perplexity'
ln -s m.gguf "$work/$odd.gguf"
run compare "$work/$odd.gguf" "$work/m.gguf" --reference "$work/red.ref" --json --quiet
status 0
prints_part 'odd\\xff.gguf","b"'
prints_part 'odd\\xff.gguf"}'

# what would be refused at the end is refused before anything is computed
: > "$work/there"
for verb in 'logits --ids ids' 'embed --text text'; do
    # shellcheck disable=SC2086
    (cd "$work" && "$carat" ${verb%% *} nothing ${verb#* } -o there) > "$work/out" 2> "$work/err"
    code=$?
    command="carat $verb"
    status 2
    says 'carat: there: exists already (--force replaces it)'
done

# as many entries as the vocabulary has pieces are all there are
run reference "$model" --text "$work/text" --ctx 64 --chunks 1 --entries 65535 -o "$work/all.ref" --json --quiet
status 0
prints_part '"record_bytes":32800'

finish
