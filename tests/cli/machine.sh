#!/bin/sh
# machine.sh CARAT DATA - what is no file, what is the source itself, what disappears meanwhile
. "$(dirname "$0")/expect.sh"
model=$data/models/tiny-e2b
convert() { run convert "$@" --type Q8_0 --ple inline --quiet --no-progress; }

# no operand makes the program wait or read for ever
mkfifo "$work/fifo"
mkdir "$work/folder"
for thing in "$work/fifo" /dev/zero "$work/folder"; do
    for verb in inspect tokenize run plan; do
        run "$verb" "$thing"
        status 2
        prints ''
    done
    run plan "$model" --imatrix "$thing"
    status 2
    run plan "$model" --recipe "$thing"
    status 2
    convert "$model" -o "$thing" --force
    status 2
    says "carat: $thing: exists and is not a regular file"
done

# a source is not written over, by whatever name it is called
convert "$model" -o "$work/m.gguf"
status 0
cp "$work/m.gguf" "$work/copy.gguf"
ln "$work/m.gguf" "$work/hard.gguf"
ln -s m.gguf "$work/soft.gguf"
for name in m.gguf ../"${work##*/}"/m.gguf hard.gguf soft.gguf; do
    convert "$work/m.gguf" -o "$work/$name" --force
    status 2
    says_part 'it is what is read here'
    cmp -s "$work/m.gguf" "$work/copy.gguf" || complain 'the source changed'
done

# a file that may not grow: the machine's fault, and the rest can follow
command='ulimit -f; carat convert'
code=0
(
    ulimit -f 1000
    "$carat" convert "$model" -o "$work/big.gguf" --type F32 --ple inline --quiet --no-progress
) > "$work/out" 2> "$work/err" || code=$?
status 3
says_part 'File too large'
[ ! -e "$work/big.gguf" ] || complain 'part of a file has its name'
[ -s "$work/.big.gguf.partial" ] || complain 'nothing to resume from'

# maps FILE : the child maps it before long; $i counts the seconds, 9 that it never did
maps() {
    for i in 1 2 3 4 5 6 7 8 9; do
        grep -q "$1" "/proc/$child/maps" 2> /dev/null && break
        sleep 1
    done
    [ "$i" != 9 ]
}

# a model that becomes shorter while it is mapped: a sentence, no signal. It is mapped before the
# prompt is read, and the prompt comes afterwards.
"$carat" run "$work/copy.gguf" -n 1 --quiet < "$work/fifo" > "$work/out" 2> "$work/err" &
child=$!
command='carat run, of a model that shrinks'
exec 7> "$work/fifo"
if maps copy.gguf; then
    truncate -s 4096 "$work/copy.gguf"
    printf 'hello' >&7
    exec 7>&-
    code=0
    wait "$child" || code=$?
    status 3
    says 'carat: a mapped file became shorter, or its disk failed, while it was read'
else
    exec 7>&-
fi

# where stdout and stderr are closed, no file takes their numbers: what is said would go into it
"$carat" run "$work/m.gguf" -n 1 < "$work/fifo" >&- 2>&- &
child=$!
command='carat run >&- 2>&-'
exec 7> "$work/fifo"
if maps m.gguf; then
    for fd in 1 2; do
        [ "$(readlink "/proc/$child/fd/$fd")" = /dev/null ] || complain "$fd is a file"
    done
fi
printf 'hello' >&7
exec 7>&-
code=0
wait "$child" || code=$?
[ "$i" = 9 ] || status 3

finish
