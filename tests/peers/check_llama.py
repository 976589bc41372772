#!/usr/bin/env python3
"""check_llama.py CARAT DATA LIBRARY - our files in the real llama.cpp

For every Gemma 4 member: files of each type load, their logits are as far from the golden ones as
those of llama.cpp's own converter are, and a split pair computes what the single file does, to
the bit. Broken pairs are refused by both programs.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from llama import Llama
from tensors import read_safetensors

# Largest difference to the golden logits (nats before softmax) of llama.cpp 0.5.0 on the file its own
# converter writes, measured on one machine with float32 K and V; another CPU path of its may round
# differently, hence the factor below. Random weights amplify BF16 rounding.
MEMBERS = {
    "e2b": {"F32": 0.0404, "BF16": 0.8745},
    "e4b": {"F32": 0.0275, "BF16": 0.5909},
    "31b": {"F32": 0.0367, "BF16": 0.6008},
    "26b-a4b": {"F32": 0.0128, "BF16": 1.7126},
    "12b": {"F32": 0.0346, "BF16": 1.0240},
}
SLACK = 1.5
# Divergence between llama.cpp, which rounds activations to 8 bits, and our exact arithmetic on the
# same trained weights: 5e-5 nats measured; four times that is allowed.
ACTIVATION_NOISE = 2e-4

failures = []


def expect(holds, sentence):
    print(("ok    " if holds else "FAIL  ") + sentence)
    if not holds:
        failures.append(sentence)


def carat(*args):
    return subprocess.run([CARAT, *map(str, args)], capture_output=True, text=True, check=False)


def convert(source, out, kind, ple, *more):
    """Path to load: of the first shard when there are two."""
    done = carat("convert", source, "-o", out, "--type", kind, "--method", "plain", "--ple", ple,
                 "--json", "--force", "--quiet", *more)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)["files"][0]["path"]


def logits_of(llama, path, prompts):
    model = llama.load(path)
    if not model:
        return None
    rows = [llama.logits(model, ids) for ids in prompts]
    llama.free(model)
    return rows


def log_softmax(z):
    z = z.astype(np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def check_member(llama, member, work):
    folder = os.path.join(DATA, "golden", member)
    golden = read_safetensors(os.path.join(folder, "golden.safetensors"))
    prompts = [golden[f"p{i}.input_ids"] for i in range(3)]
    has_ple = "p0.ple" in golden
    for kind, bound in MEMBERS[member].items():
        single = convert(folder, os.path.join(work, f"{member}-{kind}.gguf"), kind, "inline")
        rows = logits_of(llama, single, prompts)
        expect(rows is not None, f"{member} {kind}: llama.cpp loads it")
        if rows is None:
            continue
        far = max(np.abs(z - golden[f"p{i}.logits"]).max() for i, z in enumerate(rows))
        expect(far <= SLACK * bound, f"{member} {kind}: {far:.4f} from the golden logits "
               f"(its own converter: {bound})")
        if has_ple:
            first = convert(folder, os.path.join(work, f"{member}-{kind}-pair.gguf"), kind, "split")
            pair = logits_of(llama, first, prompts)
            same = pair is not None and all(map(np.array_equal, rows, pair))
            expect(same, f"{member} {kind}: the pair computes what the single file does")


def our_logits(path, ids, work):
    listing, out = os.path.join(work, "ids"), os.path.join(work, "logits.safetensors")
    with open(listing, "w", encoding="ascii") as f:
        f.write(" ".join(map(str, ids)))
    done = carat("logits", path, "--ids", listing, "-o", out, "--quiet", "--force")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return read_safetensors(out)["logits"]


def check_trained(llama, work):
    folder = os.path.join(DATA, "models", "tiny-e2b")
    golden = read_safetensors(os.path.join(folder, "golden.safetensors"))
    ids = golden["p0.input_ids"]
    sizes = os.path.join(work, "tiny.sens")
    done = carat("sensitivity", folder, "-o", sizes, "--ctx", "64", "--chunks", "1", "--quiet")
    if done.returncode:
        raise RuntimeError(done.stderr)
    for kind, more in (
            ("Q8_0", ()), ("Q4_0", ()), ("Q4_K_M", ()),
            ("Q4_0", ("--target-size", "4400000", "--sensitivity", sizes)),
            ("Q4_0", ("--method", "compensate", "--tokens", "2048", "--equalize", "on"))):
        path = convert(folder, os.path.join(work, "tiny.gguf"), kind, "split", *more)
        rows = logits_of(llama, path, [ids])
        which = " ".join(["tiny-e2b", kind, *more[:2]])
        expect(rows is not None, f"{which}: llama.cpp loads the pair")
        if rows is None:
            continue
        p, q = log_softmax(our_logits(path, ids, work)), log_softmax(rows[0])
        kld = (np.exp(p) * (p - q)).sum(axis=1).mean()
        expect(kld <= ACTIVATION_NOISE, f"{which}: llama.cpp is {kld:.2g} nats from our "
               "run of the same file")


def check_pairs(llama, work):
    first = convert(os.path.join(DATA, "golden", "e2b"), os.path.join(work, "e2b-pair.gguf"), "F32",
                    "split")
    other = convert(os.path.join(DATA, "golden", "e4b"), os.path.join(work, "e4b-pair.gguf"), "F32",
                    "split")
    second = first.replace("00001-of", "00002-of")
    kept = second + ".kept"
    shutil.move(second, kept)
    for why, source in (("no second shard", None), ("the first shard twice", first),
                        ("a table of another model", other.replace("00001-of", "00002-of"))):
        if source:
            shutil.copy(source, second)
        expect(llama.load(first) is None, f"{why}: llama.cpp refuses the pair")
        done = carat("inspect" if not source else "perplexity", first,
                     *([] if not source else ["--text", __file__]))
        expect(done.returncode == 2 and done.stderr.count("\n") == 1,
               f"{why}: carat refuses it in one sentence: {done.stderr.strip()}")
    shutil.move(kept, second)
    expect(llama.load(first) is not None, "the right pair loads again")


def main():
    llama = Llama(LIBRARY)
    with tempfile.TemporaryDirectory() as work:
        for member in MEMBERS:
            check_member(llama, member, work)
        check_trained(llama, work)
        check_pairs(llama, work)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


CARAT, DATA, LIBRARY = sys.argv[1:4]
sys.exit(main())
