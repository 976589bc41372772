"""weight_files.py - named tensors as safetensors, torch and NumPy files

A tensor is (dtype as safetensors names it, array of its stored bits).
"""
import io
import json
import pickle
import sys
import types
import zipfile

import numpy as np

TORCH = {"F64": "Double", "F32": "Float", "F16": "Half", "BF16": "BFloat16", "I64": "Long",
         "I32": "Int", "I16": "Short", "I8": "Char", "U8": "Byte", "BOOL": "Bool"}


def write_safetensors(path, tensors, metadata=None, pad=True):
    header, at, parts = {}, 0, []
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, x) in tensors.items():
        data = np.ascontiguousarray(x).tobytes()
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    if pad:
        text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(parts))


# ---- torch, without torch: its names stand for themselves ----

def fake(module, name):
    def call(*_):
        raise AssertionError("never called")
    call.__module__, call.__qualname__, call.__name__ = module, name, name
    setattr(sys.modules[module], name, call)
    return call


for m in ("torch", "torch._utils"):
    sys.modules.setdefault(m, types.ModuleType(m))
REBUILD = fake("torch._utils", "_rebuild_tensor_v2")
PARAMETER = fake("torch._utils", "_rebuild_parameter")
STORAGES = {d: fake("torch", n + "Storage") for d, n in TORCH.items()}


class Storage:
    def __init__(self, key, dtype, data, width):
        self.key, self.dtype, self.data, self.n = key, dtype, data, len(data) // width


class Call:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", STORAGES[obj.dtype], obj.key, "cpu", obj.n)
        return None


def lay_out(rng, x):
    """Bytes that hold x as some view: (data, offset, stride), in elements."""
    width, way = x.itemsize, rng.integers(4)
    if x.ndim >= 2 and way == 1: # transposed
        order = list(range(x.ndim))
        order[-1], order[-2] = order[-2], order[-1]
        y = np.ascontiguousarray(x.transpose(order))
        stride = [s // width for s in y.strides]
        stride[-1], stride[-2] = stride[-2], stride[-1]
        return y.tobytes(), 0, stride
    if x.ndim >= 1 and way == 2: # every second column of a wider one
        y = np.repeat(np.ascontiguousarray(x), 2, -1)
        return y.tobytes(), 0, [s // width for s in y.strides[:-1]] + [2]
    stride = [s // width for s in np.ascontiguousarray(x).strides][:x.ndim]
    pad = int(rng.integers(0, 9)) if way == 3 else 0
    return b"\7" * (pad * width) + np.ascontiguousarray(x).tobytes(), pad, stride


def write_torch(path, tensors, rng, wrapper=None, protocol=2):
    state, data = {}, []
    for name, (dtype, x) in tensors.items():
        if dtype in ("U32", "F8_E4M3"):
            raise ValueError(dtype)
        content, offset, stride = lay_out(rng, x)
        storage = Storage(str(len(data)), dtype, content, x.itemsize)
        data.append(content)
        call = Call(REBUILD, storage, offset, tuple(x.shape), tuple(stride), False, {})
        state[name] = Call(PARAMETER, call, False, {}) if rng.integers(4) == 0 else call
    if wrapper:
        state = {wrapper: state, "epoch": 3, "args": {"lr": 1e-4, "names": ("a", ["b"])}}
    out = io.BytesIO()
    Pickler(out, protocol).dump(state)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", out.getvalue())
        z.writestr("archive/byteorder", "little")
        for i, content in enumerate(data):
            z.writestr(f"archive/data/{i}", content)
        z.writestr("archive/version", "3\n")


def write_npz(path, tensors, deflated):
    write = np.savez_compressed if deflated else np.savez
    write(path, **{n: np.asfortranarray(x) if x.ndim == 2 and len(n) % 3 == 0 else x
                   for n, (d, x) in tensors.items()})
