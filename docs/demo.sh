#!/bin/sh
# demo.sh CARAT DATA FOLDER - a small trained Gemma 4 from its checkpoint to 8 and 4 bits, and what
# that costs; files go to FOLDER
set -eu
carat=$1
data=$2
out=$3
source=$data/models/tiny-e2b
text=$data/text/wiki-heldout.txt

mkdir -p "$out"
rm -f "$out"/*

# show ARG...: print a command as one would type it, and run it
show() {
    printf '\n$ carat'
    for word; do
        case $word in
        *' '*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    echo
    "$carat" "$@"
}

# megabytes FILE...
megabytes() { cat "$@" | wc -c | awk '{ printf "%.2f", $1 / 1e6 }'; }

# models JSON: KLD, its interval, same-top, perplexity of the reference and of the model, a line each
models() {
    printf '%s' "$1" | sed 's/{"kld":{"mean"/\n&/g' | sed -n 's/^{"kld":{"mean":\([^,]*\),"ci95":\[\([^,]*\),\([^]]*\)\].*"same_top":{"share":\([^,]*\),.*"ppl":{"base":\([^,]*\),"model":\([^,]*\),.*/\1 \2 \3 \4 \5 \6/p'
}

show convert "$source" -o "$out/tiny-Q8_0.gguf" --type Q8_0
show convert "$source" -o "$out/tiny-Q4_0.gguf" --type Q4_0
show run "$out/tiny-Q4_0-00001-of-00002.gguf" -p 'The city of' -n 48 --temp 0.7 --seed 3
echo
show reference "$source" --text "$text" --chunks 8 -o "$out/source.ref"
answer=$(show compare "$out/tiny-Q8_0-00001-of-00002.gguf" \
    "$out/tiny-Q4_0-00001-of-00002.gguf" --reference "$out/source.ref" --json)
printf '%s\n' "$answer" | sed -n '2p'

{
    echo "$(megabytes "$source/model.safetensors") source $(models "$answer" | sed -n 1p)"
    echo "$(megabytes "$out"/tiny-Q8_0-*) Q8_0 $(models "$answer" | sed -n 1p)"
    echo "$(megabytes "$out"/tiny-Q4_0-*) Q4_0 $(models "$answer" | sed -n 2p)"
} | awk '
BEGIN {
    printf "\n%-8s %6s  %10s  %9s  %-22s  %8s\n", "", "MB", "perplexity", "KLD", "95 %", "same top"
}
$2 == "source" { printf "%-8s %6s  %10.3f  %9s  %-22s  %8s\n", $2, $1, $7, "0", "", "100 %" }
$2 != "source" {
    interval = sprintf("[%.6f, %.6f]", $4, $5)
    printf "%-8s %6s  %10.3f  %9.6f  %-22s  %6.2f %%\n", $2, $1, $8, $3, interval, 100 * $6
}'
