#!/usr/bin/env python3
"""unsettle.py - a float model out of a quantized one, off its old grid

    unsettle.py IN.gguf OUT.gguf [--seed N]

Quantizing what was quantized before tells little: the weights lie on a grid, and whoever finds the
grid again seems to lose nothing. So every quantized weight is decoded and gets uniform noise of one
step of its block's scale, from half a step below to half a step above; the result is rounded to
BF16. The embedding is decoded without noise: at eight bits its old grid is finer than what is
measured, and it is a third of such a model. Norms stay F32; metadata is copied.

What is measured against OUT is a property of OUT, not of the model that IN came from.
"""
import argparse

import numpy as np
from gguf import GGUFReader, GGUFWriter, GGMLQuantizationType as T, GGUFValueType
from gguf.quants import Q4_K, dequantize


def half(blocks, at):
    return blocks[:, at:at + 2].copy().view(np.float16).astype(np.float32)


def steps(data, kind):
    """The step of every weight, in rows of a block each: shape (blocks, weights a block)."""
    if kind in (T.Q4_0, T.Q5_0, T.Q8_0, T.Q4_1, T.Q5_1):
        size = {T.Q4_0: 18, T.Q5_0: 22, T.Q8_0: 34, T.Q4_1: 20, T.Q5_1: 24}[kind]
        return np.repeat(half(data.reshape(-1, size), 0), 32, axis=1)
    if kind in (T.Q4_K, T.Q5_K):
        blocks = data.reshape(-1, 144 if kind == T.Q4_K else 176)
        scales, _ = Q4_K.get_scale_min(blocks[:, 4:16])
        return np.repeat(half(blocks, 0) * scales.astype(np.float32), 32, axis=1)
    if kind == T.Q6_K:
        blocks = data.reshape(-1, 210)
        return np.repeat(half(blocks, 208) * blocks[:, 192:208].copy().view(np.int8), 16, axis=1)
    raise SystemExit(f"unsettle.py: no step known for {kind.name}")


def bf16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def unsettle(tensor, rng):
    shape = tuple(int(n) for n in reversed(tensor.shape))
    values = dequantize(tensor.data, tensor.tensor_type).reshape(shape).astype(np.float32)
    if not tensor.name.startswith(("token_embd", "per_layer_token_embd", "output.")):
        step = steps(tensor.data, tensor.tensor_type).reshape(shape)
        values += (rng.random(shape, np.float32) - np.float32(0.5)) * step
    return bf16(values)


def copy_metadata(reader, writer):
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture",
                                                            "general.file_type",
                                                            "general.quantization_version"):
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub)
    writer.add_file_type(32)  # mostly BF16


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    reader = GGUFReader(args.source)
    writer = GGUFWriter(args.target, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    rng = np.random.default_rng(args.seed)
    for tensor in reader.tensors:
        if tensor.tensor_type in (T.F32, T.F16, T.BF16):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        else:
            writer.add_tensor(tensor.name, unsettle(tensor, rng).view(np.uint8), raw_dtype=T.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
