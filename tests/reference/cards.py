"""Model cards and the general.* keys that gguf-py makes of them: data/vectors/cards/cards.json.

    python cards.py > data/vectors/cards/cards.json      needs gguf (gguf-py 0.19) and PyYAML
"""
import json
import tempfile
from pathlib import Path

from gguf import Metadata

PARAMS = 4647449891
CARDS = [
    "---\nlicense: gemma\nlibrary_name: transformers\npipeline_tag: image-text-to-text\n"
    "extra_gated_heading: Access Gemma on Hugging Face\nextra_gated_prompt: >-\n"
    "  To access Gemma on Hugging Face, you're required to review and agree to\n"
    "  Google's usage license.\nbase_model: google/gemma-3-4b-pt\n---\n\n# Gemma\n---\nlicense: mit\n",
    "---\nlibrary_name: transformers\nlicense: apache-2.0\n"
    "license_link: https://ai.google.dev/gemma/docs/gemma_4_license\n"
    "pipeline_tag: any-to-any\nbase_model:\n- google/gemma-4-E2B\ntags:\n- gemma4\n- \"it\"\n"
    "- 'quoted # text'   # a comment\nlanguage:\n  - en\n  - no\n  - zh-Hans\n---\n",
    "---\r\nlicense: other\r\nlicense_name: \"gemma terms\"\r\ntags: [gemma, 'a, b', \"c\\td\", é]\r\n"
    "language: de\r\ndatasets:\r\n- HuggingFaceH4/ultrachat_200k\r\n- https://huggingface.co/a/b-v1.5\r\n"
    "- https://example.org/set\r\n---\r\nText\r\n",
    "---\nmodel_name: My own Gemma\nmodel_creator: Some One\nmodel_type: gemma4\n"
    "version: v2.5\ndescription: A model that was\n  tuned for\n\n  nothing.\nurl: https://example.org\n"
    "base_model:\n- org/first-7B-Instruct-v0.2\n- ./local\n- plain-name\n---\n",
    "---\ntags:\n- a\n# in between\n- b\n\n- c\nmodel-index:\n- name: x\n  results:\n"
    "  - task:\n      type: text\nlicense:\n- mit\n- apache-2.0\nwidget:\n- text: 'hello'\n---\n",
    "---\nlanguages: [\n  en,\n  fr\n]\nlanguage: ja\nlicense: null\nlicense_name: ~\nbasename: it''s\n---\n",
    "no head\n---\nlicense: mit\n---\n",
    "---\n---\n",
    "---\nlicense: 'it''s'\nname: a#b # c\norganization: \"\\u00e9t\\xe9 \\\"x\\\"\"\n"
    "size_label: 5.1B\nfinetune: it\nauthor: 'A: B'\n---",
]


def plain(value):
    return [plain(v) for v in value] if isinstance(value, list) else value


class Recorder:
    """Stands in for a GGUFWriter: add_X(value) becomes general.X."""
    def __init__(self):
        self.keys = {}

    def __getattr__(self, name):
        def add(*args):
            what = name.removeprefix("add_")
            for kind in ("base_model", "dataset"):
                if what.startswith(kind + "_") and what != kind + "_count":
                    what = f"{kind}.{args[0]}.{what.removeprefix(kind + '_')}"
                    args = args[1:]
            what = {"license_name": "license.name", "license_link": "license.link",
                    "source_url": "source.url", "base_model_count": "base_model.count",
                    "dataset_count": "dataset.count"}.get(what, what)
            self.keys["general." + what] = plain(args[0])
        return add


cases = []
for card in CARDS:
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "gemma-4-E2B-it"
        folder.mkdir()
        (folder / "README.md").write_bytes(card.encode())
        metadata = Metadata.load(None, folder, None, PARAMS)
        recorder = Recorder()
        metadata.set_gguf_meta_model(recorder)
        cases.append({"card": card, "keys": recorder.keys})
print(json.dumps({"params": PARAMS, "cases": cases}, indent=1))
