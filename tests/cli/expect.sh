# expect.sh - check a command's exit status, its stdout and its stderr, as text
#
#   . "$(dirname "$0")/expect.sh" CARAT DATA
#
#   run ARG...          carat with these arguments; stdin is what `feed` left, or empty
#   status N            it ended with N
#   prints TEXT         stdout is exactly TEXT (and a newline)
#   prints_line TEXT    stdout has this line
#   says TEXT           stderr is exactly TEXT
#   silent              stderr is empty
#
# Every failed expectation is shown; the script ends with `finish`.

carat=$1
data=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n_failed=0
command=
: > "$work/in"

run() {
    command="carat $*"
    code=0
    "$carat" "$@" < "$work/in" > "$work/out" 2> "$work/err" || code=$?
    : > "$work/in"
}

feed() { printf '%s' "$1" > "$work/in"; }

complain() {
    n_failed=$((n_failed + 1))
    printf '%s\n  %s\n' "$command" "$1"
    sed 's/^/  stdout: /' "$work/out" | head -20
    sed 's/^/  stderr: /' "$work/err" | head -20
}

status() { [ "$code" = "$1" ] || complain "ended with $code, not $1"; }
prints() { [ "$(cat "$work/out")" = "$1" ] || complain "stdout is not: $1"; }
prints_line() { grep -qFx -- "$1" "$work/out" || complain "stdout has no line: $1"; }
prints_part() { grep -qF -- "$1" "$work/out" || complain "stdout does not have: $1"; }
says() { [ "$(cat "$work/err")" = "$1" ] || complain "stderr is not: $1"; }
says_part() { grep -qF -- "$1" "$work/err" || complain "stderr does not have: $1"; }
silent() { [ ! -s "$work/err" ] || complain 'stderr is not empty'; }

finish() {
    [ "$n_failed" = 0 ] || { echo "$n_failed expectations failed"; exit 1; }
}
