#!/usr/bin/env python3
"""check_random.py CARAT DATA LIBRARY [SEED [COUNT]] - layouts at random, against NumPy

Gemma 4 models of odd sizes, whose matrices are stored in one of the ways of random_numbers.py, under
one of the prefixes, in one of the containers, with experts in one of their forms and perhaps an
adapter on top: what carat makes of it in F32 is the truth to the last bits. Any COUNT and SEED; a
failed case is named by its own seed.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "variants"))
from gguf_file import Gguf
from names import gguf_name
from random_adapters import Adapter
from weight_files import write_npz, write_safetensors, write_torch
from random_numbers import STACKS, WAYS, number

PREFIXES = ["model.language_model.", "language_model.model.", "model.", "", "model.language_model.model.",
            "module.model.language_model.", "_orig_mod.model.language_model.",
            "base_model.model.model.language_model."]


def pick(rng, *of):
    return of[int(rng.integers(len(of)))]


# ---- the model ----

def layer_kinds(rng, layers):
    """Kinds of attention, the last one full, and how many layers may share keys and values."""
    full = [bool(rng.integers(3) == 0) for _ in range(layers - 1)] + [True]
    if rng.integers(4) == 0: # every sixth: what a config that says nothing means
        full = [i % 6 == 5 or i == layers - 1 for i in range(layers)]
    most = 0
    while most < layers - 1 and all(k in full[:layers - most - 1] for k in full[layers - most - 1:]):
        most += 1
    return ["full_attention" if f else "sliding_attention" for f in full], most


def make_config(rng, base):
    config = json.loads(json.dumps(base))
    t = config["text_config"]
    heads = pick(rng, 1, 2, 4, 6, 8)
    divisors = [k for k in (1, 2, 3, 4) if heads % k == 0]
    moe, k_eq_v = bool(rng.integers(3) == 0), bool(rng.integers(3) == 0)
    layers = pick(rng, 1, 2, 3, 4, 5, 7)
    types, most = layer_kinds(rng, layers)
    shared = int(rng.integers(0, most + 1)) if rng.integers(2) else 0
    wide = pick(rng, 8, 16, 32, 64)
    t.update(hidden_size=pick(rng, 32, 40, 64, 72, 96, 128, 160), intermediate_size=pick(rng, 32, 48, 64, 96, 128, 200),
             num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=pick(rng, *divisors),
             num_global_key_value_heads=pick(rng, *divisors) if k_eq_v else None, head_dim=wide,
             global_head_dim=pick(rng, 2 * wide, wide), layer_types=types,
             num_kv_shared_layers=shared, use_double_wide_mlp=bool(shared and rng.integers(2)),
             attention_k_eq_v=k_eq_v, hidden_size_per_layer_input=0 if moe else pick(rng, 0, 8, 16, 32),
             enable_moe_block=moe, num_experts=pick(rng, 2, 3, 5) if moe else None,
             top_k_experts=2 if moe else None)
    t["moe_intermediate_size"] = pick(rng, 16, 24, 32, 64) if moe else None
    return config


def respell(rng, config):
    """The same model as other releases and tools write it."""
    t = config["text_config"]
    full = [i for i, k in enumerate(t["layer_types"]) if k == "full_attention"]
    if rng.integers(3) == 0: # transformers 5.23 names the full layers one by one
        own = {"head_dim": t.pop("global_head_dim")}
        if t.pop("num_global_key_value_heads"):
            own["num_key_value_heads"] = config["kv"]
        t["per_layer_config"] = {str(i): own for i in full}
    if full == [i for i in range(len(t["layer_types"])) if i % 6 == 5 or i == len(t["layer_types"]) - 1] and \
            rng.integers(2):
        del t["layer_types"]
    if t["enable_moe_block"] and rng.integers(3) == 0:
        t["expert_intermediate_size"] = t.pop("moe_intermediate_size")
    del config["kv"]
    if rng.integers(4):
        return config
    flat = {k: v for k, v in config.items() if k.startswith("quantization")}
    return {**flat, **t, "model_type": "gemma4_text", "architectures": ["Gemma4ForCausalLM"]}


def shapes(t):
    """canonical name -> shape"""
    h, out = t["hidden_size"], {}
    ple, layers = t["hidden_size_per_layer_input"], t["num_hidden_layers"]
    out["embed_tokens.weight"], out["norm.weight"] = (t["vocab_size"], h), (h,)
    if ple:
        out["embed_tokens_per_layer.weight"] = (t["vocab_size"], layers * ple)
        out["per_layer_model_projection.weight"] = (layers * ple, h)
        out["per_layer_projection_norm.weight"] = (ple,)
    for i in range(layers):
        full = t["layer_types"][i] == "full_attention"
        d = t["global_head_dim" if full else "head_dim"]
        kv = t["num_key_value_heads"]
        if full and t["attention_k_eq_v"]:
            kv = t["num_global_key_value_heads"]
        dead = i >= layers - t["num_kv_shared_layers"]
        ff = t["intermediate_size"] * (2 if dead and t["use_double_wide_mlp"] else 1)
        q = t["num_attention_heads"] * d
        own = {"input_layernorm.weight": (h,), "post_attention_layernorm.weight": (h,),
               "pre_feedforward_layernorm.weight": (h,), "post_feedforward_layernorm.weight": (h,),
               "layer_scalar": (1,), "self_attn.q_proj.weight": (q, h), "self_attn.o_proj.weight": (h, q),
               "self_attn.q_norm.weight": (d,), "mlp.gate_proj.weight": (ff, h),
               "mlp.up_proj.weight": (ff, h), "mlp.down_proj.weight": (h, ff)}
        if not dead:
            own.update({"self_attn.k_proj.weight": (kv * d, h), "self_attn.k_norm.weight": (d,)})
            if not (full and t["attention_k_eq_v"]):
                own["self_attn.v_proj.weight"] = (kv * d, h)
        if ple:
            own.update({"per_layer_input_gate.weight": (ple, h), "per_layer_projection.weight": (h, ple),
                        "post_per_layer_input_norm.weight": (h,)})
        if t["enable_moe_block"]:
            e, f = t["num_experts"], t["moe_intermediate_size"]
            own.update({"pre_feedforward_layernorm_2.weight": (h,), "post_feedforward_layernorm_1.weight": (h,),
                        "post_feedforward_layernorm_2.weight": (h,), "router.proj.weight": (e, h),
                        "router.scale": (h,), "router.per_expert_scale": (e,),
                        "experts.gate_up_proj": (e, 2 * f, h), "experts.down_proj": (e, h, f)})
        out.update({f"layers.{i}.{n}": s for n, s in own.items()})
    return out


class Case:
    def __init__(self, seed, base):
        self.rng = rng = np.random.default_rng(seed)
        self.config = make_config(rng, base)
        self.grow_vocabulary()
        self.shapes = shapes(self.config["text_config"])
        self.stored, self.truth, self.words = {}, {}, []
        self.way, self.files = pick(rng, None, *WAYS), {}
        self.metadata = {"format": "pt"}
        self.prefix = pick(rng, *PREFIXES)
        self.choose_way()
        for name, shape in self.shapes.items():
            self.fill(name, shape)
        self.add_dead()

    def grow_vocabulary(self):
        """Rows and tokens behind the model's own; rows without a token, as padding leaves them."""
        t = self.config["text_config"]
        self.rows = int(pick(self.rng, 0, 0, 0, 1, 5, 64))
        self.added = [(t["vocab_size"] + i, f"<added {i}>", bool(self.rng.integers(2)))
                      for i in range(int(self.rng.integers(0, min(self.rows, 9) + 1)))]
        t["vocab_size"] += self.rows
        t["vocab_size_per_layer_input"] += self.rows

    def write_tokenizer(self, folder):
        path = os.path.join(folder, "tokenizer.json")
        with open(path, encoding="utf-8") as f:
            tree = json.load(f)
        os.remove(path)
        tree["added_tokens"] += [{"id": i, "content": text, "special": special, "single_word": False,
                                  "lstrip": False, "rstrip": False, "normalized": not special}
                                 for i, text, special in self.added]
        merges = tree["model"]["merges"]
        if self.rng.integers(2): # as older releases write them
            tree["model"]["merges"] = [" ".join(m) for m in merges] if isinstance(merges[0], list) else \
                [m.split(" ") for m in merges]
        with open(path, "w", encoding="utf-8") as f:
            json.dump(tree, f, ensure_ascii=bool(self.rng.integers(2)))

    def choose_way(self):
        if not self.way:
            return
        self.store, settings = WAYS[self.way]
        said, self.own = settings(self.rng)
        self.words.append(f"{self.way} {({k: v for k, v in self.own.items() if k not in ('way', 'said')})}")
        key = "quantization" if self.way == "mlx" else "quantization_config"
        where = self.config if self.rng.integers(3) or self.way == "mlx" else self.config["text_config"]
        if self.way == "modelopt" and self.rng.integers(2):
            self.files["hf_quant_config.json"] = {"producer": {"name": "modelopt"}, "quantization": said}
        else:
            where[key] = said
        if self.way == "mlx" and self.rng.integers(2):
            self.config["quantization_config"] = said
        self.said = said

    def plain(self, name, x):
        stored, value = number(x, pick(self.rng, "BF16", "BF16", "F16", "F32", "F64"))
        self.stored[name] = stored
        return value

    def matrix(self, name, shape):
        """A 2-D linear under its full name: stored some way; its values."""
        rng = self.rng
        if self.way and not name.endswith("router.proj.weight") and rng.integers(8) and len(shape) == 2:
            made = self.store(rng, name.removesuffix(".weight"), shape, self.own)
            if made:
                self.stored.update(made[0])
                return made[1]
        if self.way == "mlx" and rng.integers(2):
            self.said[name.removesuffix(".weight")] = False
        return self.plain(name, rng.normal(0, .05, shape))

    def fill(self, name, shape):
        full = self.prefix + name
        if "experts." in name:
            self.truth[name] = self.experts(full, shape)
        elif name.startswith("embed_tokens"):
            quantizes = self.way == "mlx"
            self.truth[name] = self.matrix(full, shape) if quantizes else \
                self.plain(full, self.rng.normal(0, .05, shape))
        elif len(shape) == 2:
            self.truth[name] = self.matrix(full, shape)
        else:
            self.truth[name] = self.plain(full, self.rng.normal(1, .2, shape))

    def add_dead(self):
        """Keys and values that nothing reads, where a checkpoint keeps them."""
        t = dict(self.config["text_config"], num_kv_shared_layers=0)
        for name, shape in shapes(t).items():
            if name not in self.shapes and "self_attn" in name and self.rng.integers(3) == 0:
                self.plain(self.prefix + name, self.rng.normal(0, .05, shape))

    def experts(self, name, shape):
        e, out, n = shape
        at = name[:name.index("experts.")] + "experts"
        if not hasattr(self, "form"):
            forms = ["unfused", "fused"] if self.way in STACKS else \
                ["unfused"] if self.way and self.way not in ("mlx",) else \
                ["unfused", "switch", "fused", "fused", "dot", "turned"]
            self.form = pick(self.rng, *forms)
            t = self.config["text_config"]
            hidden, inner = t["hidden_size"], t["moe_intermediate_size"]
            if self.form == "turned" and (self.way or hidden in (inner, 2 * inner)):
                self.form = "switch"
            self.words.append(f"experts {self.form}")
        projections = ["gate_proj", "up_proj"] if "gate_up" in name else ["down_proj"]
        rows = out // len(projections)
        if self.form == "unfused":
            parts = [[self.matrix(f"{at}.{i}.{p}.weight", (rows, n)) for p in projections] for i in range(e)]
            return np.array([np.concatenate(x) for x in parts])
        if self.form == "switch":
            parts = [self.stack(f"{at}.switch_glu.{p}.weight", (e, rows, n)) for p in projections]
            return np.concatenate(parts, 1)
        made = STACKS[self.way](self.rng, name, shape, self.own) if self.way in STACKS else None
        if made:
            self.stored.update(made[0])
            return made[1]
        x = self.rng.normal(0, .05, shape)
        if self.form == "turned" and out != n:
            return np.transpose(self.plain(name, np.transpose(x, (0, 2, 1))), (0, 2, 1))
        return self.plain(name + (".weight" if self.form == "dot" else ""), x)

    def stack(self, name, shape):
        e, rows, n = shape
        made = self.way and self.store(self.rng, name.removesuffix(".weight"), (e * rows, n), self.own)
        if not made:
            return self.plain(name, self.rng.normal(0, .05, shape))
        self.stored.update({k: (d, x.reshape(e, rows, *x.shape[1:])) for k, (d, x) in made[0].items()})
        return made[1].reshape(shape)

    # ---- adapters ----

    def adapters(self, work):
        """Options that merge one, two or three adapters, each into what the one before made."""
        options = []
        for i in range(pick(self.rng, 1, 1, 2, 3)):
            ad = Adapter(self.rng, self.truth, getattr(self, "form", "") != "turned")
            options += ["--lora", ad.write(os.path.join(work, f"adapter-{i}"))]
            self.words.append(" ".join(ad.words))
        return options

    # ---- files ----

    def write(self, folder, base_folder):
        rng = self.rng
        os.makedirs(folder)
        for name in os.listdir(base_folder):
            if name.startswith(("tokenizer", "generation", "chat")):
                os.symlink(os.path.realpath(os.path.join(base_folder, name)), os.path.join(folder, name))
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
            json.dump(respell(rng, json.loads(json.dumps(
                {**self.config, "kv": self.config["text_config"]["num_global_key_value_heads"]}))), f)
        if self.rows:
            self.write_tokenizer(folder)
        for name, content in self.files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                json.dump(content, f)
        kinds = {d for d, _ in self.stored.values()}
        files = ["one", "one", "shards", "consolidated"]
        if not kinds & {"U32", "F8_E4M3"}:
            files += ["bin", "bin", "bins"]
        if not kinds & {"BF16", "F8_E4M3"}:
            files += ["npz", "npz"]
        how = pick(rng, *files)
        self.words.append(f"{how}, prefix '{self.prefix}'")
        names = list(self.stored)
        rng.shuffle(names)
        tensors = {n: self.stored[n] for n in names}
        at = lambda name: os.path.join(folder, name)
        if how == "one":
            write_safetensors(at("model.safetensors"), tensors, pick(rng, None, self.metadata), bool(rng.integers(2)))
        elif how == "consolidated":
            write_safetensors(at("consolidated.safetensors"), tensors)
        elif how == "bin":
            write_torch(at("pytorch_model.bin"), tensors, rng, pick(rng, None, None, "state_dict", "model"),
                        pick(rng, 2, 2, 4))
        elif how == "npz":
            write_npz(at("weights.npz"), tensors, bool(rng.integers(2)))
        else:
            self.write_many(at, names, tensors, how)

    def write_many(self, at, names, tensors, how):
        n, index = int(self.rng.integers(2, 6)), {}
        stem, end = ("model", "safetensors") if how == "shards" else ("pytorch_model", "bin")
        for i in range(n):
            file = f"{stem}-{i + 1:05d}-of-{n:05d}.{end}"
            own = {k: tensors[k] for k in names[i::n]}
            if how == "shards":
                write_safetensors(at(file), own)
            else:
                write_torch(at(file), own, self.rng)
            index.update((k, file) for k in own)
        with open(at(f"{stem}.{end}.index.json"), "w", encoding="utf-8") as f:
            json.dump({"metadata": {"total_size": 1}, "weight_map": index}, f)


