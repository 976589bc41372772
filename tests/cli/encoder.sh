#!/bin/sh
# encoder.sh CARAT DATA - a model without logits is not judged by them
. "$(dirname "$0")/expect.sh"
model=$data/golden/embeddinggemma

yes 'Some words to score, more of them than one chunk holds.' | head -40 > "$work/text"
printf '2 3 4 5' > "$work/ids"
"$carat" reference "$data/models/tiny-e2b" --text "$work/text" --ctx 64 --chunks 1 -o "$work/ref" \
    --quiet > "$work/out"

refused() {
    run "$@" --quiet --no-progress
    status 2
    prints ''
    says_part "carat: $model: a gemma-embedding model"
}

refused perplexity "$model" --text "$work/text" --ctx 64
refused reference "$model" --text "$work/text" --ctx 64 -o "$work/none"
refused compare "$model" --reference "$work/ref"
refused sensitivity "$model" --text "$work/text" --ctx 64 -o "$work/none"
refused logits "$model" --ids "$work/ids" -o "$work/none"
refused logits "$model" --ids "$work/ids" --hidden --greedy 2 -o "$work/none"
refused bench "$model" --prompt 4 --tokens 1
refused run "$model" -p text
[ ! -e "$work/none" ] || complain 'something was written'

# its layers are
run logits "$model" --ids "$work/ids" --hidden -o "$work/hidden.st" --quiet
status 0
run convert "$model" -o "$work/m.gguf" --type F16 --quiet
run verify "$work/m.gguf" --source "$model" --quiet
status 0
prints_part 'ok   layers'
! grep -q logits "$work/out" || complain 'logits that are not there are judged'

finish
