"""inputs_table.py CARAT build/data > docs/inputs.md - what carat takes, from the tests' own verdicts"""
import collections
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import broken
import twists
import variants
from gguf_file import Gguf

HEAD = """# What carat takes

Made by `tests/variants/inputs_table.py` from what the program does with every golden member in `data/golden` and
every case in `data/variants.tar.xz`; the tests hold it to that.

*converts*: every tensor, decoded to F32, is the truth to the bit, or within the case's bound where the layout leaves the
order of roundings open. *re-packs exactly*: in a Q4_0 conversion, that many of its tensors keep the source's own codes
and scales; the others are decoded and rounded anew. *refused*: the program's sentence. *left out*: keys and values of
layers that use an earlier layer's; `--keep-dead` keeps them.
"""

GROUPS = {
    "containers": "Containers", "names": "Names", "dtypes": "Types of floats",
    "experts": "Experts", "extra tensors": "Extra, missing and repeated tensors",
    "vocabulary": "Vocabulary and chat template", "qat": "Quantization-aware training",
    "pre-quantized": "Already quantized", "adapters": "Adapters",
}


def sentence_of(text, folder):
    """A refusal without the program's name and the folder it ran in."""
    return text.removeprefix("carat: ").replace(str(folder) + "/", "")


def row(*cells):
    print("| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |")


def table(*heads):
    print()
    row(*heads)
    row(*("---" for _ in heads))


def compare_with_inventory(model, path):
    """What llama.cpp's converter makes of the same folder, tensor by tensor."""
    if not path.exists():
        return "no inventory of it"
    wants = json.loads(path.read_text())["tensors"]
    same = left_out = 0
    for want in wants:
        kind, _, raw = model.tensors.get(want["name"], (None, 0, b""))
        left_out += kind is None
        same += (kind, hashlib.sha256(raw).hexdigest()) == \
            (want["bf16"]["type"], want["bf16"]["sha256"])
    less = f", {left_out} left out" if left_out else ""
    return f"{same} of {len(wants)} tensors identical{less}"


def members(carat, data):
    print("\n## Members")
    table("folder of `data/golden`", "model_type", "architecture of the GGUF",
          "against llama.cpp 0.5.0's converter, BF16")
    for config in sorted(data.glob("golden/*/config.json")):
        folder = config.parent
        with tempfile.TemporaryDirectory() as out:
            path = Path(out) / "o.gguf"
            subprocess.run([carat, "convert", folder, "-o", path, "--type", "BF16", "--ple",
                            "inline", "--quiet"], check=True, stdout=subprocess.DEVNULL)
            model = Gguf(path)
        row(folder.name, json.loads(config.read_text())["model_type"],
            model.metadata["general.architecture"],
            compare_with_inventory(model, folder / "gguf.inventory.json"))


def outcome(verdict, root):
    if verdict.wrong:
        raise SystemExit(f"{verdict.case}: {verdict.wrong[0]}")
    if verdict.refusal:
        return "refused: " + sentence_of(verdict.refusal, root / verdict.case)
    if verdict.exact:
        return "re-packs exactly: " + ", ".join(f"{n} {kind}" for kind, n in verdict.exact)
    if "q4_0_rule" in verdict.expect:
        return "converts; `--method search` finds its 4-bit grid exactly"
    return "converts"


def main(carat, data):
    carat, data = str(Path(carat).resolve()), Path(data)
    print(HEAD, end="")
    members(carat, data)
    with tempfile.TemporaryDirectory() as folder:
        root = variants.unpack(data / "variants.tar.xz", folder)
        groups = collections.defaultdict(list)
        for verdict in variants.layouts(carat, root):
            groups[verdict.expect["group"]].append(verdict)
        for group, title in GROUPS.items():
            print(f"\n## {title}")
            table("case", "layout", "result")
            for v in groups.pop(group):
                row(v.case, v.expect["layout"], outcome(v, root))
        assert not groups, groups
        print("\n## The same in other words")
        table("case", "changed", "result")
        with tempfile.TemporaryDirectory() as out:
            for name, label, result, wrong in twists.verdicts(carat, root, Path(out)):
                assert not wrong, wrong
                row(name, label, sentence_of(result.replace("carat: ", ""), root).replace("twisted/", ""))
        print("\n## Damaged and hostile files")
        table("file", "fault", "sentence")
        for r in broken.rows(carat, root):
            row(r.file, r.fault, sentence_of(r.sentence, root / "broken")
                if r.expect == "refuse" else "in order")


if __name__ == "__main__":
    main(*sys.argv[1:])
