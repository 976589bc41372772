"""report.py - docs/quality.md and docs/quality.svg out of results.tsv"""
import math

import matrix

TEXTS = ("wiki", "code", "multilingual")
NO_DATA = ("search", "search+equalize")
TITLES = {"stock": "llama-quantize", "stock+imatrix": "llama-quantize, importance"}


def title(method):
    return TITLES.get(method) or "carat " + method.replace("+imatrix", ", importance").replace(
        "+equalize", ", equalized")


def row_of(results, model, kind, method, judge):
    """The three texts of one file, or None when one is missing."""
    found = {r["text"]: r for r in results.find(model=model, type=kind, method=method, judge=judge)}
    return found if all(t in found for t in TEXTS) else None


def mean_kld(row):
    return math.exp(sum(math.log(row[t]["kld"]) for t in TEXTS) / len(TEXTS))


def significant(x, digits=3):
    return f"{x:.{max(0, digits - 1 - math.floor(math.log10(abs(x))))}f}" if x else "0"


def change(row, base):
    return f"{100 * (mean_kld(row) / mean_kld(base) - 1):+.0f} %".replace("-", "−")


def table(results, model, kind, judge):
    """Lines of one table, without those methods that were not measured."""
    rows = [(m, row_of(results, model, kind, m, judge)) for m in matrix.METHODS]
    rows = [(m, r) for m, r in rows if r]
    if not rows:
        return []
    lines = ["| " + kind + " | bytes | KLD wiki | code | multilingual | mean, to stock | same top % |"
             " perplexity | CPU s |", "| --- " * 9 + "|"]
    for method, row in rows:
        cells = [f"{significant(row[t]['kld'])} [{significant(row[t]['low'])}, "
                 f"{significant(row[t]['high'])}]" for t in TEXTS]
        tops = " / ".join(f"{row[t]['top']:.1f}" for t in TEXTS)
        ppl = " / ".join(f"{row[t]['ppl']:.2f}" for t in TEXTS)
        any_row = row["wiki"]
        others = [] if method in TITLES else peers(results, model, kind, method, judge)
        versus = change(row, others[-1]) if others else ""
        lines.append(f"| {title(method)} | {any_row['bytes']:,} | " + " | ".join(cells) +
                     f" | {versus} | {tops} | {ppl} | {any_row['seconds']:.1f} |")
    float_ppl = " / ".join(f"{rows[0][1][t]['base']:.2f}" for t in TEXTS)
    return lines + ["", f"Perplexity of the float model: {float_ppl}."]


def peers(results, model, kind, method, judge):
    """What a method is held against, the one for the mean last: llama-quantize's file without an
    importance matrix for methods that see no data, both of its files for the rest."""
    names = ["stock"] if method in NO_DATA else ["stock", "stock+imatrix"]
    return [r for r in (row_of(results, model, kind, m, judge) for m in names) if r]


def beats_all(row, others):
    return all(row[t]["kld"] < min(r[t]["kld"] for r in others) for t in TEXTS)


def summary(results, models, judge="carat"):
    """All changes of the mean at a glance; a star where one text at least is not better."""
    methods = [m for m in matrix.METHODS if m not in TITLES and results.find(method=m)]
    lines = ["| | " + " | ".join(title(m) for m in methods) + " |",
             "| --- " * (len(methods) + 1) + "|"]
    for model in models:
        for kind in matrix.TYPES:
            cells = []
            for method in methods:
                row = row_of(results, model, kind, method, judge)
                others = peers(results, model, kind, method, judge)
                cells.append("" if not row or not others else change(row, others[-1]) + (
                    "" if beats_all(row, others) else " *"))
            if any(cells):
                lines.append(f"| {model} {kind} | " + " | ".join(cells) + " |")
    return lines + ["", "Geometric mean of the KLD over the three texts against llama-quantize: with an "
                    "importance matrix, or without for the methods that see no data. * On one text "
                    "at least not lower than the better of its files."]


JUDGES = {
    "carat": "`carat compare`: weights decoded exactly, float32",
    "llama": "llama-perplexity --kl-divergence: llama.cpp's kernels, activations rounded to 8 bits",
}


def write(results, docs, plot):
    models = list(dict.fromkeys(r["model"] for r in results.rows.values()))
    models.sort(key=lambda m: (m in matrix.TINY, matrix.TINY.index(m) if m in matrix.TINY else 0))
    intro = (docs.parent / "bench/quality/intro.md").read_text().rstrip()
    lines = [intro, "", *summary(results, models), ""]
    if plot:
        lines += ["![bytes against divergence](quality.svg)", ""]
    for model in models:
        lines += [f"## {model}", ""]
        for judge, name in JUDGES.items():
            tables = [t for t in (table(results, model, kind, judge) for kind in matrix.TYPES) if t]
            if tables:
                lines += [f"Judged by {name}.", ""]
                for t in tables:
                    lines += t + [""]
    versions = sorted({r["version"] for r in results.rows.values()})
    lines += [(docs.parent / "bench/quality/outro.md").read_text().rstrip(), ""]
    lines += ["Versions: " + ", ".join(versions) + "."]
    (docs / "quality.md").write_text("\n".join(lines) + "\n")
    if plot:
        draw(results, models, docs / "quality.svg")


def draw(results, models, path):
    """Bytes against divergence, one panel a model; both axes logarithmic in the divergence only."""
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "carat", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(models), figsize=(3.1 * len(models), 3.4), squeeze=False)
    looks = {"stock": ("#999999", "o"), "stock+imatrix": ("#555555", "s"),
             "search": ("#4c9be8", "o"), "search+imatrix": ("#1f5fa8", "s"),
             "search+equalize": ("#7bc86c", "o"), "search+imatrix+equalize": ("#3f8f3a", "s"),
             "compensate": ("#e8833a", "D"), "compensate+equalize": ("#c0392b", "D"),
             "text": ("#8e44ad", "^"), "text+equalize": ("#5b2c83", "^")}
    seen = {}
    for axis, model in zip(axes[0], models):
        for method in matrix.METHODS:
            points = [(r["wiki"]["bytes"] / 1e6, mean_kld(r)) for r in
                      (row_of(results, model, k, method, "carat") for k in matrix.TYPES) if r]
            if points:
                color, marker = looks[method]
                seen[method] = axis.scatter(*zip(*points), c=color, marker=marker, s=26,
                                            label=title(method))
        axis.set_yscale("log")
        axis.locator_params(axis="x", nbins=3)
        axis.set_title(model, fontsize=9)
        axis.set_xlabel("MB")
    axes[0][0].set_ylabel("KLD to the float model, nats a token")
    figure.legend(seen.values(), [title(m) for m in seen], loc="lower center", ncol=4,
                  frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    figure.savefig(path, metadata={"Date": None})
