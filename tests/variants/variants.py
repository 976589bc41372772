"""variants.py CARAT ARCHIVE - checkpoints and adapters in the layouts that people have

Each case of the archive has an expect.json: it converts, to tensors that are given by their
digest or within a stated distance of truth.safetensors, or it is refused in one sentence that
has given words, and leaves nothing behind. `layouts()` yields a verdict for each case, which
inputs_table.py prints as docs/inputs.md.
"""
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from array import array
from pathlib import Path

from gguf_file import Gguf, decode_q4_0, to_bf16
from names import gguf_name

class Verdict:
    def __init__(self, case, expect):
        self.case, self.expect = case, expect
        self.wrong = []          # what is not as expected, a sentence each
        self.refusal = None      # the sentence, where there is one
        self.exact = None        # (type, count) pairs: tensors re-packed without loss
        self.warnings = []


def unpack(archive, folder):
    with tarfile.open(archive) as tar:
        tar.extractall(folder)
    return Path(folder) / "variants"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_truth(path):
    """name -> array of f32, from a safetensors file that holds nothing else"""
    if not path.exists():
        return {}
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    out = {}
    for name, item in json.loads(data[8:8 + n]).items():
        begin, end = (8 + n + x for x in item["data_offsets"])
        out[name] = array("f", data[begin:end])
    return out


def is_near(raw, want, truth, tolerance):
    """Elements within tolerance * max|W|; without the elements, their sum within n times that."""
    x = array("f", raw)
    bound = tolerance * want["abs_max"]
    if truth is not None:
        return len(x) == len(truth) and all(abs(a - b) <= bound for a, b in zip(x, truth))
    return abs(sum(x) - want["sum"]) <= len(x) * bound


