"""tensors.py - read a safetensors file with NumPy alone"""
import json

import numpy as np

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U16": "<u2",
         "U8": "u1", "BF16": "<u2"}


def read_safetensors(path):
    """name -> array; BF16 is widened to float32."""
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    out = {}
    for name, item in json.loads(data[8:8 + n]).items():
        if name == "__metadata__":
            continue
        begin, end = item["data_offsets"]
        x = np.frombuffer(data[8 + n + begin:8 + n + end], TYPES[item["dtype"]])
        if item["dtype"] == "BF16":
            x = (x.astype("<u4") << 16).view("<f4")
        out[name] = x.reshape(item["shape"])
    return out
