"""texts.py - what models are judged on, and what they are calibrated with when nothing is given

FOLDER is laid out so:

    wiki.test.raw                  WikiText-2, raw, test set
    code/sqlite3.h.txt             SQLite's header (public domain)
    code/HumanEval.jsonl           github.com/openai/human-eval (MIT)
    code/lodash.js.txt.xz          lodash 4 (MIT)
    multilingual/udhr-LANG.txt     the Universal Declaration of Human Rights, "UDHR in Unicode"

The small trained models of data/models have seen the first 937,780 bytes of wiki.test.raw, the
HumanEval tasks, lodash and the first two thirds of most declarations, so they are judged on the
rest: `heldout`. Models that were trained elsewhere are judged on `public`.
"""
import json
import lzma

WIKI_SEEN = 937780
UNSEEN_FROM = {"ar": 9061, "el-monoton": 14732, "fi": 7610, "hu": 8535, "ka": 20666, "nl": 8458,
               "ta": 24263, "ur": 11266}
LANGUAGES = ["ar", "de-1996", "el-monoton", "en", "es", "fr", "hi", "id", "ja", "ko", "pt-BR", "ru",
             "tr", "zh"]


def interleave(sources, size):
    """Pieces of SIZE characters of each source in turn, until the first is used up."""
    pieces = [[text[i:i + size] for i in range(0, len(text), size)] for text in sources]
    return "\n".join("\n".join(round_) for round_ in zip(*pieces))


def calibration(folder, rounds=40):
    """All files of data/calibration in turn, each in ROUNDS pieces at line ends, so that the first
    chunks of it are of every kind. Conversations are written out in Gemma 4's turns."""
    sources = [folder / name for name in ("prose.txt", "multilingual.txt", "code.txt",
                                          "structured.txt")]
    sources = [path.read_text().splitlines(keepends=True) for path in sources]
    sources.append(["".join(
        f"<|turn>{m['role'].replace('assistant', 'model')}\n{m.get('content') or ''}<turn|>\n"
        for m in json.loads(line)["messages"])
        for line in open(folder / "chat.jsonl", encoding="utf-8")])
    return "\n".join("".join(lines[len(lines) * i // rounds:len(lines) * (i + 1) // rounds])
                     for i in range(rounds) for lines in sources)


def heldout(folder):
    declarations = [(folder / f"multilingual/udhr-{name}.txt").read_bytes()[start:]
                    for name, start in UNSEEN_FROM.items()]
    return {
        "wiki": (folder / "wiki.test.raw").read_bytes()[WIKI_SEEN:].decode(),
        "code": (folder / "code/sqlite3.h.txt").read_text(),
        "multilingual": interleave([d.decode(errors="ignore") for d in declarations], 600),
    }


def public(folder):
    tasks = [json.loads(line) for line in open(folder / "code/HumanEval.jsonl", encoding="utf-8")]
    python = "\n".join(task["prompt"] + task["canonical_solution"] for task in tasks)
    lodash = lzma.open(folder / "code/lodash.js.txt.xz", "rt", encoding="utf-8").read()
    declarations = [(folder / f"multilingual/udhr-{name}.txt").read_text() for name in LANGUAGES]
    return {
        "wiki": (folder / "wiki.test.raw").read_text(),
        "code": interleave([python, lodash[20000:]], 2000),
        "multilingual": interleave(declarations, 600),
    }


def write_all(texts, folder):
    """Each text as a file of its own; the paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, text in texts.items():
        paths[name] = folder / f"{name}.txt"
        paths[name].write_text(text)
    return paths
