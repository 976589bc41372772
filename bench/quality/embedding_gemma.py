#!/usr/bin/env python3
"""embedding_gemma.py - carat's embeddings of the real EmbeddingGemma 300M against NumPy's

    embedding_gemma.py CARAT CHECKPOINT TEXTS WORK [--llama BIN] [--calibrate FILE]

CHECKPOINT is the original folder (config.json, model.safetensors, tokenizer.json, 2_Dense,
3_Dense); TEXTS holds multilingual/udhr-LANG.txt. 500 passages, 25 each of 20 languages, with
the model's own prompt for similarity. For each file the distance 1 - cosine to what NumPy computes
in float32 from the checkpoint (encoder_numpy.py). Prints a table in Markdown; the weights are not
redistributed and nothing here runs in continuous integration.
"""
import argparse
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from encoder_numpy import Encoder  # noqa: E402
from programs import Carat, Llama  # noqa: E402

PROMPT = "task: sentence similarity | query: "
LANGUAGES = ["ar", "bn", "de-1996", "el-monoton", "en", "es", "fa", "fi", "fr", "he", "hi", "id",
             "ja", "ko", "nl", "pl", "pt-BR", "ru", "tr", "zh"]


def sentences(folder, each):
    """The first 80 characters, to a whole word, of EACH paragraphs of each language."""
    chosen = []
    for language in LANGUAGES:
        lines = (folder / f"multilingual/udhr-{language}.txt").read_text().splitlines()
        lines = [line.strip()[:80] for line in lines if len(line.strip()) >= 40]
        chosen += [line.rsplit(" ", 1)[0] if len(line) == 80 else line for line in lines[:each]]
    return chosen


class Measure:
    def __init__(self, args):
        self.carat = Carat(args.carat, args.threads)
        self.work, self.checkpoint = args.work, args.checkpoint
        self.lines = args.work / "sentences.txt"
        chosen = sentences(args.texts, args.each)
        self.lines.write_text("\n".join(chosen) + "\n")
        kept = args.work / "numpy.npy"
        if not kept.exists():
            np.save(kept, Encoder(args.checkpoint).embed([PROMPT + s for s in chosen]))
        self.truth = np.load(kept).astype(np.float64)

    def convert(self, name, *options):
        path = self.work / f"eg-{name}.gguf"
        seconds = self.carat("convert", self.checkpoint, "-o", path, "-f", *options)[1]
        return path, seconds

    def row(self, name, path, seconds):
        rows = self.work / "rows.safetensors"
        # Rounded activations are far below what four bits cost, and several times faster.
        arithmetic = "fast" if name.startswith("Q4_0") else "f32"
        self.carat("embed", path, "--text", self.lines, "--prefix", PROMPT, "-o", rows, "-f",
                   "--arithmetic", arithmetic)
        got = load_file(rows)["embeddings"].astype(np.float64)
        cosine = (got * self.truth).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(
            self.truth, axis=1)
        print(f"| {name} | {path.stat().st_size:,} | {np.mean(1 - cosine):.3g} | "
              f"{np.max(1 - cosine):.3g} | {seconds:.0f} |", flush=True)
        return float(np.mean(1 - cosine))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("carat")
    for name in ("checkpoint", "texts", "work"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--llama", help="folder of llama.cpp's programs: adds its own Q4_0")
    parser.add_argument("--calibrate", default="default", help="text for the second moments")
    parser.add_argument("--tokens", default="64K", help="of it")
    parser.add_argument("--each", type=int, default=25, help="passages of each language")
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)

    m = Measure(args)
    print("| file | bytes | mean 1 - cosine | worst | CPU s |\n| --- | --- | --- | --- | --- |")

    def wanted(name):
        return args.only in name

    if wanted("F32"):
        m.row("F32", *m.convert("f32", "--type", "F32"))
    if wanted("Q8_0"):
        m.row("Q8_0 `plain`", *m.convert("q8", "--type", "Q8_0"))
    if args.llama and wanted("llama"):
        path, _ = m.convert("bf16", "--type", "F32")
        target = args.work / "eg-llama-q4.gguf"
        m.row("Q4_0 llama-quantize", target, Llama(args.llama, args.threads).quantize(
            path, target, "Q4_0"))
    if wanted("plain"):
        m.row("Q4_0 `plain`", *m.convert("q4", "--type", "Q4_0"))
    if wanted("search"):
        m.row("Q4_0 `search`", *m.convert("q4s", "--type", "Q4_0", "--method", "search"))
    if not wanted("moments"):
        return
    imatrix, moments = args.work / "eg.imatrix.gguf", args.work / "eg.moments"
    if not moments.exists():
        source = args.work / "eg-f32.gguf"
        m.carat("calibrate", source, "--text", args.calibrate, "-o", imatrix, "--hessian",
                moments, "--tokens", args.tokens, "-f")
    m.row("Q4_0 `search`, importance (moments)",
          *m.convert("q4i", "--type", "Q4_0", "--method", "search", "--imatrix", imatrix,
                     "--equalize", "off"))
    m.row("Q4_0 `compensate` (moments)",
          *m.convert("q4c", "--type", "Q4_0", "--method", "compensate", "--stats", moments,
                     "--equalize", "off"))
    m.row("Q4_0 `compensate`, equalized (moments)",
          *m.convert("q4ce", "--type", "Q4_0", "--method", "compensate", "--stats", moments))


if __name__ == "__main__":
    main()
