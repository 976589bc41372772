#!/bin/sh
# yes_no.sh CARAT DATA - the probability of yes is the reference's
. "$(dirname "$0")/expect.sh"

shield=$data/golden/shieldgemma2

# golden p0 and p1, whose texts give their ids back: 0.4146502 and 0.7656674 there, in float32
run run "$shield" --yes-no --arithmetic f32 --quiet \
    -p '<bos><|turn>user
Name three rivers of Europe'
status 0
prints 'yes 0.414651
no 0.585349'
run run "$shield" --yes-no --arithmetic f32 --quiet -p '<bos>Grüße'
status 0
prints 'yes 0.765666
no 0.234334'

# what is converted answers alike, by the tokens the file names
run convert "$shield" -o "$work/shield.gguf" --type BF16 --quiet
status 0
run run "$work/shield.gguf" --yes-no --arithmetic f32 --json -p '<bos>Grüße'
status 0
prints_part '"yes":0.76566'
prints_part '"tokens":[1320,1926]'
prints_part '"prompt_tokens":8'

# a vocabulary without the words, and a file without the keys
run run "$data/golden/31b" --yes-no --quiet -p 'Is it?'
status 2
says_part 'no token says Yes: the file has no carat.yes_token_id, and the vocabulary no piece "Yes"'
finish