def convert(source, work, *options):
    out = os.path.join(work, "out.gguf")
    done = subprocess.run([CARAT, "convert", source, "-o", out, "--type", "F32", "--ple", "inline", "-t", "1",
                           "--force", "--quiet", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        return None, f"{done.returncode}: {done.stderr.strip()[-400:]}"
    model = Gguf(out)
    return {n: np.frombuffer(raw, "<f4") if kind == "F32" else kind
            for n, (kind, _, raw) in model.tensors.items()} | {"metadata": model.metadata}, None


def judge(case, got):
    for name, want in case.truth.items():
        x = got.get(gguf_name(name))
        if x is None or isinstance(x, str) or x.size != want.size:
            return f"{name}: {x if x is None or isinstance(x, str) else x.size}, not {want.shape}"
        far = np.abs(x.astype("f8") - want.reshape(-1)).max() / np.abs(want).max()
        if not far <= 2e-6:
            return f"{name} is {far:.2g} off"
    return judge_vocabulary(case, got["metadata"])


def judge_vocabulary(case, metadata):
    """A token for each row; those added by their text and kind (3 control, 4 user's), unused ones else."""
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    n = case.config["text_config"]["vocab_size"]
    if len(tokens) != n:
        return f"{len(tokens)} tokens for {n} rows"
    for i, text, special in case.added:
        if (tokens[i], kinds[i]) != (text, 3 if special else 4):
            return f"token {i} is {tokens[i]} of kind {kinds[i]}, not {text}"
    unused = range(n - case.rows + len(case.added), n)
    return next((f"token {i} is of kind {kinds[i]}, not unused" for i in unused if kinds[i] != 5), None)


def decode(kind, raw):
    """Q4_0, Q4_1 and Q8_0 as f32"""
    size, n_head = {"Q4_0": (18, 2), "Q4_1": (20, 4), "Q8_0": (34, 2)}[kind]
    blocks = np.frombuffer(raw, "u1").reshape(-1, size)
    head = np.ascontiguousarray(blocks[:, :n_head]).view("<f2").astype("<f4")
    body = blocks[:, n_head:]
    if kind == "Q8_0":
        return (body.view("i1") * head[:, :1]).reshape(-1)
    codes = np.concatenate([body & 15, body >> 4], 1).astype("<f4")
    return ((codes - 8) * head[:, :1] if kind == "Q4_0" else codes * head[:, :1] + head[:, 1:]).reshape(-1)


def judge_exact(case, folder, work, options):
    """What a plan calls exact is: codes and scales of the source."""
    said = subprocess.run([CARAT, "plan", folder, "--json", "--type", "Q4_0", "--quiet", *options],
                          capture_output=True, text=True, check=False)
    exact = {t["name"]: t["type"] for t in json.loads(said.stdout)["tensors"] if t["why"].startswith("exact")}
    out = os.path.join(work, "q.gguf")
    done = subprocess.run([CARAT, "convert", folder, "-o", out, "--type", "Q4_0", "--ple", "inline", "-t", "1",
                           "--quiet", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        return 0, f"Q4_0: {done.stderr.strip()[-300:]}"
    tensors, n = Gguf(out).tensors, 0
    for name, want in case.truth.items():
        kind, _, raw = tensors[gguf_name(name)]
        if gguf_name(name) not in exact or kind not in ("Q4_0", "Q4_1", "Q8_0"):
            continue
        n += 1
        far = np.abs(decode(kind, raw) - want.reshape(-1)).max()
        if far > (1e-6 * np.abs(want).max() if kind == "Q4_1" else 0):
            return n, f"{name}: called exact as {kind}, and {far:.2g} off"
    return n, None


def main(seed, count):
    base_folder = os.path.join(DATA, "golden", "e2b")
    with open(os.path.join(base_folder, "config.json"), encoding="utf-8") as f:
        base = json.load(f)
    bad = n_exact = 0
    for i in range(seed, seed + count):
        with tempfile.TemporaryDirectory() as work:
            case = Case(i, base)
            folder = os.path.join(work, "model")
            options = case.adapters(work) if case.rng.integers(3) == 0 else []
            case.write(folder, base_folder)
            got, refusal = convert(folder, work, *options)
            wrong = refusal or judge(case, got)
            if not wrong and case.way and not options:
                n, wrong = judge_exact(case, folder, work, options)
                n_exact += n
            if wrong:
                bad += 1
                print(f"FAIL  {i}: {'; '.join(case.words)}\n      {wrong}", flush=True)
    print(f"{count} random layouts from {seed} on, {bad} not as expected; {n_exact} tensors re-packed exactly")
    return 1 if bad else 0


CARAT, DATA, LIBRARY = sys.argv[1:4]
if __name__ == "__main__":
    sys.exit(main(*(int(x) for x in (sys.argv[4:] + ["1", "100"][len(sys.argv) - 4:]))))
