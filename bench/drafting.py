#!/usr/bin/env python3
"""drafting.py - one text with and without drafters, on this machine, turn about

    drafting.py CARAT TARGET DRAFTER... [--prompt TEXT] [--tokens N] [--rounds N] [--threads N]

Every round runs the target alone and then with each drafter, so that all see the same neighbours; the
best round of each counts. Fails when the tokens are not the same. Prints TSV: tokens a second after
the prompt, how much faster that is than the target alone, and how many of the guesses came true in how
many passes of the target.
"""
import argparse
import json
import subprocess


def run(args, drafter):
    command = [args.carat, "run", args.target, "-p", args.prompt, "-n", str(args.tokens),
               "-t", str(args.threads), "--json", "--quiet"]
    command += ["--draft", drafter] if drafter else []
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("carat")
    parser.add_argument("target")
    parser.add_argument("drafters", nargs="+")
    parser.add_argument("--prompt", default="The capital of France is")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    drafters = [None, *args.drafters]
    best = dict.fromkeys(drafters, 0.0)
    last = {}
    for _ in range(args.rounds):
        for d in drafters:
            last[d] = run(args, d)
            if last[d]["tokens"] != last[None]["tokens"]:
                raise SystemExit(f"{d}: other tokens than without")
            best[d] = max(best[d], last[d]["tokens_per_second"])

    print("drafter\ttok/s\tspeed-up\tguessed\taccepted\tpasses")
    for d in drafters:
        # the first token comes of the prompt, each other one of a pass or of a guess
        n_passes = len(last[d]["tokens"]) - 1 - last[d]["accepted"]
        print(f"{d or 'none'}\t{best[d]:.1f}\t{best[d] / best[None]:.2f}"
              f"\t{last[d]['guessed']}\t{last[d]['accepted']}\t{n_passes}")


if __name__ == "__main__":
    main()
