#!/usr/bin/env python3
"""check_compare.py CARAT DATA LIBRARY - the figures of `carat compare`, computed again in NumPy

The trained model and its quantizations, each run by the independent float64 forward pass of
gemma4_numpy.py on the weights gguf-py decodes; divergence over the whole vocabulary.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from gemma4_numpy import Model, forward

CTX, CHUNKS = 512, 2
failures = []


def expect(holds, sentence):
    print(("ok    " if holds else "FAIL  ") + sentence)
    if not holds:
        failures.append(sentence)


def carat(*args):
    done = subprocess.run([CARAT, *map(str, args), "--quiet"], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def tokens_of(path):
    """The tokens of a reference file, by docs/reference-file.md."""
    with open(path, "rb") as f:
        data = f.read()
    chunks, tokens = int.from_bytes(data[20:24], "little"), int.from_bytes(data[32:40], "little")
    return np.frombuffer(data, "<i4", tokens, 240 + 4 * chunks)


def rows_of(paths, ids):
    """Log-probabilities of the scored rows of each chunk, and the scored tokens."""
    model, rows, targets = Model(paths), [], []
    for c in range(CHUNKS):
        chunk = ids[c * CTX:(c + 1) * CTX]
        rows.append(log_softmax(forward(model, chunk)[CTX // 2:CTX - 1]))
        targets.append(chunk[CTX // 2 + 1:])
    return np.concatenate(rows), np.concatenate(targets)


def main():
    folder = os.path.join(DATA, "models", "tiny-e2b")
    with tempfile.TemporaryDirectory() as work:
        at = lambda name: os.path.join(work, name)
        with open(os.path.join(DATA, "text", "wiki-heldout.txt"), encoding="utf-8") as f:
            text = f.read(CTX * CHUNKS * 4)
        with open(at("text"), "w", encoding="utf-8") as f:
            f.write(text)
        files = {}
        for kind in ("F32", "Q8_0", "Q4_0", "Q4_K_M"):
            out = json.loads(carat("convert", folder, "-o", at(kind + ".gguf"), "--type", kind,
                                   "--method", "plain", "--json"))
            files[kind] = [item["path"] for item in out["files"]]
        for name, entries in (("compact", 252), ("whole", 4096)):
            carat("reference", folder, "--text", at("text"), "--chunks", CHUNKS, "-o", at(name),
                  "--entries", entries)
        ids = tokens_of(at("compact"))

        base, targets = rows_of(files["F32"], ids)
        each = np.arange(len(targets))
        for kind in ("Q8_0", "Q4_0", "Q4_K_M"):
            rows, _ = rows_of(files[kind], ids)
            want = {
                "kld": (np.exp(base) * (base - rows)).sum(1).mean(),
                "same": (base.argmax(1) == rows.argmax(1)).mean(),
                "ppl": np.exp(-rows[each, targets].mean()),
            }
            compare = lambda name: json.loads(carat("compare", files[kind][0], "--reference",
                                                    at(name), "--noise-chunks", 0, "--json"))
            whole, compact = compare("whole"), compare("compact")
            # float32 logits are off by 1e-5 or so; that moves a divergence by less than itself
            # times that plus 1e-9, and a perplexity by a few parts in a million.
            got = whole["kld"]["mean"]
            expect(abs(got - want["kld"]) <= 1e-4 * want["kld"] + 1e-9,
                   f"{kind}: divergence {got:.8g}, in NumPy {want['kld']:.8g}")
            got = compact["kld"]["mean"]
            expect(abs(got - want["kld"]) <= 0.01 * want["kld"],
                   f"{kind}: compact {got:.8g}, within 1 %")
            expect(abs(got - want["kld"]) <= compact["kld"]["error999"] + 1e-9,
                   f"{kind}: compact within its bound of {compact['kld']['error999']:.2g}")
            expect(compact["kld"]["at_least"] <= want["kld"], f"{kind}: not below what is certain")
            expect(whole["same_top"]["share"] == want["same"],
                   f"{kind}: same-top {whole['same_top']['share']:.6f}")
            expect(abs(whole["ppl"]["model"] / want["ppl"] - 1) <= 1e-5,
                   f"{kind}: perplexity {whole['ppl']['model']:.6f}, in NumPy {want['ppl']:.6f}")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


CARAT, DATA, LIBRARY = sys.argv[1:4]
sys.exit(main())
