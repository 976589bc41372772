#!/usr/bin/env python3
"""check_kin_layouts.py CARAT DATA LIBRARY [SEED [COUNT]] - the golden members, quantized and adapted

Matrices of each golden member are replaced by codes of one of the ways of random_numbers.py, and
perhaps an adapter is put on top. What carat makes of that is what it makes of the same member with
the decoded and merged matrices in plain F32, which check_llama.py and check_kin.py hold to llama.cpp.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "variants"))
from gguf_file import Gguf
from random_adapters import Adapter
from random_numbers import WAYS
from tensors import read_safetensors
from weight_files import write_safetensors

MEMBERS = ["gemma3-text", "gemma3-4b", "shieldgemma2", "embeddinggemma", "embedding-gemma2", "diffusion-gemma",
           "e2b", "e4b", "12b", "26b-a4b", "31b"]
HEADLESS = ["embeddinggemma", "embedding-gemma2", "diffusion-gemma"]


def canonical(name):
    while name.startswith(("model.", "language_model.", "encoder.", "decoder.")):
        name = name.split(".", 1)[1]
    return name


class Kin:
    def __init__(self, seed, member):
        self.rng = rng = np.random.default_rng([seed, MEMBERS.index(member)])
        self.folder = os.path.join(DATA, "golden", member)
        with open(os.path.join(self.folder, "config.json"), encoding="utf-8") as f:
            self.plain_config = json.load(f)
        self.tensors = read_safetensors(os.path.join(self.folder, "model.safetensors"))
        self.truth = {n: x.astype("f4") for n, x in self.tensors.items()}
        self.way = str(rng.choice(list(WAYS)))
        store, settings = WAYS[self.way]
        said, own = settings(rng)
        self.config = dict(self.plain_config, **{
            "quantization" if self.way == "mlx" else "quantization_config": said})
        self.stored = {}
        for name, x in self.truth.items():
            made = self.quantizes(name, x) and store(rng, name.removesuffix(".weight"), x.shape, own)
            self.stored.update(made[0] if made else {name: ("F32", x)})
            if made:
                self.truth[name] = made[1]

    def quantizes(self, name, x):
        inside = canonical(name)
        return x.ndim == 2 and "proj" in name and inside.startswith("layers.") and \
            "router" not in name and self.rng.integers(4)

    def adapt(self, folder, has_head):
        """An adapter on the linears, tables and experts; its options."""
        names = {canonical(n): n for n in self.truth if "tower" not in n and "vision" not in n
                 and "audio" not in n and "scalar" not in n}
        truth = {c: self.truth[n] for c, n in names.items()}
        ad = Adapter(self.rng, truth, has_head=has_head)
        option = ad.write(folder)
        for c, x in ad.changed.items():
            self.truth[names.get(c, c)] = x.astype("f4")
        self.words = " ".join(ad.words)
        return ["--lora", option]

    def write(self, folder, config, tensors):
        os.makedirs(folder)
        for root, _, files in os.walk(self.folder):
            to = os.path.join(folder, os.path.relpath(root, self.folder))
            os.makedirs(to, exist_ok=True)
            for file in files:
                if root != self.folder or not file.endswith((".safetensors", "config.json")) or \
                        file.startswith(("tokenizer", "generation")):
                    os.symlink(os.path.realpath(os.path.join(root, file)), os.path.join(to, file))
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        write_safetensors(os.path.join(folder, "model.safetensors"), tensors, {"format": "pt"})


def convert(source, out, *options):
    done = subprocess.run([CARAT, "convert", source, "-o", out, "--type", "F32", "--ple", "inline", "-t", "1",
                           "--force", "--quiet", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        return None, done.stderr.strip()[-300:]
    return {n: np.frombuffer(raw, "<f4") for n, (_, _, raw) in Gguf(out).tensors.items()}, None


def differs(kin, work, has_head):
    options = kin.adapt(os.path.join(work, "adapter"), has_head) if kin.rng.integers(2) else []
    kin.write(os.path.join(work, "quantized"), kin.config, kin.stored)
    kin.write(os.path.join(work, "plain"), dict(kin.plain_config, tie_word_embeddings="lm_head.weight" not in kin.truth),
              {n: ("F32", x) for n, x in kin.truth.items()})
    got, refusal = convert(os.path.join(work, "quantized"), os.path.join(work, "q.gguf"), *options)
    want, other = convert(os.path.join(work, "plain"), os.path.join(work, "p.gguf"))
    if refusal or other:
        return refusal or "plain: " + other
    if set(got) != set(want):
        return f"other tensors: {set(got) ^ set(want)}"
    for name, x in want.items():
        far = np.abs(got[name].astype("f8") - x).max() / max(np.abs(x).max(), 1e-30)
        if not far <= 2e-6:
            return f"{name} is {far:.2g} off"
    return None


def main(seed, count):
    bad = 0
    for i in range(seed, seed + count):
        for member in MEMBERS:
            kin = Kin(i, member)
            kin.words = ""
            with tempfile.TemporaryDirectory() as work:
                wrong = differs(kin, work, member not in HEADLESS)
            if wrong:
                bad += 1
                print(f"FAIL  {i}, {member}: {kin.way} {kin.words}\n      {wrong}", flush=True)
    print(f"{count} layouts of each of {len(MEMBERS)} members from {seed} on, {bad} not as expected")
    return 1 if bad else 0


CARAT, DATA, LIBRARY = sys.argv[1:4]
if __name__ == "__main__":
    sys.exit(main(*(int(x) for x in (sys.argv[4:] + ["1", "3"][len(sys.argv) - 4:]))))
