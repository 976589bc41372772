#!/bin/sh
# drafting.sh CARAT DATA MAKERS - with a drafter the same tokens come out, from fewer passes
#
# A target that says what follows what, and drafters that know it of all, most and no tokens
# (bench/successors.h), small: 256 wide, 4096 pieces.
. "$(dirname "$0")/expect.sh"
makers=$3

sed 's/"hidden_size": 96/"hidden_size": 256/
     s/"hidden_size_per_layer_input": 32/"hidden_size_per_layer_input": 128/' \
    "$data/golden/e2b/config.json" > "$work/config.json"

# make FOLDER MAKER ARG...: a checkpoint with a tokenizer, converted to FOLDER.gguf
make() {
    folder=$work/$1
    shift
    mkdir "$folder"
    maker=$1
    shift
    "$makers/$maker" "$folder" "$work/config.json" "$@" || complain "$maker failed"
    cp "$data/golden/tokenizer.json" "$folder"
    run convert "$folder" -o "$folder.gguf" --type Q4_0 --ple inline --quiet
    status 0
}
make target make_e2b
make knows make_drafter 1
make often make_drafter 0.7
make never make_drafter 0
target=$work/target.gguf

# say ARG...: what the target says, its tokens on one line in $said
say() {
    run run "$target" -p 'Hello there' --json --quiet -t 1 "$@"
    status 0
    said=$(sed 's/.*"tokens":\[\([-0-9,]*\)\].*/\1/' "$work/out")
    stop=$(sed 's/.*"stop":"\([a-z]*\)".*/\1/' "$work/out")
    guessed=$(sed 's/.*"guessed":\([0-9]*\).*/\1/' "$work/out")
    accepted=$(sed 's/.*"accepted":\([0-9]*\).*/\1/' "$work/out")
}

# same ARG...: all of them say and stop as the target alone
same() {
    say "$@"
    alone="$stop $said"
    for drafter in knows often never; do
        say "$@" --draft "$work/$drafter.gguf"
        [ "$stop $said" = "$alone" ] || complain "$drafter: other tokens than $alone"
    done
}

same -n 200
say -n 200 --draft "$work/knows.gguf"
[ $((accepted * 10)) -ge $((guessed * 8)) ] || complain "knows $accepted of $guessed"
[ "$accepted" -ge 140 ] || complain "only $accepted tokens of 200 were guessed"
say -n 200 --draft "$work/never.gguf"
[ "$accepted" = 0 ] || complain "never, but $accepted of $guessed"
say -n 200 --draft "$work/often.gguf"
[ "$accepted" -ge 70 ] || complain "often, but $accepted of $guessed"

same -n 60 --temp 1 --seed 4
same -n 100 -c 40
[ "$stop" = context ] || complain "stopped at $stop"

# an end token inside the guesses that come true ends the text there, wherever it stands in them
say -n 40
full=$said
for at in 11 12 13 14 15 16 17 18; do
    end=$(echo "$full" | cut -d, -f$at)
    run patch "$target" --metadata "tokenizer.ggml.eos_token_id=$end" --quiet
    status 0
    same -n 40
    [ "$stop $said" = "end $(echo "$full" | cut -d, -f1-$((at - 1)))" ] ||
        complain "token $at, $end, is the end, but it says $said"
done

# what does not fit is said in one sentence
run run "$target" -p 'Hello' --draft "$data/golden/31b-assistant" --quiet
status 2
prints ''
says "carat: $data/golden/31b-assistant: made for a model of width 96 and 4096 pieces; $target has 256 and 4096"
run patch "$work/knows.gguf" --metadata carat.ordered_head.chosen=33 --quiet
run run "$target" -p 'Hello' --draft "$work/knows.gguf" --quiet
status 2
prints ''
says "carat: $work/knows.gguf: carat.ordered_head.chosen: 33 is not in 1 .. 32"

finish
