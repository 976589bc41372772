"""twists.py CARAT ARCHIVE - cases of the archive in a neighbouring layout, made on the spot

What a folder means does not change when another tool spells its settings another way, so the truth
of the case still holds; or the change takes the meaning away, and it is refused. And what `plan`
calls each quantized layout.
"""
import json
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from variants import Case, unpack


# ---- changing a folder ----

def edit_json(path, change):
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def settings(change):
    """A change of quantization_config."""
    def twist(model):
        edit_json(model / "config.json", lambda c: change(c["quantization_config"]))
    return twist


def renamed(old, new, **more):
    def change(q):
        q[new] = q.pop(old)
        q.update(more)
    return settings(change)


def autoround(packing):
    def change(q):
        for key in ("checkpoint_format", "version", "format"):
            q.pop(key, None)
        q.update(quant_method="auto-round", packing_format=packing, data_type="int")
    return settings(change)


def modelopt_file(model):
    """The settings in a file of their own, one level down."""
    config = json.loads((model / "config.json").read_text())
    q = config.pop("quantization_config")
    (model / "config.json").write_text(json.dumps(config))
    (model / "hf_quant_config.json").write_text(json.dumps(
        {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": q["quant_algo"]}}))


def read_tensors(path, into):
    """name: (dtype, shape, bytes), in the order they are stored"""
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    for name, item in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            begin, end = (8 + n + x for x in item["data_offsets"])
            into[name] = item["dtype"], item["shape"], data[begin:end]
    return into


def write_tensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(raw for _, _, raw in tensors.values()))


def edit_tensors(path, change):
    """change(name, dtype, shape, bytes) gives what stands in a tensor's place."""
    changed = (change(name, *t) for name, t in read_tensors(path, {}).items())
    write_tensors(path, {name: t for name, *t in changed})


def add_tensors(path, more, others=()):
    tensors = read_tensors(path, {})
    again = {copy: t for name, t in tensors.items() for copy in more(name, *t)}
    write_tensors(path, {**tensors, **again, **dict(others)})


def zeros_of_a_byte(model):
    """Zero points as compressed-tensors stored them before it packed them: one I8 a group."""
    def change(name, dtype, shape, raw):
        if not name.endswith("weight_zero_point"):
            return name, dtype, shape, raw
        words = struct.unpack(f"<{len(raw) // 4}I", raw)
        rows, groups = shape[0] * 8, shape[1]
        zeros = [(words[r // 8 * groups + g] >> 4 * (r % 8) & 15) - 8
                 for r in range(rows) for g in range(groups)]
        return name, "I8", [rows, groups], struct.pack(f"<{len(zeros)}b", *zeros)
    for path in model.glob("*.safetensors"):
        if not path.is_symlink():
            edit_tensors(path, change)


def stale_file(model):
    """Another model's weights beside those of the index."""
    shutil.copy(next(model.glob("model-*.safetensors")), model / "model.safetensors")


def with_tensors(more):
    """more(name, dtype, shape, bytes) gives further names for the same numbers."""
    def twist(model):
        for path in model.glob("*.safetensors"):
            if not path.is_symlink():
                add_tensors(path, more)
    return twist


def as_tower(name, dtype, shape, raw):
    """A module of the text model once more in the vision tower, quantized as it is there."""
    inner = name.partition("layers.0.mlp.up_proj.")[2]
    return [f"model.vision_tower.encoder.layers.0.mlp.up_proj.{inner}"] if inner else []


def with_cache_scales(model):
    """What a quantized cache needs, beside dense keys and values."""
    data = {f"model.language_model.layers.0.self_attn.{x}": ("F32", [1], struct.pack("<f", 0.5))
            for x in ("k_scale", "v_scale", "k_zero_point", "v_zero_point")}
    add_tensors(model / "model.safetensors", lambda *_: [], data)


def saved_anew(model):
    """All shards in one file; the index of the shards stays."""
    parts = {}
    for path in sorted(model.glob("model-*.safetensors")):
        read_tensors(path, parts)
        path.unlink()
    write_tensors(model / "model.safetensors", parts)


def rotated(location):
    apply = [{"targets": ["Linear"], "location": location}]
    return settings(lambda q: q.update(
        transform_config={"config_groups": {"R": {"type": "hadamard", "apply": apply}}}))


def unsaid(model):
    edit_json(model / "config.json", lambda c: c.pop("quantization_config"))


def without_config(extra):
    def twist(model):
        (model / "config.json").unlink()
        (model / extra).mkdir() if "." not in extra else (model / extra).write_text("{}")
    return twist


def adapter_beside(model):
    (model / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1}')


# (case, what is changed in it, the change)
SAME = [
    ("bnb-nf4-double", "no quantization_config", unsaid),
    ("bnb-int8", "no quantization_config", unsaid),
    ("gptq-v2-asym", "the format under `format`", renamed("checkpoint_format", "format")),
    ("gptq-v2-asym", "AutoRound, packing auto_round", autoround("auto_round")),
    ("gptq-v1-actorder-asym", "AutoRound, packing auto_round:auto_gptq", autoround("auto_round:auto_gptq")),
    ("awq-gemm-g32", "AutoRound, packing auto_round:auto_awq", autoround("auto_round:auto_awq")),
    ("modelopt-nvfp4", "settings in hf_quant_config.json", modelopt_file),
    ("ct-int4-g32-asym", "zero points one I8 each, as before they were packed", zeros_of_a_byte),
    ("ct-int4-g32-sym", "transform_config of weights alone", rotated("weight_output")),
    ("fp8-block", "modules_to_not_convert", settings(lambda q: q.update(modules_to_not_convert=["lm_head"]))),
]
WARNED = [
    *((case, "a quantized module in the vision tower", with_tensors(as_tower), "the vision and audio parts left out")
      for case in ("bnb-nf4", "bnb-int8", "ct-fp8-channel", "ct-int4-g32-sym", "ct-nvfp4", "fp8-block", "fp8-tensor",
                   "gemma-mobile", "gptq-v1-actorder-asym", "awq-gemm-g32", "mlx-4bit", "modelopt-nvfp4", "torchao-int8")),
    ("base-e2b", "scales of a quantized cache", with_cache_scales, "they change nothing"),
    ("sharded-hf", "saved anew in one file beside the old index", saved_anew, "model.safetensors.index.json is not read"),
    ("sharded-hf", "a model.safetensors that the index does not name", stale_file, "model.safetensors is not read"),
    ("base-e2b", "an adapter_config.json in the folder", adapter_beside, "its adapter is not merged"),
]
REFUSED = [
    ("base-e2b", "an adapter's folder: no config.json", without_config("adapter_config.json"), "--lora"),
    ("base-e2b", "a Hugging Face cache folder", without_config("snapshots"), "snapshots/"),
    ("ct-int4-g32-sym", "transform_config of activations", rotated("input"), "transform_config"),
    ("gptq-v2-asym", "AutoRound, packing auto_round:marlin", autoround("auto_round:marlin"), "packing_format"),
    ("gptq-v2-asym", "AutoRound, data_type mx_fp", settings(lambda q: q.update(
        quant_method="auto-round", packing_format="auto_round", data_type="mx_fp")), "data_type"),
    ("modelopt-nvfp4", "quant_algo W4A8_AWQ", settings(lambda q: q.update(quant_algo="W4A8_AWQ")), "W4A8_AWQ"),
]
PLANS = {
    "awq-gemm-g32": "AWQ 4 bit g32", "bnb-int8": "bitsandbytes: int8 a row", "bnb-nf4": "bitsandbytes: NF4 g64",
    "bnb-nf4-double": "bitsandbytes: NF4 g64, double", "ct-fp8-block": "compressed-tensors: FP8 E4M3 48x32",
    "ct-fp8-channel": "compressed-tensors: FP8 E4M3 a row", "ct-int8-channel": "compressed-tensors: int8 a row",
    "ct-int4-actorder": "compressed-tensors: int4 g32, act-order", "ct-int4-g32-sym": "compressed-tensors: int4 g32",
    "ct-mxfp4": "compressed-tensors: MXFP4 g32", "ct-nvfp4": "compressed-tensors: NVFP4 g16",
    "fp8-tensor": "FP8 E4M3 a tensor", "gemma-mobile": "Gemma mobile: int4 a row",
    "gptq-v1-actorder-asym": "GPTQ 4 bit g32, act-order", "gptq-v2-8bit": "GPTQ 8 bit g64",
    "mlx-4bit": "MLX: affine 4 bit g64", "mlx-mxfp4": "MLX: MXFP4 g32", "modelopt-nvfp4": "ModelOpt: NVFP4 g16",
    "torchao-int8": "torchao: int8 a row", "base-e2b": "1 shard, BF16", "bin-sharded": "2 PyTorch files, BF16",
    "sharded-hf": "3 shards, BF16",
}


def twisted(carat, root, name, twist, out):
    """The case, its model copied (links followed) and changed."""
    folder = root / "twisted"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / name, folder)
    twist(folder / "model")
    case = Case(carat, root, "twisted", out)
    case.verdict.case = name
    return case


def verdicts(carat, root, out):
    """(case, what is changed, what came of it, what is wrong with that) for every change"""
    for name, label, twist in SAME:
        yield name, label, "as the case", twisted(carat, root, name, twist, out).judge().wrong
    for name, label, twist, words in WARNED:
        case = twisted(carat, root, name, twist, out)
        wrong = case.judge().wrong
        said = [x for x in case.verdict.warnings if words in x]
        yield name, label, f"as the case, warned: {words}", wrong or ([] if said else [f"no warning '{words}'"])
    for name, label, twist, words in REFUSED:
        r = twisted(carat, root, name, twist, out).convert("F32")
        is_one = r.returncode == 2 and words in r.stderr and r.stderr.count("\n") == 1
        yield name, label, "refused: " + r.stderr.strip(), [] if is_one else [
            f"not refused with '{words}': {r.returncode} {r.stderr}"]


def plans(carat, root, out):
    """(case, what is wrong with what a plan calls it)"""
    for name, words in PLANS.items():
        r = Case(carat, root, name, out).run("plan", "--json", "--quiet")
        layout = json.loads(r.stdout)["layout"] if r.returncode == 0 else r.stderr
        if not layout.endswith(", " + words):
            yield name, f"plan says '{layout}', not '{words}'"


def main(carat, archive):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        root = unpack(archive, folder)
        all_ = list(verdicts(carat, root, Path(out)))
        wrong = [(f"{name}, {label}", x) for name, label, _, sentences in all_ for x in sentences]
        wrong += plans(carat, root, Path(out))
    for label, sentence in wrong:
        print(f"{label}: {sentence}")
    print(f"{len(all_)} neighbouring layouts, {len(PLANS)} plans, {len(wrong)} not as expected")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
