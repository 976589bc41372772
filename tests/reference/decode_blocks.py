#!/usr/bin/env python3
"""What gguf-py (MIT) decodes from blocks: SHA-256 of the floats, one line a case.

    decode_blocks.py data/vectors/quant/quantize.safetensors > data/vectors/blocks/decoded.tsv

Cases are the quantized rows of that file, and for every type 96 blocks of seeded random bytes,
so that every code and scale is met. NaNs are made equal before hashing. Needs numpy, gguf.
"""
import hashlib
import json
import struct
import sys

import gguf
import numpy as np

N_BLOCKS = 96
TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
         "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4", "F16", "BF16"]


def random_bytes(n, seed):
    """SplitMix64, the top byte of each step."""
    mask = 2**64 - 1
    out = bytearray()
    while len(out) < n:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append((z ^ (z >> 31)) >> 56)
    return np.frombuffer(bytes(out), np.uint8)


def digest(rows, name):
    kind = getattr(gguf.GGMLQuantizationType, name)
    with np.errstate(all="ignore"):
        if name == "F16":
            x = rows.view(np.float16).astype(np.float32)
        else:
            x = gguf.quants.dequantize(rows, kind).astype(np.float32)
    bits = x.reshape(-1).view(np.uint32).copy()
    bits[np.isnan(x.reshape(-1))] = 0x7FC00000
    return hashlib.sha256(bits.astype("<u4").tobytes()).hexdigest()


def main():
    with open(sys.argv[1], "rb") as f:
        data = f.read()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + n])
    for key in sorted(k for k in header if k.startswith(("q.", "qi."))):
        entry = header[key]
        a, b = entry["data_offsets"]
        rows = np.frombuffer(data[8 + n + a:8 + n + b], np.uint8).reshape(entry["shape"])
        print(key, key.split(".")[1], digest(rows, key.split(".")[1]), sep="\t")
    for name in TYPES:
        size = gguf.GGML_QUANT_SIZES[getattr(gguf.GGMLQuantizationType, name)][1]
        rows = random_bytes(N_BLOCKS * size, 7).reshape(1, -1)
        print("random", name, digest(rows, name), sep="\t")


main()
