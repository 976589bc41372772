"""gemma4_numpy.py - the Gemma 4 E-type forward pass in float64 NumPy, from a GGUF

A second opinion on what a file computes: it shares no code with the runtime. Weights are decoded by
gguf-py. Covers the dense members with per-layer embeddings (E2B, E4B layouts).
"""
import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


class Model:
    def __init__(self, paths):
        self.weights, self.keys = {}, {}
        for path in paths:
            reader = GGUFReader(path)
            for t in reader.tensors:
                shape = [int(n) for n in reversed(t.shape)]
                flat = dequantize(t.data, t.tensor_type).reshape(shape)
                self.weights[t.name] = flat.astype(np.float64)
            for name, field in reader.fields.items():
                if name.startswith("gemma4."):
                    self.keys[name[7:]] = field.contents()

    def per_layer(self, key, layer):
        value = self.keys[key]
        return value[layer] if isinstance(value, list) else value


def rms(x, eps, weight=None):
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return y if weight is None else y * weight


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def rope(x, base, divisors):
    """x: [n, heads, d]; pairs (i, i + d/2)."""
    n, _, d = x.shape
    freq = base ** (-2.0 * np.arange(d // 2) / d) / divisors
    angle = np.arange(n)[:, None] * freq
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :d // 2], x[..., d // 2:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def forward(m, ids):
    """Logits [n, vocabulary] of ids from an empty context."""
    w, k = m.weights, m.keys
    ids = np.asarray(ids)
    n, eps = len(ids), k["attention.layer_norm_rms_epsilon"]
    hidden, layers = k["embedding_length"], k["block_count"]
    width = k["embedding_length_per_layer_input"]
    first_shared = layers - k["attention.shared_kv_layers"]
    local = [bool(b) for b in k["attention.sliding_window_pattern"]]

    x = w["token_embd.weight"][ids] * np.sqrt(hidden)
    table = w["per_layer_token_embd.weight"][ids].reshape(n, layers, width) * np.sqrt(width)
    context = (x @ w["per_layer_model_proj.weight"].T / np.sqrt(hidden)).reshape(n, layers, width)
    context = rms(context, eps, w["per_layer_proj_norm.weight"])
    ple = (context + table) / np.sqrt(2)

    ahead = np.arange(n)[:, None] - np.arange(n)[None]
    kept = {}
    for i in range(layers):
        t = lambda name: w[f"blk.{i}.{name}.weight"]
        d = k["attention.key_length_swa"] if local[i] else k["attention.key_length"]
        base = k["rope.freq_base_swa"] if local[i] else k["rope.freq_base"]
        divisors = 1.0 if local[i] else w["rope_freqs.weight"]
        h = rms(x, eps, t("attn_norm"))
        q = rope(rms((h @ t("attn_q").T).reshape(n, -1, d), eps, t("attn_q_norm")), base, divisors)
        if i < first_shared:
            key = rms((h @ t("attn_k").T).reshape(n, -1, d), eps, t("attn_k_norm"))
            value = rms((h @ t("attn_v").T).reshape(n, -1, d), eps)
            kept[local[i]] = rope(key, base, divisors), value
        key, value = kept[local[i]]
        group = q.shape[1] // key.shape[1]
        key, value = np.repeat(key, group, 1), np.repeat(value, group, 1)
        scores = np.einsum("jhd,ihd->hji", q, key)
        seen = (ahead >= 0) & ((ahead < k["attention.sliding_window"]) | (not local[i]))
        mixed = np.einsum("hji,ihd->jhd", softmax(np.where(seen, scores, -np.inf)), value)
        x = x + rms(mixed.reshape(n, -1) @ t("attn_output").T, eps, t("post_attention_norm"))

        h = rms(x, eps, t("ffn_norm"))
        h = (gelu(h @ t("ffn_gate").T) * (h @ t("ffn_up").T)) @ t("ffn_down").T
        x = x + rms(h, eps, t("post_ffw_norm"))

        h = (gelu(x @ t("inp_gate").T) * ple[:, i]) @ t("proj").T
        x = (x + rms(h, eps, t("post_norm"))) * t("layer_output_scale")

    z = rms(x, eps, w["output_norm.weight"]) @ w["token_embd.weight"].T
    cap = k["final_logit_softcapping"]
    return cap * np.tanh(z / cap)
