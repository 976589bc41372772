#!/bin/sh
# layering.sh ROOT - print whatever breaks the plan of the house
#
#   1. A room may include only the rooms named beside it below.
#   2. From outside a folder, only its front door: x/y/y.h for folder x/y, and base/.
#   3. No two source files share a name.
#   4. Threads for computation are made in base/parallel.c; printf, exit and argv live in cli/.
#
# Tests are exempt from 1 and 2: they may look through any window.
cd "$1" || exit 2
rooms='base formats runtime quantize verify convert cli'
status=0

twins=$(find $rooms tests bench -name '*.[ch]' | sed 's|.*/||' | sort | uniq -d)
for name in $twins; do
    echo "more than one file is called $name"
    status=1
done

grep -rn --include='*.[ch]' '^ *# *pragma omp parallel' $rooms | grep -v '^base/parallel\.c:' |
    sed 's/$/  (only base\/parallel.c makes threads)/' | grep . && status=1
grep -rnE --include='*.[ch]' '(^|[^a-z_])(printf|puts|putchar|exit|abort)\(' $rooms |
    grep -vE '^cli/|:[0-9]+: *(\*|/\*)|__attribute__' |
    sed 's/$/  (only cli prints and exits)/' | grep . && status=1

grep -rn --include='*.[ch]' '^#include "' $rooms | awk -F '[:"]' '
BEGIN {
    may["base"]     = "base"
    may["formats"]  = "base formats"
    may["runtime"]  = "base formats runtime"
    may["quantize"] = "base formats quantize"
    may["verify"]   = "base formats runtime quantize verify"
    may["convert"]  = "base formats runtime quantize convert"
    may["cli"]      = "base formats runtime quantize verify convert cli"
}
{
    n = split($4, inc, "/"); split($1, src, "/")
    from = $1; sub("/[^/]*$", "", from)
    to   = $4; sub("/[^/]*$", "", to)
    room = src[1]
    if (index(" " may[room] " ", " " inc[1] " ") == 0)
        bad[++n_bad] = $1 ":" $2 ": " room " may not know " $4
    else if (from != to && inc[n] != inc[n - 1] ".h" && inc[1] != "base")
        bad[++n_bad] = $1 ":" $2 ": " $4 " is private to " to
}
END { for (i = 1; i <= n_bad; i++) print bad[i]; exit n_bad > 0 }' || status=1
exit $status
