#!/usr/bin/env python3
"""check_layouts.py CARAT DATA LIBRARY - layouts made on the spot from the golden members

The weights of a golden member, stored another way by NumPy: other shards, names, types, quantizers,
adapters. What carat makes of each, in F32 and read by gguf-py, is what NumPy says it must be.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

from weight_files import write_safetensors
from tensors import read_safetensors

failures = []
SEED = 20260917
PREFIX = "model.language_model."
DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I32": "<i4", "U8": "u1", "I64": "<i8",
          "F8_E8M0": "u1", "I8": "i1"}


def expect(holds, sentence):
    print(("ok    " if holds else "FAIL  ") + sentence)
    if not holds:
        failures.append(sentence)


def to_bf16(x):
    """The bits of the nearest bfloat16, ties to even."""
    bits = np.asarray(x, "<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def from_bf16(bits):
    return (bits.astype("<u4") << 16).view("<f4")


def store(x, dtype):
    """(dtype, array) as a file holds it."""
    return dtype, to_bf16(x) if dtype == "BF16" else np.ascontiguousarray(x, DTYPES[dtype])


class Base:
    def __init__(self, member):
        self.folder = os.path.join(DATA, "golden", member)
        self.tensors = {n: x for n, x in read_safetensors(
            os.path.join(self.folder, "model.safetensors")).items() if n.startswith(PREFIX)}
        with open(os.path.join(self.folder, "config.json"), encoding="utf-8") as f:
            self.config = json.load(f)

    def write(self, folder, tensors, config=None, shards=1):
        """tensors: name -> (dtype, array); the rest of a checkpoint is the member's."""
        os.makedirs(folder)
        for name in os.listdir(self.folder):
            if name.startswith(("tokenizer", "generation", "chat")):
                shutil.copy(os.path.join(self.folder, name), folder)
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config or self.config, f)
        names = list(tensors)
        if shards == 1:
            write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
            return
        index = {}
        for i in range(shards):
            file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
            own = {n: tensors[n] for n in names[i::shards]}
            write_safetensors(os.path.join(folder, file), own)
            index.update((n, file) for n in own)
        with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
            json.dump({"metadata": {}, "weight_map": index}, f)


def convert(source, work, *options):
    """name -> float32 array of what carat makes, or the sentence of its refusal"""
    out = os.path.join(work, "out.gguf")
    done = subprocess.run([CARAT, "convert", source, "-o", out, "--type", "F32", "--ple", "inline",
                           "--keep-dead", "--force", "--quiet", *options], capture_output=True,
                          text=True, check=False)
    if done.returncode < 0 or done.returncode > 2:
        return f"ended with {done.returncode}: {done.stderr[-300:]}"
    if done.returncode:
        lines = [x for x in done.stderr.splitlines() if ": warning: " not in x]
        return lines[0] if len(lines) == 1 else f"{len(lines)} lines: {done.stderr[-500:]}"
    return {t.name: dequantize(t.data, t.tensor_type).astype("<f4").reshape(
        [int(n) for n in reversed(t.shape)]) for t in GGUFReader(out).tensors}


def gguf_name(name):
    """GGUF's name of a matrix that is changed here."""
    name = name.removeprefix(PREFIX)
    table = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down"}
    parts = name.split(".")
    if parts[0] == "embed_tokens":
        return "token_embd.weight"
    return f"blk.{parts[1]}.{table['.'.join(parts[2:4])]}.weight"


# ---- quantizers: (tensors that take a matrix's place, what they decode to) ----

def pack_bits(codes, bits, axis):
    """Codes along an axis as a string of bits in 32-bit words, lowest first."""
    codes = np.moveaxis(codes.astype(np.uint64), axis, -1)
    n = codes.shape[-1]
    flat = ((codes[..., None] >> np.arange(bits, dtype=np.uint64)) & 1).reshape(
        *codes.shape[:-1], n * bits)
    words = (flat.reshape(*flat.shape[:-1], -1, 32) << np.arange(32, dtype=np.uint64)).sum(-1)
    return np.moveaxis(words.astype("<u4").view("<i4"), -1, axis)


