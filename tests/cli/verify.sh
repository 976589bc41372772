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

# what was converted with more than the source is verified with the same, and only so
model=$data/golden/e2b
adapter=$work/adapter
part=base_model.model.model.language_model.layers.0.self_attn.q_proj
mkdir "$adapter"
printf '{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}' \
    > "$adapter/adapter_config.json"
header="{\"$part.lora_A.weight\": {\"dtype\": \"F32\", \"shape\": [1, 96], \"data_offsets\": [0, 384]},
\"$part.lora_B.weight\": {\"dtype\": \"F32\", \"shape\": [96, 1], \"data_offsets\": [384, 768]}}"
{
    n=${#header}
    printf "$(printf '\\%03o\\%03o\\0\\0\\0\\0\\0\\0' $((n % 256)) $((n / 256)))"
    printf '%s' "$header"
    head -c 768 /dev/zero | tr '\0' '?' # 96 + 96 times 0.747
} > "$adapter/adapter_model.safetensors"
printf '{{ messages[0].content }}' > "$work/t.jinja"

convert "$model" --lora "$adapter:0.5" --chat-template "$work/t.jinja" \
    --metadata tokenizer.ggml.note=mine --keep-dead
set -- --source "$model" --fast
verify "$@"
status 1
prints_part 'NO   template'
prints_part 'NO   tokenizer'
prints_part 'NO   coverage'
prints_part 'NO   tensors    blk.0.attn_q.weight'
set -- "$@" --chat-template "$work/t.jinja" --metadata tokenizer.ggml.note=mine --keep-dead
verify "$@" --lora "$adapter:-0.5"
status 1
[ "$(grep -c ^NO "$work/out")" = 1 ] || complain 'more than the scale of the adapter is wrong'
verify "$@" --lora "$adapter:0.5" --method plain
status 0
prints_line certified
verify "$@" --lora "$adapter/none"
status 2

finish
