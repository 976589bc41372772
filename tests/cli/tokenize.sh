#!/bin/sh
# tokenize.sh CARAT DATA - ids of text, text of ids
. "$(dirname "$0")/expect.sh"
model=$data/golden/e2b

# what is encoded comes back, line by line
printf 'Hello, world\n\n  two  spaces\tand \303\244 \342\226\201\nlast' > "$work/text"
run tokenize "$model" --text "$work/text"
status 0
silent
[ "$(wc -l < "$work/out")" = 4 ] || complain 'not one line of ids an input line'
cp "$work/out" "$work/ids"
run tokenize "$model" --decode --no-special --text "$work/ids"
status 0
printf 'Hello, world\n\n  two  spaces\tand \303\244  \nlast\n' | cmp -s - "$work/out" ||
    complain 'the text did not come back'

# BOS and control tokens
run tokenize "$model" -p ''
status 0
prints ''
run tokenize "$model" -p '<turn|>'
prints '2 106'
run tokenize "$model" -p '<turn|>' --no-bos
prints '106'
run tokenize "$model" -p '<turn|>' --no-bos --no-special --json
status 0
case $(cat "$work/out") in *106*) complain 'a control token was recognised' ;; esac
run tokenize "$model" -p '<turn|>' --json --pieces
prints '[{"ids":[2,106],"pieces":["<bos>","<turn|>"]}]'
feed '[2, 106]'
run tokenize "$model" --decode
prints '<bos><turn|>'

# what is wrong is one sentence
feed '2 x3 4'
run tokenize "$model" --decode
status 2
says 'carat: x3: not a token id'
feed '99999999'
run tokenize "$model" --decode
status 2
run tokenize "$work" -p x
status 2
prints ''
run tokenize "$model" --text "$work/no-such-file"
status 2
says "carat: $work/no-such-file: No such file or directory"

finish
