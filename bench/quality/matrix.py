"""matrix.py - models, types and methods, and how a file of each is made and judged"""
import hashlib
import os
import pathlib
import re
import subprocess

import texts
from programs import Carat, Llama

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TINY = ["tiny-e2b", "tiny-e2b-outlier", "tiny-26b-a4b", "tiny-e2b-qat"]
LARGE_CHUNKS = {"wiki": 8, "code": 4, "multilingual": 4}
TYPES = ["Q4_0", "Q4_K_M", "Q8_0"]


# What both programs make larger when they have an importance matrix, held at the type without.
SAME_TYPES = {"Q4_0": ("ffn_down", "Q4_0")}

# carat's options by method; {imatrix} and {moments} are made when first asked for.
METHODS = {
    "stock": None,
    "stock+imatrix": None,
    "search": ["--method", "search", "--equalize", "off"],
    "search+imatrix": ["--method", "search", "--imatrix", "{imatrix}", "--equalize", "off"],
    "compensate": ["--method", "compensate", "--stats", "{moments}", "--equalize", "off"],
    "search+equalize": ["--method", "search", "--equalize", "auto"],
    "search+imatrix+equalize": ["--method", "search", "--imatrix", "{imatrix}", "--stats",
                                "{moments}", "--equalize", "auto"],
    "compensate+equalize": ["--method", "compensate", "--stats", "{moments}", "--equalize", "auto"],
    "text": ["--method", "compensate", "--text", "{text}", "--equalize", "off"],
    "text+equalize": ["--method", "compensate", "--text", "{text}", "--equalize", "auto"],
}


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Model:
    """A float model, and what is made of it once: GGUFs, texts, references, statistics."""

    def __init__(self, name, source, args, carat, llama):
        self.name, self.source, self.carat, self.llama = name, source, carat, llama
        self.work, self.args = args.work / name, args
        self.is_large = name not in TINY
        made = texts.public(args.texts) if self.is_large else texts.heldout(args.texts)
        self.texts = texts.write_all(made, self.work / "texts")

    def chunks(self, text):
        return LARGE_CHUNKS[text] if self.is_large else self.args.chunks

    def made(self, name, make):
        """The file of this name, made when it is not there; an interrupted one does not count."""
        path, part = self.work / name, self.work / f"part{os.getpid()}-{name}"
        if not path.exists():
            make(part)
            part.rename(path)
        return path

    def gguf(self, kind):
        if kind == "BF16" and self.is_large:
            return self.source
        return self.made(f"{kind}.gguf", lambda path: self.carat(
            "convert", self.source, "-o", path, "--type", kind, "--ple", "inline", "-f"))

    def reference(self, judge, text):
        source = self.source if judge is self.carat else self.gguf("F32")
        suffix = "ref" if judge is self.carat else "base"
        return self.made(f"{text}.{suffix}", lambda path: judge.reference(
            source, self.texts[text], self.chunks(text), path))

    def imatrix(self):
        return self.made("llama.imatrix", lambda path: self.llama.imatrix(
            self.gguf("BF16"), self.args.calibrate, self.args.calibrate_chunks, path))

    def statistics(self):
        """carat's own: the importance matrix and the second moments of the same chunks."""
        moments, imatrix = self.work / "carat.moments", self.work / "carat.imatrix"
        if not moments.exists():
            part = self.work / f"part{os.getpid()}.moments"
            self.carat("calibrate", self.source, "--text", self.args.calibrate, "-o", imatrix,
                       "--hessian", part, "--tokens", 512 * self.args.calibrate_chunks, "-f")
            part.rename(moments)
        return {"imatrix": imatrix, "moments": moments}

    def quantized(self, kind, method):
        """A file of this type and the processor seconds that rounding took."""
        target = self.work / f"{kind}-{method}.gguf"
        if method.startswith("stock"):
            imatrix = self.imatrix() if method == "stock+imatrix" else None
            same = SAME_TYPES.get(kind) if imatrix else None
            return target, self.llama.quantize(self.gguf("BF16"), target, kind, imatrix, same)
        options = METHODS[method]
        known = {"text": self.args.calibrate}
        if any("{imatrix}" in o or "{moments}" in o for o in options):
            known.update(self.statistics())
        if "{imatrix}" in options and kind in SAME_TYPES:
            recipe = self.work / f"{kind}.recipe"
            recipe.write_text("blk.*.%s*.weight = %s\n" % SAME_TYPES[kind])
            options = options + ["--recipe", recipe]
        options = [str(o).format(**known) for o in options]
        return target, self.carat("convert", self.source, "-o", target, "--type", kind, "--ple",
                                  "inline", "-f", *options)[1]


def version_of(method, args):
    if method.startswith("stock"):
        return "llama.cpp 0.5.0"
    if args.label:
        return "carat " + args.label
    done = subprocess.run(["git", "-C", str(pathlib.Path(__file__).parent), "describe", "--always",
                           "--dirty"], capture_output=True, text=True)
    return "carat " + done.stdout.strip()


def possible(model, kind, method, carat):
    if kind == "Q8_0" and method not in ("stock", "search", "compensate+equalize"):
        return False
    options = METHODS[method] or []
    return all(carat.has("convert", o) for o in ("--equalize", "--text") if o in options)


def measure_file(model, kind, method, results, judges, args):
    todo = [(text, name, judge) for text in model.texts for name, judge in judges.items()
            if not results.has(model.name, kind, method, text, name)]
    if not todo:
        return
    path, seconds = model.quantized(kind, method)
    common = {"model": model.name, "type": kind, "method": method, "bytes": path.stat().st_size,
              "seconds": seconds, "sha256": sha256(path), "version": version_of(method, args)}
    for text, name, judge in todo:
        figures = judge.compare(path, model.reference(judge, text))
        results.put({**common, "text": text, "judge": name, "chunks": model.chunks(text), **figures})
        print(f"{model.name}\t{kind}\t{method}\t{text}\t{name}\t{figures['kld']:.5f}\t"
              f"[{figures['low']:.5f}, {figures['high']:.5f}]\t{figures['top']:.2f}\t"
              f"{common['bytes']}\t{seconds:.1f} s", flush=True)
    path.unlink()


def measure(args, results):
    args.work.mkdir(parents=True, exist_ok=True)
    if not args.calibrate:
        args.calibrate = args.work / "calibration.txt"
        args.calibrate.write_text(texts.calibration(ROOT / "data/calibration"))
    carat, llama = Carat(args.carat, args.threads), Llama(args.llama, args.threads)
    judges = {n: j for n, j in (("carat", carat), ("llama", llama)) if n in args.judges.split(",")}
    sources = {name: args.models / name for name in TINY}
    sources.update((n, pathlib.Path(p)) for n, p in (item.split("=", 1) for item in args.large))
    if args.again:
        results.drop([k for k in results.rows if re.search(args.again, "/".join(k[:3]))])
    for name, source in sources.items():
        wanted = [(kind, method) for kind in TYPES for method in METHODS
                  if re.search(args.only, f"{name}/{kind}/{method}")]
        model = None
        for kind, method in wanted:
            model = model or Model(name, source, args, carat, llama)
            if possible(model, kind, method, carat):
                try:
                    measure_file(model, kind, method, results, judges, args)
                except RuntimeError as failure:
                    print(f"{name}\t{kind}\t{method}\tFAILED\t{failure}", flush=True)
