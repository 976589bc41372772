"""large.py CARAT TOKENIZER - plan and inspect look at headers, however large the weights are

Files of the size of Gemma 4 31B whose weights are holes. What the program reads is counted by the
system (reads of its own, not pages of a map), and so is its memory.
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import sparse

MIB = 1 << 20
# A sanitizer's shadow and quarantine count as memory, and are not the program's.
RSS_LIMIT = None if os.environ.get("CARAT_SANITIZED") else 100 * MIB
failures = []


def expect(holds, sentence):
    print(("ok    " if holds else "FAIL  ") + sentence)
    if not holds:
        failures.append(sentence)


def bytes_read():
    """By this process and the children it has waited for; None where nobody counts."""
    try:
        with open("/proc/self/io", encoding="ascii") as f:
            return int(f.readline().split()[1])
    except OSError:
        return None


def run(carat, *args):
    """(stdout, bytes it read, its largest resident memory so far among all children)"""
    before = bytes_read()
    done = subprocess.run([carat, *map(str, args)], capture_output=True, text=True, check=False)
    after = bytes_read()
    if done.returncode:
        raise SystemExit(f"{args}: {done.stderr}")
    unit = 1 if sys.platform == "darwin" else 1024
    rss = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return done.stdout, None if before is None else after - before, rss


def check_memory(rss, name):
    if RSS_LIMIT:
        expect(rss <= RSS_LIMIT, f"{name}: at most {rss / MIB:.0f} MiB of memory")


def check(carat, budget, *args):
    out, n, rss = run(carat, *args)
    name = " ".join(os.path.basename(str(a)) for a in args)
    if n is not None:
        expect(n <= budget, f"{name}: reads {n / MIB:.1f} MiB, at most {budget / MIB:.0f}")
    check_memory(rss, name)
    return out


def data_start(carat, path):
    out, _, _ = run(carat, "inspect", path, "--json", "--brief")
    return json.loads(out)["files"][0]["data_start"]


def patch(carat, path):
    """True when a longer header went in place; the data behind it are the same either way."""
    start, marks = data_start(carat, path), (b"first of the data", b"the last")
    with open(path, "r+b") as f:
        f.seek(start)
        f.write(marks[0])
        f.seek(-len(marks[1]), os.SEEK_END)
        f.write(marks[1])
    size = path.stat().st_size
    out, n, rss = run(carat, "patch", path, "--metadata", "note=" + 99 * "longer", "--json")
    grown = data_start(carat, path) - start
    in_place = json.loads(out)["in_place"]
    with open(path, "rb") as f:
        f.seek(start + grown)
        same = f.read(len(marks[0])) == marks[0]
        f.seek(-len(marks[1]), os.SEEK_END)
        same = same and f.read() == marks[1]
    expect(same and path.stat().st_size == size + grown,
           f"patch {path.name}: the data moved by the {grown} bytes that the header grew")
    if in_place and n is not None:
        expect(n <= 8 * MIB, f"patch {path.name}: reads {n / MIB:.1f} MiB")
    check_memory(rss, f"patch {path.name}")
    return in_place


def main(carat, tokenizer):
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        sparse.write_checkpoint(root / "model", tokenizer)
        sparse.write_checkpoint(root / "copies", tokenizer, has_head=True, has_clones=True)
        sparse.write_gguf(root / "model.gguf")
        n_header = (root / "model" / "tokenizer.json").stat().st_size + 2 * MIB
        size = sum(f.stat().st_size for f in (root / "model").glob("*.safetensors"))
        expect(size > 60e9, f"the checkpoint has {size / 1e9:.1f} GB")

        check(carat, 2 * MIB, "inspect", root / "model", "--brief")
        check(carat, 8 * MIB, "inspect", root / "model.gguf", "--json")
        plan = json.loads(check(carat, n_header, "plan", root / "model", "--json"))
        expect(len(plan["tensors"]) == 833, f"plan: {len(plan['tensors'])} tensors of 833")
        # copies are told by eight places of 256 KiB in F32, half of it stored, of each pair
        plan = json.loads(check(carat, n_header + 11 * 2 * 8 * MIB // 8, "plan",
                                root / "copies", "--json"))
        expect(len(plan["tensors"]) == 833 and len(plan["notes"]) == 11,
               "plan: a copied head and ten copied v_proj are left out")
        # 64 rows of each of 411 matrices say whether it lies on a 4-bit grid; what equalization reads of
        # them to decide is left out
        check(carat, n_header + 411 * 64 * sparse.WIDTH * 2, "plan", root / "model", "--method",
              "search", "--equalize", "off", "--json")

        sparse.write_gguf(root / "small.gguf", layers=1, vocabulary=8192)
        if patch(carat, root / "small.gguf"):  # elsewhere 61 GB would be copied
            expect(patch(carat, root / "model.gguf"), "patch model.gguf: in place")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


sys.exit(main(*sys.argv[1:3]))
