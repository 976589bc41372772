#!/usr/bin/env python3
"""check_kin.py CARAT DATA LIBRARY - Gemma 3, EmbeddingGemma and the drafters in the real llama.cpp

Files of these members load, and what llama.cpp computes from them is near what transformers
computed from the checkpoint: logits, sentence embeddings, guesses.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

from llama import Llama
from tensors import read_safetensors

# Largest distance to the golden figures, as a part of their root mean square. llama.cpp takes GELU
# from a table of halves, 2^-11 each, which a few layers amplify (0.0036 measured at most); with BF16
# weights it rounds activations to BF16 as well, 2^-8 (0.058 at most). A wrong key or norm is 0.2 off.
BOUNDS = {"F32": 8 * 2 ** -11, "BF16": 16 * 2 ** -8}

failures = []


def expect(holds, sentence):
    print(("ok    " if holds else "FAIL  ") + sentence)
    if not holds:
        failures.append(sentence)


def golden(member):
    return read_safetensors(os.path.join(DATA, "golden", member, "golden.safetensors"))


def load(llama, member, kind, work):
    path = os.path.join(work, f"{member}-{kind}.gguf")
    done = subprocess.run([CARAT, "convert", os.path.join(DATA, "golden", member), "-o", path,
                           "--type", kind, "--method", "plain", "--ple", "inline", "--quiet"],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    model = llama.load(path)
    expect(model, f"{member} {kind}: llama.cpp loads it" if model else "".join(llama.log[-3:]))
    return model


def distance(x, want):
    """Root mean square of the difference, as a part of that of what is wanted."""
    return np.sqrt(((x - want) ** 2).mean() / (want ** 2).mean())


def check_logits(llama, member, kind, work):
    g, model = golden(member), load(llama, member, kind, work)
    if not model:
        return
    far = max(distance(llama.logits(model, g[f"p{i}.input_ids"]), g[f"p{i}.logits"])
              for i in range(3))
    expect(far <= BOUNDS[kind], f"{member} {kind}: logits {far:.2g} from the golden ones")
    llama.free(model)


def check_embeddings(llama, member, kind, work):
    g, model = golden(member), load(llama, member, kind, work)
    if not model:
        return
    far = max(distance(llama.embedding(model, g[f"p{i}.input_ids"]), g[f"p{i}.dense3"])
              for i in range(3))
    expect(far <= BOUNDS[kind], f"{member} {kind}: embeddings {far:.2g} from the golden ones")
    llama.free(model)


def check_drafter(llama, member, kind, work):
    """Only the prompt that is shorter than the window: behind it transformers lets a drafter see
    W + 1 of the target's positions, llama.cpp W - 1 (it costs acceptance, not correctness)."""
    g = golden(member + "-assistant")
    target, drafter = load(llama, member, kind, work), load(llama, member + "-assistant", kind, work)
    if not target or not drafter:
        return
    tokens = [g["p2.first_token"].ravel()[0], *g["p2.drafted"].ravel()[:3]]
    rows = llama.draft(target, drafter, g["p2.input_ids"], tokens)
    want = [g.get(f"p2.d{d}.full_logits", g.get(f"p2.d{d}.logits")) for d in range(len(tokens))]
    far = max(map(distance, rows, want))
    expect(far <= BOUNDS[kind], f"{member}-assistant {kind}: guesses {far:.2g} from the golden ones")
    same = all(x.argmax() == y.argmax() for x, y in zip(rows, want))
    expect(same or kind != "F32", f"{member}-assistant {kind}: the same four guesses")
    llama.free(drafter)
    llama.free(target)


def main():
    llama = Llama(LIBRARY)
    with tempfile.TemporaryDirectory() as work:
        for kind in BOUNDS:
            for member in ("gemma3-text", "gemma3-4b", "shieldgemma2"):
                check_logits(llama, member, kind, work)
            check_embeddings(llama, "embeddinggemma", kind, work)
            for member in ("e2b", "12b", "31b"):
                check_drafter(llama, member, kind, work)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


CARAT, DATA, LIBRARY = sys.argv[1:4]
sys.exit(main())
