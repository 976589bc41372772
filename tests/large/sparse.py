"""sparse.py - a checkpoint and a GGUF of Gemma 4 31B's size whose weights take no room on disk

    sparse.py FOLDER TOKENIZER.json[.gz]

Headers, names and shapes are those of the released model; the weights are one hole in each shard,
zeros to whoever reads them. FOLDER/model is the checkpoint, sharded, and FOLDER/model.gguf the
same tensors as BF16.
"""
import gzip
import json
import shutil
import struct
import sys
from pathlib import Path

HIDDEN, WIDTH, LAYERS, VOCAB = 5376, 21504, 60, 262144
HEADS, SHARD_BYTES = 32, 5 << 30
GGUF_STRING, GGUF_ARRAY, GGML_BF16 = 8, 9, 30
PREFIX = "model.language_model."


def is_full(layer):
    return layer % 6 == 5


def config():
    text = {
        "model_type": "gemma4_text", "hidden_size": HIDDEN, "intermediate_size": WIDTH,
        "num_hidden_layers": LAYERS, "vocab_size": VOCAB, "num_attention_heads": HEADS,
        "num_key_value_heads": 16, "num_global_key_value_heads": 4, "head_dim": 256,
        "global_head_dim": 512, "attention_k_eq_v": True, "hidden_size_per_layer_input": 0,
        "final_logit_softcapping": 30.0, "sliding_window": 1024,
        "max_position_embeddings": 262144, "tie_word_embeddings": True,
        "layer_types": ["full_attention" if is_full(i) else "sliding_attention"
                        for i in range(LAYERS)],
    }
    return {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4",
            "text_config": text}


def tensors(has_head=False, has_clones=False, layers=LAYERS, vocabulary=VOCAB):
    """(name, shape) as released; with a copy of the embedding as head, of keys as values"""
    yield PREFIX + "embed_tokens.weight", (vocabulary, HIDDEN)
    yield PREFIX + "norm.weight", (HIDDEN,)
    if has_head:
        yield "lm_head.weight", (vocabulary, HIDDEN)
    for i in range(layers):
        head, keys = (512, 4) if is_full(i) else (256, 16)
        at = f"{PREFIX}layers.{i}."
        for name in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                     "post_feedforward_layernorm"):
            yield f"{at}{name}.weight", (HIDDEN,)
        yield at + "layer_scalar", (1,)
        yield at + "self_attn.q_norm.weight", (head,)
        yield at + "self_attn.k_norm.weight", (head,)
        yield at + "self_attn.q_proj.weight", (HEADS * head, HIDDEN)
        yield at + "self_attn.k_proj.weight", (keys * head, HIDDEN)
        if has_clones or not is_full(i):
            yield at + "self_attn.v_proj.weight", (keys * head, HIDDEN)
        yield at + "self_attn.o_proj.weight", (HIDDEN, HEADS * head)
        yield at + "mlp.gate_proj.weight", (WIDTH, HIDDEN)
        yield at + "mlp.up_proj.weight", (WIDTH, HIDDEN)
        yield at + "mlp.down_proj.weight", (HIDDEN, WIDTH)


def elements(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def write_hole(path, head, n_bytes):
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(len(head) + n_bytes)


def write_shard(path, items):
    header, at = {}, 0
    for name, shape in items:
        n = 2 * elements(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    write_hole(path, struct.pack("<Q", len(text)) + text, at)


def write_tokenizer(folder, tokenizer):
    opener = gzip.open if str(tokenizer).endswith(".gz") else open
    with opener(tokenizer, "rb") as src, open(folder / "tokenizer.json", "wb") as dst:
        shutil.copyfileobj(src, dst)


def write_checkpoint(folder, tokenizer, **kinds):
    folder.mkdir(parents=True)
    shards, n = [[]], 0
    for name, shape in tensors(**kinds):
        if n + 2 * elements(shape) > SHARD_BYTES:
            shards.append([])
            n = 0
        shards[-1].append((name, shape))
        n += 2 * elements(shape)
    index = {}
    for i, items in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        write_shard(folder / name, items)
        index.update((tensor, name) for tensor, _ in items)
    (folder / "config.json").write_text(json.dumps(config()))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))
    write_tokenizer(folder, tokenizer)


def gguf_text(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def write_gguf(path, layers=LAYERS, vocabulary=VOCAB):
    """The tensors under any names: inspect and patch take what there is."""
    pieces = b"".join(gguf_text(f"piece {i}") for i in range(vocabulary))
    keys = [gguf_text("general.architecture") + struct.pack("<I", GGUF_STRING)
            + gguf_text("gemma4"),
            gguf_text("tokenizer.ggml.tokens")
            + struct.pack("<IIQ", GGUF_ARRAY, GGUF_STRING, vocabulary) + pieces]
    infos, at = [], 0
    for name, shape in tensors(layers=layers, vocabulary=vocabulary):
        name = name.removeprefix(PREFIX).replace("layers.", "blk.")
        infos.append(gguf_text(name) + struct.pack("<I", len(shape))
                     + b"".join(struct.pack("<Q", n) for n in reversed(shape))
                     + struct.pack("<IQ", GGML_BF16, at))
        at += -(-2 * elements(shape) // 32) * 32
    head = (b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(keys)) + b"".join(keys)
            + b"".join(infos))
    write_hole(path, head + b"\0" * (-len(head) % 32), at)


if __name__ == "__main__":
    ROOT = Path(sys.argv[1])
    write_checkpoint(ROOT / "model", sys.argv[2])
    write_gguf(ROOT / "model.gguf")
