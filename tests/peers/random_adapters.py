"""random_adapters.py - adapters of every kind on a model, at random, and what they make of it

Each way takes the canonical name and the f64 matrix of a module and gives the tensors of its file
and the changed matrix. Formulas: PEFT 0.21 (merge_and_unload), mlx-lm (fuse).
"""
import json
import os

import numpy as np

from random_numbers import number
from weight_files import write_safetensors, write_torch


def pick(rng, *of):
    return of[int(rng.integers(len(of)))]


def factor_pair(rng, n):
    """Two factors of n."""
    fits = [f for f in range(1, n + 1) if n % f == 0]
    a = pick(rng, *fits)
    return a, n // a


class Adapter:
    """One adapter: its configuration, its tensors and a scale of the user's."""

    def __init__(self, rng, truth, fused=True, has_head=True):
        self.rng, self.truth, self.fused, self.has_head = rng, truth, fused, has_head
        self.kind = pick(rng, "LORA", "LORA", "LORA", "LORA", "LOHA", "LOKR", "IA3", "OFT", "VERA", "MLX")
        self.dtype = pick(rng, "F32", "F32", "BF16", "F16")
        self.tensors, self.changed, self.words = {}, {}, []
        self.infix = pick(rng, "", ".default")
        self.top = pick(
            rng, "base_model.model.model.", "base_model.model.model.language_model.", "base_model.model.",
            "base_model.model.language_model.model.")
        self.rank, self.alpha = pick(rng, 1, 2, 3, 5, 8, 17, 40), pick(rng, 1, 4.5, 16, 32)
        self.dora = self.kind in ("LORA", "MLX") and bool(rng.integers(4) == 0)
        self.rs = self.kind == "LORA" and bool(rng.integers(2))
        self.ranks, self.alphas, self.says_version = {}, {}, False
        if self.kind in ("LORA", "LOHA", "LOKR") and rng.integers(3) == 0:
            self.ranks = {pick(rng, "q_proj", "mlp.up_proj", r".*\.0\..*proj", "layers.1.self_attn.o_proj"): 4}
            self.alphas = {pick(rng, "down_proj", r".*self_attn.*", "gate_proj"): 7}
        self.strength = 1 if self.kind in ("IA3", "OFT") else pick(rng, 1, 1, 0.5, -2)
        self.choose()

    def draw(self, *shape, size=.3, middle=0):
        return number(self.rng.normal(middle, size, shape), self.dtype)

    # ---- what r and alpha a module has ----

    def of(self, patterns, common, path):
        import re
        for key, value in patterns.items():
            if re.match(rf"^(.*\.)?({key})$", path):
                return value
        return common

    def scale(self, path):
        r = self.of(self.ranks, self.rank, path)
        if self.kind == "MLX":
            return self.rank, 3.5 * self.strength
        s = self.of(self.alphas, self.alpha, path) / (r ** .5 if self.rs else r)
        return r, s * self.strength

    # ---- which modules ----

    def choose(self):
        linears = [n for n, w in self.truth.items() if w.ndim == 2 and "proj" in n and "router" not in n
                   and n.startswith("layers.")]
        names = [n for n in linears if self.rng.integers(3) == 0] or linears[:1]
        if self.kind == "VERA":
            self.share(names)
        for n in names:
            self.linear(n)
        if self.kind == "MLX" and not self.dora:
            self.switch()
            if self.rng.integers(3) == 0:
                self.table("embed_tokens.weight")
        if self.kind != "LORA":
            return
        if self.has_head and not self.dora and self.rng.integers(4) == 0:
            self.head()
        if not self.dora:
            for n in ("embed_tokens.weight", "embed_tokens_per_layer.weight"):
                if n in self.truth and self.rng.integers(4) == 0:
                    self.embedding(n)
            self.experts()

    # ---- kinds ----

    def put(self, at, **parts):
        for end, (stored, _) in parts.items():
            self.tensors[at + end] = stored

    def linear(self, name):
        path = name.removesuffix(".weight")
        at = self.top + path
        w = self.truth[name].astype("f8")
        made = getattr(self, self.kind.lower())(at, path, w)
        self.changed[name] = made

    def magnitude(self, at, w):
        m = number(self.rng.uniform(.5, 1, len(w)), self.dtype)
        self.tensors[at + (".m" if self.kind == "MLX" else pick(
            self.rng, ".lora_magnitude_vector", ".lora_magnitude_vector.weight"))] = m[0]
        return w * (m[1] / np.sqrt((w * w).sum(1)))[:, None]

    def lora(self, at, path, w):
        out, n = w.shape
        r, s = self.scale(at.removeprefix("base_model.model."))
        a, b = self.draw(r, n), self.draw(out, r)
        self.tensors[f"{at}.lora_A{self.infix}.weight"], self.tensors[f"{at}.lora_B{self.infix}.weight"] = a[0], b[0]
        w = w + s * (b[1].astype("f8") @ a[1])
        return self.magnitude(at, w) if self.dora else w

    def mlx(self, at, path, w):
        out, n = w.shape
        r, s = self.scale(path)
        a, b = self.draw(n, r), self.draw(r, out)
        self.tensors[at + ".lora_a"], self.tensors[at + ".lora_b"] = a[0], b[0]
        w = w + s * (a[1].astype("f8") @ b[1]).T
        return self.magnitude(at, w) if self.dora else w

    def loha(self, at, path, w):
        out, n = w.shape
        r, s = self.scale(at.removeprefix("base_model.model."))
        a, b, c, d = self.draw(out, r), self.draw(r, n), self.draw(out, r), self.draw(r, n)
        for end, x in (("1_a", a), ("1_b", b), ("2_a", c), ("2_b", d)):
            self.tensors[at + ".hada_w" + end] = x[0]
        return w + s * (a[1].astype("f8") @ b[1]) * (c[1].astype("f8") @ d[1])

    def lokr(self, at, path, w):
        r, s = self.scale(at.removeprefix("base_model.model."))
        (o1, o2), (n1, n2) = factor_pair(self.rng, w.shape[0]), factor_pair(self.rng, w.shape[1])
        parts = []
        for i, (o, n) in enumerate(((o1, n1), (o2, n2))):
            if self.rng.integers(2):
                a, b = self.draw(o, r), self.draw(r, n)
                self.tensors[f"{at}.lokr_w{i + 1}_a"], self.tensors[f"{at}.lokr_w{i + 1}_b"] = a[0], b[0]
                parts.append(a[1].astype("f8") @ b[1])
            else:
                x = self.draw(o, n)
                self.tensors[f"{at}.lokr_w{i + 1}"] = x[0]
                parts.append(x[1].astype("f8"))
        return w + s * np.kron(*parts)

    def ia3(self, at, path, w):
        columns = "mlp" in path
        l = self.draw(*((1, w.shape[1]) if columns else (w.shape[0], 1)), size=.2, middle=1)
        self.tensors[at + ".ia3_l"] = l[0]
        return w * l[1]

    def oft(self, at, path, w):
        n = w.shape[1]
        b = pick(self.rng, *[k for k in (2, 4, 8, 16) if n % k == 0])
        x = self.draw(n // b, b * (b - 1) // 2, size=.05)
        self.tensors[at + ".oft_R.weight"] = x[0]
        out = w.copy()
        i, j = np.triu_indices(b, 1)
        for k in range(n // b):
            q = np.zeros((b, b))
            q[i, j] = x[1][k]
            q -= q.T
            r, power = np.eye(b) + 2 * q, q
            for term in (2, 3, 4): # five terms
                power = power @ q
                r += power * (1 if term == 4 else 2)
            out[:, k * b:(k + 1) * b] = w[:, k * b:(k + 1) * b] @ r.T
        return out

    def share(self, names):
        rows, cols = (max(self.truth[n].shape[i] for n in names) for i in (0, 1))
        self.a, self.b = self.draw(self.rank, cols), self.draw(rows, self.rank)
        self.tensors["base_model.vera_A"], self.tensors["base_model.vera_B"] = self.a[0], self.b[0]

    def vera(self, at, path, w):
        out, n = w.shape
        d, b = self.draw(self.rank), self.draw(out)
        self.tensors[at + ".vera_lambda_d"], self.tensors[at + ".vera_lambda_b"] = d[0], b[0]
        return w + self.strength * (b[1][:, None] * self.b[1][:out].astype("f8")) @ (
            d[1][:, None] * self.a[1][:, :n].astype("f8"))

    def embedding(self, name):
        path = name.removesuffix(".weight")
        rows, width = self.truth[name].shape
        r, s = self.scale(path)
        a, b = self.draw(r, rows), self.draw(width, r)
        at = self.top + path
        self.tensors[at + ".lora_embedding_A"], self.tensors[at + ".lora_embedding_B"] = a[0], b[0]
        if self.rng.integers(2): # PEFT keeps the base's own table beside it
            self.tensors[at + ".base_layer.weight"] = number(self.truth[name], "F32")[0]
        self.changed[name] = self.truth[name].astype("f8") + s * (b[1].astype("f8") @ a[1]).T

    def table(self, name):
        """MLX: the rows of a table are looked up, so its factors are not transposed."""
        rows, width = self.truth[name].shape
        r, s = self.scale(name)
        a, b = self.draw(rows, r), self.draw(r, width)
        at = self.top + name.removesuffix(".weight")
        self.tensors[at + ".lora_a"], self.tensors[at + ".lora_b"] = a[0], b[0]
        self.changed[name] = self.truth[name] + s * (a[1].astype("f8") @ b[1])

    def head(self):
        """A head that was tied is one of its own from then on."""
        w = self.truth.get("lm_head.weight", self.truth["embed_tokens.weight"]).astype("f8")
        self.changed["lm_head.weight"] = self.lora("base_model.model.lm_head", "lm_head", w)

    def projections(self, path):
        """The parts of an expert: their names, the fused tensor and its rows."""
        up, down = path + ".gate_up_proj", path + ".down_proj"
        half = self.truth[up].shape[1] // 2
        return [("gate_proj", up, slice(0, half)), ("up_proj", up, slice(half, 2 * half)),
                ("down_proj", down, slice(0, self.truth[down].shape[1]))]

    def switch(self):
        for path in sorted({n.rsplit(".", 1)[0] for n, w in self.truth.items() if w.ndim == 3}):
            if not self.fused or self.rng.integers(2):
                continue
            self.words.append("switch")
            for name, whole, rows in self.projections(path):
                w = self.changed.setdefault(whole, self.truth[whole].astype("f8"))
                e, _, n = w.shape
                r, s = self.scale(path)
                a, b = self.draw(e, r, n), self.draw(e, w[:, rows].shape[1], r)
                at = f"{self.top}{path}.switch_glu.{name}"
                old = a[0][1].reshape(e * r, n) if self.infix else a[0][1]
                self.tensors[at + ".lora_a"], self.tensors[at + ".lora_b"] = (a[0][0], old), b[0]
                w[:, rows] += s * np.einsum("eri,eor->eoi", a[1].astype("f8"), b[1].astype("f8"))

    def each_expert(self):
        """A pair for each projection of some experts."""
        for path in sorted({n.rsplit(".", 1)[0] for n, w in self.truth.items() if w.ndim == 3}):
            for name, whole, rows in self.projections(path):
                w = self.changed.setdefault(whole, self.truth[whole].astype("f8"))
                for e in range(len(w)):
                    if self.rng.integers(2):
                        w[e, rows] = self.lora(f"{self.top}{path}.{e}.{name}", path, w[e, rows])

    def experts(self):
        fused = [n for n, w in self.truth.items() if w.ndim == 3]
        both = pick(self.rng, True, True, False)
        swapped = bool(self.rng.integers(4) == 0)
        if not fused or not self.fused or self.rng.integers(2):
            return
        if self.dora or self.rng.integers(3) == 0:
            self.words.append("each expert")
            self.each_expert()
            return
        which = pick(self.rng, "gate_up_proj", "down_proj")
        if any(self.truth[n].shape[1] == self.truth[n].shape[2] for n in fused):
            swapped, self.says_version = False, True
        self.words.append("experts" + (" swapped" if swapped else "") + ("" if both else " " + which))
        self.parameters = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
        for n in fused:
            if not both and not n.endswith(which):
                continue
            e, out, cols = self.truth[n].shape
            path, end = n.rsplit(".", 1)
            inner = ".base_layer" if both and end == "gate_up_proj" else ""
            r, s = self.scale(path)
            if swapped:
                a, b = self.draw(e * r, out), self.draw(cols, r * e)
            else:
                a, b = self.draw(e * r, cols), self.draw(out, r * e)
            at = self.top + path + inner
            self.tensors[f"{at}.lora_A.weight"], self.tensors[f"{at}.lora_B.weight"] = a[0], b[0]
            a, b = a[1].reshape(e, r, -1).astype("f8"), b[1].reshape(-1, r, e).astype("f8")
            delta = np.einsum("eri,ore->eoi", a, b)
            if swapped:
                delta = delta.transpose(0, 2, 1)
            self.changed[n] = self.truth[n].astype("f8") + s * delta

    # ---- the folder ----

    def config(self):
        if self.kind == "MLX":
            return {"fine_tune_type": "dora" if self.dora else "lora", "num_layers": 4,
                    "lora_parameters": {"rank": self.rank, "scale": 3.5, "dropout": 0.0}}
        c = {"peft_type": self.kind, "task_type": "CAUSAL_LM", "target_modules": ["q_proj"],
             "inference_mode": True, "base_model_name_or_path": "google/gemma-4-E2B-it"}
        if self.says_version or self.rng.integers(2):
            c["peft_version"] = "0.21.2"
        if self.kind == "LORA":
            c.update(r=self.rank, lora_alpha=self.alpha, use_dora=self.dora, use_rslora=self.rs,
                     rank_pattern=self.ranks, alpha_pattern=self.alphas, lora_dropout=.1)
            if hasattr(self, "parameters"):
                c["target_parameters"] = self.parameters
        elif self.kind in ("LOHA", "LOKR"):
            c.update(r=self.rank, alpha=self.alpha, rank_pattern=self.ranks, alpha_pattern=self.alphas)
        elif self.kind == "VERA":
            c.update(r=self.rank, projection_prng_key=5, save_projection=True)
        elif self.kind == "OFT":
            c.update(r=0, oft_block_size=8, use_cayley_neumann=True, num_cayley_neumann_terms=5)
        elif self.kind == "IA3":
            c.update(feedforward_modules=["down_proj"])
        return c

    def write(self, folder):
        os.makedirs(folder)
        self.truth.update(self.changed)
        file = "adapters.safetensors" if self.kind == "MLX" else pick(
            self.rng, "adapter_model.safetensors", "adapter_model.safetensors", "adapter_model.bin")
        path = os.path.join(folder, file)
        if file.endswith(".bin"):
            write_torch(path, self.tensors, self.rng)
        else:
            write_safetensors(path, self.tensors)
        with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as f:
            json.dump(self.config(), f)
        self.words.insert(0, f"{self.kind}{' dora' if self.dora else ''} r{self.rank} {self.dtype} x{self.strength} "
                          f"{self.ranks} {self.alphas} {file}")
        return f"{folder}:{self.strength}" if self.strength != 1 else folder
