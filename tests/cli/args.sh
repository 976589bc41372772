#!/bin/sh
# args.sh CARAT DATA - verbs, options, help and exit statuses
. "$(dirname "$0")/expect.sh"

# no verb, no such verb
run
status 2
prints ''
says_part 'carat help VERB'
run help
status 0
silent
run --help
status 0
run inspct x
status 2
prints ''
says 'carat: no verb is called inspct (did you mean inspect?)'
run xyzzy
status 2
says 'carat: no verb is called xyzzy (carat help lists them)'
run help tokenise
status 2
says 'carat: no verb is called tokenise (did you mean tokenize?)'

# every verb in the table has help, with its options
run help
for verb in $(sed -n 's/^  \([a-z]*\) .*/\1/p' "$work/out"); do
    [ "$verb" = help ] && continue
    run help "$verb"
    status 0
    silent
    prints_part "carat $verb"
    prints_part '--threads N'
    cp "$work/out" "$work/help"
    run "$verb" --help
    status 0
    cmp -s "$work/out" "$work/help" || complain 'two helps differ'
done

# options: unknown, misspelt, without a value, out of range
run version --jsn
status 2
says 'carat: version: no option is called --jsn (did you mean --json?)'
run version --qqqqqqqq
status 2
says 'carat: version: no option is called --qqqqqqqq'
run version -Z
status 2
says 'carat: version: no option is called -Z'
run version --threads
status 2
says 'carat: version: --threads needs a value: N'
for bad in 0 -1 1025 x 1x '' 99999999999999999999; do
    run version --threads "$bad"
    status 2
    says "carat: version: --threads: $bad is not a whole number from 1 to 1024"
done
for bad in '5 ' '64  ' '5 B' ' 5' 5x 5KK -5 0x10 nan 1e99 ''; do
    run plan none --max-memory "$bad"
    status 2
    says "carat: plan: --max-memory: $bad is not a size (a number, then K, M, G or T)"
done
for good in 5 5k 5K 1.5M 2GiB 2gb 1T; do
    run plan none --max-memory "$good"
    says 'carat: none: there is no such file or folder'
done
for type in 'Q4_X Q4_0' 'q4_k Q4_K_S' 'q8_ Q8_0' 'Q4_KM Q4_K_M'; do
    run plan none --type "${type% *}"
    status 2
    says "carat: --type ${type% *}: no such type (did you mean ${type#* }?)"
done
run plan none --type nothing
status 2
says 'carat: --type nothing: no such type'
for bad in '' '--method search' '--method compensate --stats none'; do
    # shellcheck disable=SC2086 # several words
    run plan none --tokens 5 $bad
    status 2
    says 'carat: --tokens is of texts, and none is read (--text FILE gives one)'
done
run plan none --tokens 5 --method compensate
says 'carat: none: there is no such file or folder'
run version --json=yes
status 2
says 'carat: version: --json takes no value'
run version --color nevr
status 2
says 'carat: version: --color: nevr is none of auto|always|never (did you mean never?)'
run version extra
status 2
says 'carat: version: extra is one word too many: carat version'
run inspect
status 2
says 'carat: inspect: something is missing: carat inspect FILE'
run inspect "$(printf 'a\033[31m')"
status 2
says 'carat: a\x1b[31m: No such file or directory'

# every way to write an option; the last one counts
for words in '-t 3' '-t3' '--threads 3' '--threads=3' '-t 7 -t 3' '--color ALWAYS -t 3'; do
    # shellcheck disable=SC2086
    run version $words
    status 0
    silent
    prints_line 'computes with 3 threads'
done
run inspect -- -x
status 2
says 'carat: -x: No such file or directory'

# the environment
command='CARAT_CPU=avx3 carat version'
code=0
CARAT_CPU=avx3 "$carat" version > "$work/out" 2> "$work/err" || code=$?
status 2
says 'carat: CARAT_CPU: no level is called avx3 (scalar, avx2, avx512, neon)'
CARAT_CPU=scalar run version
status 0
prints_line 'runs the scalar path; found'

# a full disk is the machine's fault
if [ -e /dev/full ]; then
    command='carat version > /dev/full'
    code=0
    "$carat" version > /dev/full 2> "$work/err" || code=$?
    status 3
    says 'carat: stdout: No space left on device'
fi

finish