def affine_codes(w, bits, group):
    """w {out, in}: codes, scales and zeros {out, groups}"""
    n_out, n_in = w.shape
    g = w.reshape(n_out, n_in // group, group)
    low, high = np.minimum(g.min(-1), 0), np.maximum(g.max(-1), 0)
    top = 2 ** bits - 1
    scale = np.maximum((high - low) / top, 1e-8).astype("<f2").astype("<f4")
    zero = np.clip(np.rint(-low / scale), 1, top)
    codes = np.clip(np.rint(g / scale[..., None]) + zero[..., None], 0, top)
    value = ((codes - zero[..., None]).astype("<f4") * scale[..., None]).reshape(n_out, n_in)
    return codes.reshape(n_out, n_in), scale, zero, value


def gptq(name, w, bits, group, v2=False):
    group = w.shape[1] if group == -1 else group
    codes, scale, zero, value = affine_codes(w, bits, group)
    at = name.removesuffix("weight")
    return {at + "qweight": ("I32", pack_bits(codes.T, bits, 0)),
            at + "qzeros": ("I32", pack_bits((zero.T - (0 if v2 else 1)) % 2 ** bits, bits, 1)),
            at + "scales": store(scale.T, "F16"),
            at + "g_idx": ("I32", (np.arange(w.shape[1]) // group).astype("<i4"))}, value


def awq(name, w, group):
    codes, scale, zero, value = affine_codes(w, 4, group)
    at, order = name.removesuffix("weight"), [0, 2, 4, 6, 1, 3, 5, 7]

    def pack(x):
        return pack_bits(x.reshape(x.shape[0], -1, 8)[:, :, order].reshape(x.shape), 4, 1)
    return {at + "qweight": ("I32", pack(codes.T)), at + "qzeros": ("I32", pack(zero.T)),
            at + "scales": store(scale.T, "F16")}, value


NF4 = np.array([-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
                0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
                0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1], "<f4")


def bnb(name, w, block):
    flat = w.reshape(-1, block)
    absmax = np.abs(flat).max(-1)
    codes = np.abs(flat[..., None] / absmax[:, None, None] - NF4).argmin(-1).reshape(-1)
    state = json.dumps({"quant_type": "nf4", "blocksize": block, "dtype": "float32",
                        "shape": list(w.shape)}).encode()
    packed = (codes[0::2] << 4 | codes[1::2]).astype("u1")
    return {name: ("U8", packed[:, None]), name + ".absmax": ("F32", absmax),
            name + ".quant_map": ("F32", NF4),
            name + ".quant_state.bitsandbytes__nf4": ("U8", np.frombuffer(state, "u1"))}, (
                NF4[codes].reshape(-1, block) * absmax[:, None]).reshape(w.shape)


def mlx(name, w, bits, group, dtype):
    n_out, n_in = w.shape
    g = w.reshape(n_out, -1, group)
    low, high = g.min(-1), g.max(-1)
    scale, bias = ((high - low) / (2 ** bits - 1)), low
    if dtype == "BF16":
        scale, bias = from_bf16(to_bf16(scale)), from_bf16(to_bf16(bias))
    else:
        scale, bias = scale.astype("<f2").astype("<f4"), bias.astype("<f2").astype("<f4")
    codes = np.clip(np.rint((g - bias[..., None]) / np.maximum(scale[..., None], 1e-9)), 0,
                    2 ** bits - 1)
    at = name.removesuffix("weight")
    return {name: ("U32", pack_bits(codes.reshape(n_out, n_in), bits, 1).view("<u4")),
            at + "scales": store(scale, dtype), at + "biases": store(bias, dtype)}, (
                codes.astype("<f4") * scale[..., None] + bias[..., None]).reshape(n_out, n_in)


def quantized(base, quantizer, config, which):
    """The checkpoint with the matrices that `which` picks quantized, and what they decode to."""
    tensors, want = {}, {}
    for name, x in base.tensors.items():
        if x.ndim == 2 and which(name):
            parts, value = quantizer(name, x)
            tensors.update(parts)
            want[gguf_name(name)] = value
        else:
            tensors[name] = store(x, "BF16")
    return tensors, want, dict(base.config, **config)


# ---- adapters ----

def adapter(base, folder, rng, names, config, dtype="F32", rank=4, infix=""):
    """A LoRA on the named modules; what each adds, without its scale"""
    os.makedirs(folder)
    tensors, delta = {}, {}
    for name in names:
        w = base.tensors[name]
        a, b = rng.normal(0, 0.1, (rank, w.shape[1])), rng.normal(0, 0.1, (w.shape[0], rank))
        a, b = store(a, dtype), store(b, dtype)
        at = "base_model.model." + name.removesuffix("weight")
        tensors[f"{at}lora_A{infix}.weight"], tensors[f"{at}lora_B{infix}.weight"] = a, b
        wide = from_bf16 if dtype == "BF16" else lambda x: x.astype("<f4")
        delta[name] = wide(b[1]).astype("f8") @ wide(a[1]).astype("f8")
    write_safetensors(os.path.join(folder, "adapter_model.safetensors"), tensors)
    with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as f:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj"],
                   **config}, f)
    return delta


# ---- checks ----

def compare(label, got, want, tolerance):
    """Every wanted tensor within tolerance * max|w|"""
    if isinstance(got, str):
        expect(False, f"{label}: refused: {got}")
        return
    far, worst = 0.0, None
    for name, w in want.items():
        if name not in got or got[name].shape != w.shape:
            expect(False, f"{label}: {name} is {got.get(name, np.zeros(0)).shape}, not {w.shape}")
            return
        d = np.abs(got[name].astype("f8") - w).max() / max(np.abs(w).max(), 1e-30)
        if not d <= far:
            far, worst = d, name
    expect(far <= tolerance, f"{label}: {len(want)} tensors, {far:.2g} off" + (f" ({worst})" if worst else ""))


def refused(label, got, words):
    expect(isinstance(got, str) and words in got, f"{label}: refused: "
           f"{got if isinstance(got, str) else 'no, converted'}")


def check_containers(base, truth, at, work):
    rename = {
        "bare": lambda n: n.removeprefix(PREFIX),
        "model.": lambda n: "model." + n.removeprefix(PREFIX),
        "language_model.model.": lambda n: "language_model.model." + n.removeprefix(PREFIX),
        "module.": lambda n: "module." + n,
        "base_model.model.": lambda n: "base_model.model." + n,
    }
    for label, f in rename.items():
        folder = at("names")
        base.write(folder, {f(n): store(x, "BF16") for n, x in base.tensors.items()}, shards=3)
        compare(f"names {label} in 3 shards", convert(folder, work), truth, 0)
    for i, shards in enumerate((2, 7, 41)):
        folder = at("shards")
        names = list(base.tensors)
        np.random.default_rng(SEED + i).shuffle(names)
        mixed = {n: store(base.tensors[n], ("BF16", "F32")[k % 2]) for k, n in enumerate(names)}
        base.write(folder, mixed, shards=shards)
        compare(f"BF16 and F32 by turns, shuffled, {shards} shards", convert(folder, work), truth, 0)


def check_quantizers(base, at, work):
    linear = lambda n: "_proj.weight" in n and "layers." in n and "per_layer" not in n
    some = lambda n: linear(n) and ".mlp." in n
    for bits, group, v2 in ((4, 16, False), (4, -1, False), (8, 16, False), (2, 16, False),
                            (4, 48, True), (3, 32, False)):
        config = {"quantization_config": {"quant_method": "gptq", "bits": bits, "group_size": group,
                                          "sym": False, "desc_act": False,
                                          "checkpoint_format": "gptq_v2" if v2 else "gptq"}}
        fits = lambda n: linear(n) and (group == -1 or base.tensors[n].shape[1] % group == 0) and (
            all(s * bits % 32 == 0 for s in base.tensors[n].shape))
        tensors, want, config = quantized(
            base, lambda n, w: gptq(n, w, bits, group, v2), config, fits)
        if not want:
            continue
        folder = at("gptq")
        base.write(folder, tensors, config)
        compare(f"GPTQ {bits} bits, groups of {group}{', v2' if v2 else ''}", convert(folder, work),
                want, 1e-6)
    for group in (16, 64):
        fits = lambda n: linear(n) and base.tensors[n].shape[1] % group == 0
        config = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": group,
                                          "zero_point": True, "version": "gemm"}}
        tensors, want, config = quantized(base, lambda n, w: awq(n, w, group), config, fits)
        if want:
            folder = at("awq")
            base.write(folder, tensors, config)
            compare(f"AWQ, groups of {group}", convert(folder, work), want, 1e-6)
    for block in (64, 128, 256):
        fits = lambda n: some(n) and base.tensors[n].size % block == 0
        config = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True,
                                          "bnb_4bit_quant_type": "nf4"}}
        tensors, want, config = quantized(base, lambda n, w: bnb(n, w, block), config, fits)
        folder = at("bnb")
        base.write(folder, tensors, config, shards=2)
        compare(f"NF4, blocks of {block}", convert(folder, work), want, 1e-6)
    for bits, group, dtype in ((8, 32, "BF16"), (4, 64, "F16"), (2, 32, "F16"), (3, 32, "BF16"),
                               (6, 32, "F16"), (5, 32, "BF16")):
        fits = lambda n: linear(n) and base.tensors[n].shape[1] % group == 0
        config = {"quantization": {"bits": bits, "group_size": group}}
        tensors, want, config = quantized(base, lambda n, w: mlx(n, w, bits, group, dtype), config,
                                          fits)
        folder = at("mlx")
        base.write(folder, tensors, config)
        compare(f"MLX {bits} bits, groups of {group}, scales {dtype}", convert(folder, work), want,
                1e-6)


