"""encoder_numpy.py - EmbeddingGemma's embeddings straight from its checkpoint, in NumPy

The rule of sentence-transformers for this model: the tokenizer's own ids (bos, text, eos), Gemma 3
layers with attention in both directions, the mean over all positions, two dense layers without
bias, length 1. Written from the published equations and shares nothing with carat.
"""
import json

import numpy as np
from safetensors import safe_open
from tokenizers import Tokenizer


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * (1 + weight)


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)))


def rotate(x, base):
    """Rotary positions on [sentences, heads, tokens, size], halves paired."""
    tokens, size = x.shape[-2:]
    angles = np.arange(tokens)[:, None] * base ** (-np.arange(0, size, 2) / size)[None]
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    a, b = x[..., :size // 2], x[..., size // 2:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


class Encoder:
    def __init__(self, folder):
        self.config = json.load(open(folder / "config.json", encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.weights = {}
        for prefix, path in (("", "model.safetensors"), ("2.", "2_Dense/model.safetensors"),
                             ("3.", "3_Dense/model.safetensors")):
            with safe_open(str(folder / path), "numpy") as file:
                for name in file.keys():
                    self.weights[prefix + name] = file.get_tensor(name).astype(np.float32)

    def attention(self, x, layer):
        c, w = self.config, self.weights
        at = f"layers.{layer}.self_attn."
        n, tokens, _ = x.shape
        size = c["head_dim"]

        def heads(name, norm, count):
            y = (x @ w[at + name].T).reshape(n, tokens, count, size)
            if norm:
                y = rms_norm(y, w[at + norm], c["rms_norm_eps"])
            return y.transpose(0, 2, 1, 3)

        sliding = c["layer_types"][layer] == "sliding_attention"
        base = c["rope_local_base_freq"] if sliding else c["rope_theta"]
        groups = c["num_attention_heads"] // c["num_key_value_heads"]
        q = rotate(heads("q_proj.weight", "q_norm.weight", c["num_attention_heads"]), base)
        k = rotate(heads("k_proj.weight", "k_norm.weight", c["num_key_value_heads"]), base)
        v = heads("v_proj.weight", None, c["num_key_value_heads"])
        k, v = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
        score = q @ k.transpose(0, 1, 3, 2) * c["query_pre_attn_scalar"] ** -0.5
        # The window is wider than any text here, so nothing is masked.
        assert not sliding or tokens <= c["sliding_window"] // 2
        score = np.exp(score - score.max(axis=-1, keepdims=True))
        score /= score.sum(axis=-1, keepdims=True)
        y = (score @ v).transpose(0, 2, 1, 3).reshape(n, tokens, -1)
        return y @ w[at + "o_proj.weight"].T

    def mlp(self, x, layer):
        w, at = self.weights, f"layers.{layer}.mlp."
        return (gelu_tanh(x @ w[at + "gate_proj.weight"].T) *
                (x @ w[at + "up_proj.weight"].T)) @ w[at + "down_proj.weight"].T

    def embed_ids(self, ids):
        """Rows of equal length, int [sentences, tokens]."""
        c, w, eps = self.config, self.weights, self.config["rms_norm_eps"]
        x = w["embed_tokens.weight"][ids] * np.float32(np.sqrt(c["hidden_size"]))
        for i in range(c["num_hidden_layers"]):
            def norm(y, name, layer=i):
                return rms_norm(y, w[f"layers.{layer}.{name}.weight"], eps)
            y = self.attention(norm(x, "input_layernorm"), i)
            x = x + norm(y, "post_attention_layernorm")
            y = self.mlp(norm(x, "pre_feedforward_layernorm"), i)
            x = x + norm(y, "post_feedforward_layernorm")
        pooled = rms_norm(x, w["norm.weight"], eps).mean(axis=1)
        pooled = pooled @ w["2.linear.weight"].T @ w["3.linear.weight"].T
        return pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)

    def embed(self, sentences):
        ids = [self.tokenizer.encode(s).ids for s in sentences]
        rows = [None] * len(ids)
        for length in sorted({len(i) for i in ids}):
            which = [n for n, i in enumerate(ids) if len(i) == length]
            for n, row in zip(which, self.embed_ids(np.array([ids[n] for n in which]))):
                rows[n] = row
        return np.array(rows)
