#!/usr/bin/env python3
"""compare_llama.py - the same file in carat and in llama.cpp, on this machine, turn about

    compare_llama.py CARAT MODEL.gguf LLAMA_FOLDER [--prompt N] [--tokens N] [--rounds N] [--threads N]

LLAMA_FOLDER holds libllama.v0.5.0.so (npm @node-llama-cpp/linux-x64). llama.cpp runs with its own
defaults (half-precision K and V, weights repacked for its kernels); the ids are random, the
prompt asks for one row of logits. Each round runs both, so that both see the same neighbours;
the best round of each counts. Prints TSV.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "peers"))
from llama import Llama  # noqa: E402


def decode(llama, ctx, batch, ids, first):
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i] = token
        batch.pos[i] = first + i
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = i == len(ids) - 1
    start = time.perf_counter()
    if llama.lib.llama_decode(ctx, batch):
        raise RuntimeError("llama_decode failed: " + "".join(llama.log[-5:]))
    llama.lib.llama_get_logits_ith(ctx, len(ids) - 1)
    return time.perf_counter() - start


def llama_round(llama, model, ids, args):
    """Tokens a second of prefill and of decoding, from an empty context."""
    params = llama.lib.llama_context_default_params()
    params.n_ctx = len(ids) + 8
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = args.threads
    ctx = llama.lib.llama_init_from_model(model, params)
    if not ctx:
        raise RuntimeError("".join(llama.log[-5:]))
    batch = llama.lib.llama_batch_init(512, 0, 1)
    prefill = sum(decode(llama, ctx, batch, ids[i:min(i + 512, args.prompt)], i)
                  for i in range(0, args.prompt, 512))
    steps = [decode(llama, ctx, batch, [ids[i]], i) for i in range(args.prompt, len(ids))]
    llama.lib.llama_batch_free(batch)
    llama.lib.llama_free(ctx)
    return args.prompt / prefill, len(steps) / sum(steps)


def carat_round(args):
    text = subprocess.run(
        [args.carat, "bench", args.model, "--json", "--quiet", "--runs", "1",
         "--prompt", str(args.prompt), "-n", str(args.tokens), "-t", str(args.threads)],
        check=True, capture_output=True, text=True).stdout
    report = json.loads(text)
    return report["prefill"]["tokens_per_second"], report["decode"]["tokens_per_second"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("carat")
    parser.add_argument("model")
    parser.add_argument("llama")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    llama = Llama(args.llama)
    model = llama.load(args.model)
    if not model:
        raise SystemExit("".join(llama.log[-5:]))
    n_vocab = llama.lib.llama_vocab_n_tokens(llama.lib.llama_model_get_vocab(model))
    draw = random.Random(1)
    ids = [draw.randrange(n_vocab) for _ in range(args.prompt + args.tokens)]
    best = {"carat": (0, 0), "llama.cpp": (0, 0)}
    for _ in range(args.rounds):
        for name, round_ in (("carat", carat_round(args)),
                             ("llama.cpp", llama_round(llama, model, ids, args))):
            best[name] = tuple(max(a, b) for a, b in zip(best[name], round_))

    print("program\tthreads\tprefill tok/s\tdecode tok/s")
    for name, (prefill, step) in best.items():
        print(f"{name}\t{args.threads}\t{prefill:.1f}\t{step:.2f}")


if __name__ == "__main__":
    main()
