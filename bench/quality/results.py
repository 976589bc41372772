"""results.py - one line of results.tsv for each file, text and judge

Several runs may add to it at once: each addition reads the file anew, under a lock.
"""
import csv
import fcntl

FIELDS = ["model", "type", "method", "text", "judge", "kld", "low", "high", "top", "ppl", "base",
          "chunks", "bytes", "seconds", "sha256", "version"]
KEY = ("model", "type", "method", "text", "judge")
NUMBERS = ("kld", "low", "high", "top", "ppl", "base", "seconds")


def parse(row):
    for name in NUMBERS:
        row[name] = float(row[name])
    row["bytes"], row["chunks"] = int(row["bytes"]), int(row["chunks"])
    return tuple(row[k] for k in KEY), row


class Results:
    def __init__(self, path):
        self.path, self.rows = path, {}
        self.read()

    def read(self):
        if self.path.exists():
            with open(self.path, encoding="utf-8") as file:
                self.rows = dict(parse(row) for row in csv.DictReader(file, delimiter="\t"))

    def has(self, *key):
        return key in self.rows

    def put(self, row):
        self.change(lambda rows: rows.update({tuple(row[k] for k in KEY): row}))

    def drop(self, keys):
        self.change(lambda rows: [rows.pop(key, None) for key in keys])

    def change(self, how):
        with open(self.path.with_suffix(".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.read()
            how(self.rows)
            self.write()

    def write(self):
        part = self.path.with_suffix(".part")
        with open(part, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            for key in sorted(self.rows):
                shown = dict(self.rows[key])
                for name in NUMBERS:
                    shown[name] = f"{shown[name]:.6g}"
                writer.writerow(shown)
        part.rename(self.path)

    def find(self, **wanted):
        return [r for r in self.rows.values() if all(r[k] == v for k, v in wanted.items())]
