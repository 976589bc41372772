#!/bin/sh
# overwrite.sh CARAT DATA - no verb writes over what it reads, whatever --force says
. "$(dirname "$0")/expect.sh"

mkdir "$work/m" "$work/elsewhere"
cp "$data"/models/tiny-e2b/* "$work/m"
cd "$work" || exit 1

yes 'Some words to score, more of them than one chunk holds.' | head -400 > text
printf 'embed_tokens = Q8_0\n' > types
printf '2 3 4 5' > ids
printf '{{ messages[0].content }}' > template
"$carat" convert m -o g.gguf --type Q8_0 --ple inline --quiet --no-progress > out
"$carat" calibrate m -o imatrix --text text --ctx 64 --tokens 128 --quiet > out
ln g.gguf hard.gguf
ln -s ../g.gguf elsewhere/soft.gguf
sha256sum m/* g.gguf text types ids template imatrix > sums

# kept VERB... : refused in one sentence, and everything is as it was
kept() {
    run "$@" --force --quiet --no-progress
    status 2
    says_part 'it is what is read here; the result needs a name of its own'
    [ "$(wc -l < err)" = 1 ] || complain 'more than one sentence'
    sha256sum --quiet -c sums > out 2>&1 || complain 'an input changed'
    [ -z "$(ls -A | grep partial)" ] || complain 'part of a file is left'
}

for name in config.json tokenizer.json tokenizer_config.json generation_config.json model.safetensors; do
    kept convert m -o "m/$name" --type Q8_0 --ple inline
    kept reference m --text text -o "m/$name" --ctx 64
    kept logits m --ids ids -o "m/$name"
done
for name in types imatrix template; do
    kept convert m -o $name --type Q8_0 --ple inline --recipe types --imatrix imatrix \
        --chat-template template
done
kept convert m -o text --type Q8_0 --ple inline --text text --method search --tokens 2K
for name in g.gguf hard.gguf elsewhere/soft.gguf ./elsewhere/../g.gguf; do
    kept convert g.gguf -o "$name" --type Q8_0 --ple inline
    kept reference g.gguf --text text -o "$name" --ctx 64
    kept logits g.gguf --ids ids -o "$name"
    kept calibrate g.gguf --text text -o "$name" --ctx 64
    kept calibrate g.gguf --text text -o new --hessian "$name" --ctx 64
    kept sensitivity g.gguf --text text -o "$name" --ctx 64
done
kept reference m --text text -o text --ctx 64
kept calibrate m --text text -o text --ctx 64
kept sensitivity m --text text -o text --ctx 64
kept logits m --ids ids -o ids
kept plan m --recipe types --recipe-out types

# statistics that are there already are not this conversion's to replace, nor to remove
cp imatrix o.gguf.imatrix
run convert m -o o.gguf --type Q4_0 --method search --text text --tokens 128 --force --quiet
status 2
says_part 'o.gguf.imatrix: exists already'
cmp -s imatrix o.gguf.imatrix || complain 'statistics of the user are gone'

# the two results of one calibration
run calibrate m --text text -o both --hessian both
status 2
says_part '-o and --hessian name the same file'

# what was not read is replaced when that is asked for
run convert m -o elsewhere/other.gguf --type Q8_0 --ple inline --quiet
status 0
run convert m -o elsewhere/other.gguf --type Q4_0 --ple inline --quiet --force
status 0

# "-" is no name of a file
for verb in "convert m -o - --type Q8_0" "convert m -o - --type Q8_0 --ple inline" \
    "reference m --text text --ctx 64 -o -" "logits m --ids ids -o -"; do
    # shellcheck disable=SC2086
    run $verb --quiet --no-progress
    status 2
done
[ -z "$(ls -A | grep -e '^-')" ] || complain 'a file is called -'

finish