class Case:
    def __init__(self, carat, root, name, out):
        self.carat, self.root, self.folder, self.out = carat, root, root / name, out
        self.expect = json.loads((self.folder / "expect.json").read_text())
        self.truth_of = self.expect
        if "canonical" not in self.expect and "same_weights_as" in self.expect:
            other = root / self.expect["same_weights_as"] / "expect.json"
            self.truth_of = json.loads(other.read_text())
        self.verdict = Verdict(name, self.expect)

    def source(self):
        """The words that name the source: a model, or an adapter on its base."""
        adapter = self.folder / "adapter"
        if not adapter.exists():
            return [str(self.folder / "model")]
        base = self.expect.get("base", "base-q/model")
        return [str(self.root / base), "--lora", str(adapter)]

    def run(self, verb, *words):
        return subprocess.run([self.carat, verb, *self.source(), *words], text=True,
                              capture_output=True, timeout=300)

    def convert(self, kind, *words):
        return self.run("convert", "-o", str(self.out / "o.gguf"), "--force", "--type", kind,
                        "--ple", "inline", *words)

    def complain(self, sentence):
        self.verdict.wrong.append(sentence)

    def judge(self):
        r = self.convert("F32")
        lines = r.stderr.strip().splitlines()
        words = self.expect.get("message_must_name", [])
        if self.expect["action"] == "convert":
            self.judge_result(r, lines)
            return self.verdict
        self.judge_refusal(r, lines, words)
        return self.verdict

    def judge_refusal(self, r, lines, words):
        if r.returncode == 0:
            self.complain("converts, and must not: " + self.expect["reason"])
            return
        last = lines[-1] if lines else ""
        self.verdict.refusal = last
        if r.returncode not in (2, 3):
            self.complain(f"exit status {r.returncode}: {last}")
        for word in words:
            if word not in last:
                self.complain(f"the refusal lacks '{word}': {last}")
        left = [p.name for p in self.out.iterdir()]
        if left:
            self.complain(f"left behind: {left}")

    def judge_result(self, r, lines):
        if r.returncode:
            self.complain(f"exit status {r.returncode}: {lines[-1] if lines else ''}")
            return
        self.verdict.warnings = [x for x in lines if x.startswith("carat: warning: ")]
        if "must_warn" in self.expect and not lines:
            self.complain("no word of: " + self.expect["must_warn"])
        model = Gguf(self.out / "o.gguf")
        self.judge_tensors(model)
        self.judge_vocabulary(model.metadata)
        self.judge_exactness()

    def judge_tensors(self, model):
        truth = read_truth(self.folder / "truth.safetensors")
        tolerance = re.match(r"[0-9.]+e-[0-9]+", self.expect.get("tolerance", ""))
        for name, want in self.truth_of["canonical"].items():
            if want.get("equal_to_base"):
                base = self.truth_of.get("base_case", self.base_name())
                want = self.base_canonical(base).get(name, want)
            kind, _, raw = model.tensors.get(gguf_name(name), (None, 0, b""))
            if kind is None:
                self.complain(f"{name} is missing")
            elif "sha256_f32" not in want or kind == "F32" and sha256(raw) == want["sha256_f32"]:
                continue
            elif not tolerance or kind != "F32" or \
                    not is_near(raw, want, truth.get(name), float(tolerance[0])):
                self.complain(f"{name} differs from the truth")
        for name in self.expect.get("must_not_come_out", []):
            if gguf_name(name) in model.tensors:
                self.complain(f"{name} comes out, and must not")

    def base_name(self):
        """The case whose tensors `equal_to_base` means."""
        if "base" in self.expect:
            return self.expect["base"].split("/")[0]
        experts = "layers.0.experts.gate_up_proj" in self.truth_of["canonical"]
        dead = (self.folder / "model" / "config.json").exists() and json.loads(
            (self.folder / "model" / "config.json").read_text())
        width = (dead or {}).get("text_config", dead or {}).get("hidden_size", 64)
        return "base-moe" if experts else "base-e2b" if width == 32 else "base-q"

    def base_canonical(self, base):
        return json.loads((self.root / base / "expect.json").read_text())["canonical"]

    def judge_vocabulary(self, metadata):
        templates = {"default": metadata.get("tokenizer.chat_template")}
        for name, want in self.expect.get("chat_template", {}).items():
            key = "tokenizer.chat_template" + ("" if name == "default" else "." + name)
            if name == "default" and want and want.startswith("see "):
                want = templates["default"] # two that differ: the warning is what is asked for
            if metadata.get(key) != want:
                self.complain(f"{key} is not the source's")
        tokens = metadata["tokenizer.ggml.tokens"]
        for name, id in {**self.expect.get("added_tokens", {}),
                         **self.expect.get("ids", {})}.items():
            if tokens[id] != name:
                self.complain(f"token {id} is {tokens[id]}, not {name}")
        for name, kind in self.expect.get("token_type", {}).items():
            got = metadata["tokenizer.ggml.token_type"][tokens.index(name)]
            if f"({got})" not in kind:
                self.complain(f"token {name} is of type {got}, not {kind}")
        if len(tokens) != self.expect.get("vocab_size", len(tokens)):
            self.complain(f"{len(tokens)} tokens, not {self.expect['vocab_size']}")

    def judge_exactness(self):
        """What a Q4_0 file holds without loss: codes of the source, or weights on its grid."""
        wants_bytes = self.expect.get("q4_0_sha256", {})
        on_grid = "bf16" if "rounded" in self.verdict.case else "f32"
        r = self.run("plan", "--json", "--type", "Q4_0", "--quiet")
        rows = json.loads(r.stdout)["tensors"]
        exact = [t["type"] for t in rows if t["why"].startswith("exact")]
        self.verdict.exact = sorted({(t, exact.count(t)) for t in exact})
        if "q4_0_rule" not in self.expect:
            return
        self.convert("Q4_0", "--method", "search")
        model = Gguf(self.out / "o.gguf")
        for name, want in self.truth_of["canonical"].items():
            kind, _, raw = model.tensors[gguf_name(name)]
            if name in wants_bytes:
                if (kind, sha256(raw)) != ("Q4_0", wants_bytes[name]):
                    self.complain(f"{name} is not the source's codes and scales")
            elif not wants_bytes and kind == "Q4_0":
                x = decode_q4_0(raw)
                x = to_bf16(x) if on_grid == "bf16" else x
                if sha256(x.tobytes()) != want["sha256_f32"]:
                    self.complain(f"{name} is on a 4-bit grid, and was not found there")


def layouts(carat, root):
    for path in sorted(root.glob("*/expect.json")):
        with tempfile.TemporaryDirectory() as out:
            yield Case(carat, root, path.parent.name, Path(out)).judge()


def main(carat, archive):
    n = bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for verdict in layouts(carat, unpack(archive, folder)):
            n += 1
            bad += bool(verdict.wrong)
            for sentence in verdict.wrong:
                print(f"{verdict.case}: {sentence}")
    print(f"{n} layouts, {bad} not as expected")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