def check_adapters(base, truth, at, work):
    rng = np.random.default_rng(SEED)
    names = [n for n in base.tensors if n.endswith(("q_proj.weight", "down_proj.weight"))]
    model = at("adapted")
    base.write(model, {n: store(x, "BF16") for n, x in base.tensors.items()})
    cases = [
        ("rank 1, F16", {}, "F16", 1, 8.0),
        ("rank 64, rslora", {"use_rslora": True}, "F32", 64, 1.0),
        ("alpha 0", {"lora_alpha": 0}, "F32", 4, 0.0),
        ("alpha 2.5, BF16", {"lora_alpha": 2.5}, "BF16", 4, 0.625),
    ]
    for label, config, dtype, rank, scale in cases:
        folder = at("lora")
        delta = adapter(base, folder, rng, names, config, dtype, rank, "")
        want = {gguf_name(n): truth[gguf_name(n)].astype("f8") + scale * d for n, d in delta.items()}
        compare(f"LoRA {label}", convert(model, work, "--lora", folder), want, 1e-5)
    first, second = at("lora"), at("lora")
    deltas = [adapter(base, f, rng, names, {}, "F32", 4, i) for f, i in ((first, ".default"), (second, ""))]
    want = {gguf_name(n): truth[gguf_name(n)].astype("f8") + 2 * (0.5 * d - 1.5 * deltas[1][n])
            for n, d in deltas[0].items()}
    compare("two adapters, one taken away",
            convert(model, work, "--lora", first + ":0.5", "--lora", second + ":-1.5"), want, 1e-5)
    for label, config, words in (
            ("of type LOHA without tensors", {"peft_type": "LOHA"}, "hada_w1_a is missing"),
            ("with r as text", {"r": "four"}, "r"),
            ("with alpha NaN as text", {"lora_alpha": "NaN"}, "lora_alpha"),
            ("with rank_pattern that is no pattern", {"rank_pattern": {"(": 4}}, "rank_pattern"),
            ("with a config of its own kind", {"use_sparkling": True}, "use_sparkling")):
        folder = at("lora")
        adapter(base, folder, rng, names[:1], config)
        refused(f"LoRA {label}", convert(model, work, "--lora", folder), words)


def check_experts(base, truth, at, work):
    """Fused experts stored {E, in, out}."""
    tensors = {}
    for n, x in base.tensors.items():
        fused = ".experts." in n and x.ndim == 3
        tensors[n] = store(x.transpose(0, 2, 1) if fused else x, "BF16")
    folder = at("experts")
    base.write(folder, tensors, shards=2)
    compare("experts stored {E, in, out}", convert(folder, work), truth, 0)


def main():
    with tempfile.TemporaryDirectory() as work:
        n_made = 0

        def at(name):
            nonlocal n_made
            n_made += 1
            return os.path.join(work, f"{n_made}-{name}")
        base = Base("e2b")
        truth = convert(base.folder, work)
        check_containers(base, truth, at, work)
        check_adapters(base, truth, at, work)
        check_quantizers(Base("31b"), at, work)
        base = Base("26b-a4b")
        check_experts(base, convert(base.folder, work), at, work)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


CARAT, DATA, LIBRARY = sys.argv[1:4]
if __name__ == "__main__":
    sys.exit(main())
