#!/bin/sh
# run.sh CARAT DATA SCRIPT - run one check against the peers that CARAT_PEERS points to
#
# Exit 77 (skipped) when CARAT_PEERS is not set: `./dev test` installs them and sets it.
[ -n "$CARAT_PEERS" ] || { echo 'CARAT_PEERS is not set'; exit 77; }
here=$(dirname "$0")
exec "$CARAT_PEERS/venv/bin/python" "$here/$3" "$1" "$2" "$CARAT_PEERS/llama/"
