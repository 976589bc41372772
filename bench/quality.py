#!/usr/bin/env python3
"""quality.py - what carat and llama-quantize lose, model by model, at the same bytes

    quality.py measure --carat build/cli/carat --llama BIN --texts FOLDER --work FOLDER
                       [--models FOLDER] [--large NAME=FILE.gguf] [--calibrate FILE] [--only REGEX]
                       [--again REGEX] [--judges carat,llama]
    quality.py report  [--plot]

`measure` appends to bench/quality/results.tsv what is not there yet, one file at a time: stopped, it
continues; --again measures anew. `report` makes docs/quality.md and docs/quality.svg of it.

Two judges, kept apart: `carat compare` (weights decoded exactly, float32) against a reference of the
float model, and llama-perplexity --kl-divergence (llama.cpp's kernels, which round activations to 8
bits) against its own. Both programs are calibrated on the same chunks of the same text. Needs
Python with numpy, gguf and matplotlib; BIN is the folder of llama.cpp's programs.
"""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "quality"))
import matrix  # noqa: E402
import report  # noqa: E402
from results import Results  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    m = verbs.add_parser("measure")
    m.add_argument("--carat", type=pathlib.Path, required=True)
    m.add_argument("--llama", type=pathlib.Path, required=True)
    m.add_argument("--texts", type=pathlib.Path, required=True, help="laid out as texts.py says")
    m.add_argument("--work", type=pathlib.Path, required=True, help="references and statistics")
    m.add_argument("--models", type=pathlib.Path, default=ROOT / "data/models")
    m.add_argument("--large", action="append", default=[], help="a float GGUF of a real model")
    m.add_argument("--calibrate", type=pathlib.Path,
                   help="calibration text of both programs (data/calibration, interleaved); no part "
                   "of it may be judged")
    m.add_argument("--chunks", type=int, default=24, help="judged of each text (tiny models)")
    m.add_argument("--calibrate-chunks", type=int, default=64)
    m.add_argument("--only", default="", help="rows MODEL/TYPE/METHOD that match")
    m.add_argument("--again", help="measure these anew")
    m.add_argument("--judges", default="carat,llama")
    m.add_argument("--threads", type=int, default=2)
    m.add_argument("--label", help="what to call this carat (git describe)")
    r = verbs.add_parser("report")
    r.add_argument("--plot", action="store_true")
    args = parser.parse_args()

    results = Results(ROOT / "bench/quality/results.tsv")
    if args.verb == "measure":
        matrix.measure(args, results)
    else:
        report.write(results, ROOT / "docs", args.plot)


if __name__ == "__main__":
    main()
