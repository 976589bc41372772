"""broken.py CARAT ARCHIVE - damaged and hostile files, each refused in one sentence

Every row of broken/CASES.tsv is opened the way a user would: a single safetensors or GGUF file by
`carat inspect`, a folder by `carat convert`. A refusal is exit status 2 or 3, one sentence that has
the row's words (one of "a or b"), and no file left; it happens within 1 GiB of address space, but under a sanitizer,
which needs more of it than there is memory.
"""
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from variants import unpack

ADDRESS_SPACE = 1 << 30


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


class Row:
    def __init__(self, line):
        fields = (line.split("\t") + [""] * 6)[:6]
        self.file, self.kind, self.expect, self.fault, words, _ = fields
        self.words = [w.strip() for w in words.split(";") if w.strip() and w.strip() != "file"]
        self.wrong, self.sentence, self.seconds = [], "", 0.0


def judge(row, carat, folder, limited):
    path = folder / row.file
    with tempfile.TemporaryDirectory() as out:
        words = ["inspect", path]
        if path.is_dir():
            words = ["convert", path, "-o", Path(out) / "o.gguf", "--type", "Q8_0"]
        start = time.monotonic()
        r = subprocess.run([carat, *words], capture_output=True, timeout=120, cwd=out,
                           preexec_fn=limit if limited else None)
        row.seconds = time.monotonic() - start
        left = [p.name for p in Path(out).iterdir()]
    lines = r.stderr.decode("utf-8", "replace").strip().splitlines()
    row.sentence = lines[-1] if lines else ""
    if row.expect != "refuse":
        if r.returncode:
            row.wrong.append(f"is refused, and is in order: {row.sentence}")
        return
    if r.returncode not in (2, 3):
        row.wrong.append(f"exit status {r.returncode}")
    if len([x for x in lines if not x.startswith("carat: warning: ")]) != 1:
        row.wrong.append(f"not one sentence: {lines}")
    if not path.is_dir() and path.name not in row.sentence:
        row.wrong.append(f"the sentence does not name the file: {row.sentence}")
    lacking = [w for w in row.words
               if not any(x.lower() in row.sentence.lower() for x in w.split(" or "))]
    if lacking:
        row.wrong.append(f"the sentence lacks {lacking}: {row.sentence}")
    if left:
        row.wrong.append(f"left behind: {left}")


def rows(carat, root):
    carat = str(Path(carat).resolve()) # it is run elsewhere
    version = json.loads(subprocess.run([carat, "version", "--json"], capture_output=True).stdout)
    folder = root / "broken"
    for line in (folder / "CASES.tsv").read_text().splitlines()[1:]:
        row = Row(line)
        judge(row, carat, folder, not version["sanitizers"])
        yield row


def main(carat, archive):
    n = bad = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(carat, unpack(archive, folder)):
            n += 1
            bad += bool(row.wrong)
            slowest = max(slowest, row.seconds)
            for sentence in row.wrong:
                print(f"{row.file}: {sentence}")
    print(f"{n} files, {bad} not as expected; the slowest took {slowest:.2f} s")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
