"""random_numbers.py - matrices stored in every way that people store them, at random

Each way takes a name and a shape {out, in}, draws codes and scales, and gives what stands in the file
and the f32 matrix that it means. None where the shape does not suit it.
"""
import json

import numpy as np

F32 = np.float32


def to_bf16(x):
    """The bits of the nearest bfloat16, ties to even."""
    bits = np.asarray(x, "<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def from_bf16(bits):
    return (bits.astype("<u4") << 16).view("<f4")


def floats(rng, shape, dtype, size=0.02, signed=False):
    """Random numbers as stored, and as f32; positive, as scales are, unless signed."""
    x = rng.uniform(0.2, 1, shape).astype(F32) * F32(size)
    if signed:
        x *= rng.choice([-1, 1], shape).astype(F32)
    return number(x, dtype)


def number(x, dtype):
    x = np.asarray(x, F32)
    if dtype == "BF16":
        return ("BF16", to_bf16(x)), from_bf16(to_bf16(x))
    if dtype == "F16":
        return ("F16", x.astype("<f2")), x.astype("<f2").astype(F32)
    if dtype == "F64":
        return ("F64", x.astype("<f8")), x
    return ("F32", x), x


def pack_bits(codes, bits, axis):
    """Codes along an axis as a string of bits in 32-bit words, lowest first; padded."""
    codes = np.moveaxis(codes.astype(np.uint64), axis, -1)
    n = codes.shape[-1]
    flat = ((codes[..., None] >> np.arange(bits, dtype=np.uint64)) & 1).reshape(*codes.shape[:-1], n * bits)
    short = -flat.shape[-1] % 32
    flat = np.concatenate([flat, np.zeros((*flat.shape[:-1], short), np.uint64)], -1)
    words = (flat.reshape(*flat.shape[:-1], -1, 32) << np.arange(32, dtype=np.uint64)).sum(-1)
    return np.moveaxis(words.astype("<u4"), -1, axis)


def i32(words):
    return ("I32", np.ascontiguousarray(words).view("<i4"))


def divisor(rng, n, of):
    fits = [g for g in of if n % g == 0]
    return int(rng.choice(fits)) if fits else None


def spread(x, n):
    """{rows, groups} to {rows, n}"""
    return np.repeat(x, -(-n // x.shape[1]), 1)[:, :n]


def fp8_table(e4m3):
    out = np.zeros(256, F32)
    for c in range(256):
        if e4m3:
            e, m = c >> 3 & 15, c & 7
            v = (m / 8 * 2.0 ** -6) if e == 0 else (1 + m / 8) * 2.0 ** (e - 7)
        else:
            e, m = c >> 2 & 31, c & 3
            v = (m / 4 * 2.0 ** -14) if e == 0 else (1 + m / 4) * 2.0 ** (e - 15)
        out[c] = -v if c & 128 else v
    return out


E4M3, E5M2 = fp8_table(True), fp8_table(False)
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6], F32)


def e4m3_codes(rng, shape, positive=False):
    c = rng.integers(0, 0x7E, shape).astype("u1")
    return c if positive else c | (rng.integers(0, 2, shape) << 7).astype("u1")


# ---- ways: fn(rng, at, shape, s) -> (tensors, matrix) or None; at: name without ".weight" ----

def gptq(rng, at, shape, s):
    out, n = shape
    if "down_proj" in at and "exception" in s:
        s = dict(s, **s["exception"])
    bits, group = s["bits"], s["group_size"] if s["group_size"] > 0 else n
    if n * bits % 32 or out * bits % 32 or (n % group and not s["desc_act"]):
        return None
    n_groups = -(-n // group)
    codes = rng.integers(0, 2 ** bits, (out, n))
    zeros = np.full((out, n_groups), 2 ** (bits - 1)) if s["sym"] else rng.integers(1, 2 ** bits, (out, n_groups))
    order = np.arange(n) // group
    if s["desc_act"]:
        rng.shuffle(order)
    stored, scale = floats(rng, (n_groups, out), s["dtype"])
    v1 = s["checkpoint_format"] != "gptq_v2"
    tensors = {at + ".qweight": i32(pack_bits(codes.T, bits, 0)),
               at + ".qzeros": i32(pack_bits((zeros.T - (1 if v1 else 0)) % 2 ** bits, bits, 1)),
               at + ".scales": stored}
    if s["desc_act"] or s["has_idx"]:
        tensors[at + ".g_idx"] = ("I32", order.astype("<i4"))
    return tensors, (codes - zeros[:, order]).astype(F32) * scale.T[:, order]


def gptq_settings(rng):
    s = {"quant_method": "gptq", "bits": int(rng.choice([2, 3, 4, 4, 8])),
         "group_size": int(rng.choice([16, 32, 64, 128, -1])), "sym": bool(rng.integers(2)),
         "desc_act": bool(rng.integers(2)),
         "checkpoint_format": str(rng.choice(["gptq", "gptq_v2"]))}
    own = dict(s, dtype=str(rng.choice(["F16", "BF16", "F32"])), has_idx=bool(rng.integers(2)))
    if rng.integers(3) == 0: # GPTQModel's other name of it
        s["format"] = s.pop("checkpoint_format")
    if rng.integers(3) == 0:
        own["exception"] = {"bits": int(rng.choice([2, 4, 8])), "group_size": int(rng.choice([16, 32, 64]))}
        s["dynamic"] = {r"+:.*down_proj.*": own["exception"], r"-:.*lm_head.*": {}}
    return s, own


def autoround_settings(rng):
    """AutoRound's packings are those of GPTQ, in either format, and of AWQ."""
    packing = str(rng.choice(["auto_round:auto_gptq", "auto_round", "auto_round:gptqmodel", "auto_round:auto_awq"]))
    is_awq = packing.endswith("awq")
    s, own = (awq_settings if is_awq else gptq_settings)(rng)
    own.update(way=awq if is_awq else gptq, desc_act=False, has_idx=False,
               checkpoint_format="gptq" if packing.endswith("auto_gptq") else "gptq_v2")
    s = {k: v for k, v in s.items() if k not in ("version", "checkpoint_format", "format", "desc_act")}
    if "dynamic" in s:
        s["extra_config"] = {"model.layers.0.mlp.down_proj": s.pop("dynamic")["+:.*down_proj.*"]}
    return dict(s, quant_method="auto-round", packing_format=packing, data_type="int"), own


def awq(rng, at, shape, s):
    out, n = shape
    group = s["group_size"] if s["group_size"] > 0 else n
    if out % 8 or n % group:
        return None
    codes, zeros = rng.integers(0, 16, (out, n)), rng.integers(0, 16, (out, n // group))
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def pack(x):
        return pack_bits(x.reshape(x.shape[0], -1, 8)[:, :, order].reshape(x.shape), 4, 1)
    stored, scale = floats(rng, (n // group, out), s["dtype"])
    return {at + ".qweight": i32(pack(codes.T)), at + ".qzeros": i32(pack(zeros.T)),
            at + ".scales": stored}, (codes - np.repeat(zeros, group, 1)).astype(F32) * spread(scale.T, n)


def awq_settings(rng):
    s = {"quant_method": "awq", "bits": 4, "group_size": int(rng.choice([16, 32, 64, 128, -1])),
         "zero_point": True, "version": str(rng.choice(["gemm", "GEMM"]))}
    return s, dict(s, dtype=str(rng.choice(["F16", "BF16"])))


def ct_groups(rng, shape, s):
    out, n = shape
    if s["strategy"] == "tensor":
        return 1, 1
    if s["strategy"] == "channel":
        return out, 1
    if n % s["group_size"]:
        return None
    return out, n // s["group_size"]


def ct_pack(rng, at, shape, s):
    out, n = shape
    grid = ct_groups(rng, shape, s)
    if not grid or grid[0] == 1:
        return None
    bits, n_groups = s["num_bits"], grid[1]
    codes = rng.integers(-2 ** (bits - 1), 2 ** (bits - 1), (out, n))
    stored, scale = floats(rng, (out, n_groups), s["dtype"])
    if s["strategy"] == "channel" and rng.integers(2):
        stored = (stored[0], stored[1].reshape(out, 1))
    zeros = np.zeros((out, n_groups), int)
    tensors = {at + ".weight_packed": i32(pack_bits(codes + 2 ** (bits - 1), bits, 1)),
               at + ".weight_scale": stored,
               at + ".weight_shape": ("I64", np.array(shape, "<i8"))}
    if not s["symmetric"]:
        zeros = rng.integers(-2 ** (bits - 1), 2 ** (bits - 1), (out, n_groups))
        tensors[at + ".weight_zero_point"] = ("I8", zeros.astype("i1")) if s["old_zeros"] else \
            i32(pack_bits(zeros + 2 ** (bits - 1), bits, 0))
    group = -(-n // n_groups)
    order = np.arange(n) // group
    if s["order"] and n_groups > 1:
        rng.shuffle(order)
        tensors[at + ".weight_g_idx"] = ("I32", order.astype("<i4"))
    return tensors, (codes - zeros[:, order]).astype(F32) * scale[:, order]


def ct_bytes(rng, at, shape, s):
    out, n = shape
    grid = ct_groups(rng, shape, s)
    if not grid:
        return None
    stored, scale = floats(rng, grid, s["dtype"])
    if grid == (1, 1) and rng.integers(2):
        stored = (stored[0], stored[1].reshape(1))
    full = np.broadcast_to(spread(scale, n), shape)
    tensors = {at + ".weight_scale": stored}
    if s["type"] == "float":
        codes = e4m3_codes(rng, shape)
        tensors[at + ".weight"] = ("F8_E4M3", codes)
        return tensors, E4M3[codes] * full
    codes = rng.integers(-128, 128, shape).astype("i1")
    zero = np.zeros(grid, int)
    if not s["symmetric"]:
        zero = rng.integers(-128, 128, grid)
        tensors[at + ".weight_zero_point"] = ("I8", zero.astype("i1"))
    tensors[at + ".weight"] = ("I8", codes)
    return tensors, (codes.astype(int) - np.broadcast_to(spread(zero, n), shape)).astype(F32) * full


def ct_block(rng, at, shape, s):
    (out, n), (bh, bw) = shape, s["block_structure"]
    codes = e4m3_codes(rng, shape)
    stored, scale = floats(rng, (-(-out // bh), -(-n // bw)), s["dtype"])
    full = np.repeat(np.repeat(scale, bh, 0)[:out], bw, 1)[:, :n]
    return {at + "." + s.get("suffix", "weight_scale"): stored,
            at + ".weight": ("F8_E4M3", codes)}, E4M3[codes] * full


def fp4_codes(rng, shape):
    codes = rng.integers(0, 16, shape)
    return (codes[:, 0::2] | codes[:, 1::2] << 4).astype("u1"), E2M1[codes]


def ct_nvfp4(rng, at, shape, s):
    if shape[1] % 16:
        return None
    packed, value = fp4_codes(rng, shape)
    codes = e4m3_codes(rng, (shape[0], shape[1] // 16), True)
    stored, world = floats(rng, (1,), "F32", 5000)
    return {at + ".weight_packed": ("U8", packed), at + ".weight_scale": ("F8_E4M3", codes),
            at + ".weight_global_scale": stored}, value * spread(E4M3[codes] / world, shape[1])


def ct_mxfp4(rng, at, shape, s):
    if shape[1] % 32:
        return None
    packed, value = fp4_codes(rng, shape)
    codes = rng.integers(118, 124, (shape[0], shape[1] // 32)).astype("u1")
    return {at + ".weight_packed": ("U8", packed), at + ".weight_scale": ("U8", codes)}, \
        value * spread(np.exp2(codes.astype(F32) - 127), shape[1])


def ct_mxfp8(rng, at, shape, s):
    if shape[1] % 32:
        return None
    codes = e4m3_codes(rng, shape)
    scale = rng.integers(110, 120, (shape[0], shape[1] // 32)).astype("u1")
    return {at + ".weight": ("F8_E4M3", codes), at + ".weight_scale": ("U8", scale)}, \
        E4M3[codes] * spread(np.exp2(scale.astype(F32) - 127), shape[1])


def ct_settings(rng):
    kind = str(rng.choice(["pack-quantized", "pack-quantized", "int-quantized", "float-quantized",
                           "block", "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized"]))
    w = {"num_bits": 4, "type": "int", "symmetric": bool(rng.integers(2)),
         "strategy": str(rng.choice(["group", "group", "channel"])),
         "group_size": int(rng.choice([16, 32, 64, 128]))}
    way = {"pack-quantized": ct_pack, "int-quantized": ct_bytes, "float-quantized": ct_bytes,
           "block": ct_block, "nvfp4-pack-quantized": ct_nvfp4, "mxfp4-pack-quantized": ct_mxfp4,
           "mxfp8-quantized": ct_mxfp8}[kind]
    own = {"dtype": str(rng.choice(["BF16", "F16", "F32"])), "order": bool(rng.integers(2)),
           "old_zeros": bool(rng.integers(3) == 0)}
    if kind == "pack-quantized":
        w["num_bits"] = int(rng.choice([2, 3, 4, 4, 4, 5, 6, 8]))
        if 32 % w["num_bits"]:
            w["symmetric"] = True
    elif kind == "int-quantized":
        w.update(num_bits=8, strategy=str(rng.choice(["tensor", "channel", "group"])))
    elif kind == "float-quantized":
        w.update(num_bits=8, type="float", symmetric=True, strategy=str(rng.choice(["tensor", "channel"])))
    elif kind == "block":
        kind = "float-quantized"
        w.update(num_bits=8, type="float", symmetric=True, strategy="block",
                 block_structure=[int(rng.choice([16, 24, 128])), int(rng.choice([16, 40, 128]))])
    if w["strategy"] != "group":
        w["group_size"] = None
    s = {"quant_method": "compressed-tensors", "format": kind, "ignore": ["lm_head"],
         "config_groups": {"group_0": {"targets": ["Linear"], "weights": w, "format": kind}},
         "quantization_status": "compressed"}
    return s, dict(w, way=way, **own)


def ct(rng, at, shape, s):
    """Settings that choose the way."""
    return s["way"](rng, at, shape, s)


def fp8(rng, at, shape, s):
    if s["blocks"]:
        return ct_block(rng, at, shape, dict(s, block_structure=s["blocks"], suffix="weight_scale_inv"))
    codes = e4m3_codes(rng, shape)
    stored, scale = floats(rng, (shape[0], 1) if s.get("rows") else (), "F32")
    extra, _ = floats(rng, (), "F32")
    return {at + ".weight": ("F8_E4M3", codes), at + ".weight_scale": stored,
            at + (".input_scale_ub" if s.get("rows") else ".input_scale"): extra}, E4M3[codes] * scale


def fp8_stack(rng, at, shape, s):
    """Fused experts: blocks of each matrix, or a scale a matrix; NAME_scale_inv beside NAME."""
    e, out, n = shape
    codes = e4m3_codes(rng, shape)
    if s.get("rows") or not s["blocks"]:
        stored, scale = floats(rng, (e, 1, 1), "F32")
        full = np.broadcast_to(scale, shape)
    else:
        bh, bw = s["blocks"]
        if out % bh:
            return None
        stored, scale = floats(rng, (e, out // bh, -(-n // bw)), s["dtype"])
        full = np.repeat(np.repeat(scale, bh, 1), bw, 2)[:, :, :n]
    return {at: ("F8_E4M3", codes), at + str(rng.choice(["_scale_inv", "_scale"])): stored}, E4M3[codes] * full


def fp8_settings(rng):
    blocks = [int(rng.choice([16, 24, 48, 128])), int(rng.choice([16, 40, 128]))]
    s = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": blocks}
    if rng.integers(5) == 0:
        return {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, {"blocks": None, "rows": True}
    if rng.integers(3) == 0:
        blocks, s["weight_block_size"] = None, None
    return s, {"blocks": blocks, "dtype": str(rng.choice(["F32", "BF16"]))}


NF4 = np.array([-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
                0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
                0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1], F32)
FP4 = np.array([0, .0625, 8, 12, 4, 6, 2, 3, -0.0, -.0625, -8, -12, -4, -6, -2, -3], F32) / F32(12)


def bnb(rng, at, shape, s):
    if s["kind"] == "int8":
        codes = rng.integers(-127, 128, shape).astype("i1")
        stored, scb = floats(rng, (shape[0],), "F32", 2)
        tensors = {at + ".weight": ("I8", codes), at + ".SCB": stored}
        if rng.integers(2):
            tensors[at + ".weight_format"] = ("U8", np.zeros((), "u1"))
        return tensors, codes.astype(F32) * (scb[:, None] / F32(127))
    n, block = shape[0] * shape[1], s["block"]
    n_blocks = -(-n // block)
    codes = rng.integers(0, 16, n + n % 2)
    packed = (codes[0::2] << 4 | codes[1::2]).astype("u1")
    if s["storage"] == "bfloat16" and len(packed) % 2 == 0:
        stored = ("BF16", packed.view("<u2")[:, None])
    else:
        stored = ("U8", packed[:, None])
    book = NF4 if s["kind"] == "nf4" else FP4
    state = {"quant_type": s["kind"], "blocksize": block, "dtype": "bfloat16", "shape": list(shape)}
    name = at + ".weight"
    tensors = {name: stored, name + ".quant_map": ("F32", book)}
    if s["double"]:
        nested = np.sort(rng.uniform(-1, 1, 256).astype(F32))
        index = rng.integers(0, 256, n_blocks).astype("u1")
        nb = 256
        nested_absmax = rng.uniform(.01, .1, -(-n_blocks // nb)).astype(F32)
        offset = float(F32(rng.uniform(.1, .2)))
        state.update(nested_blocksize=nb, nested_dtype="float32", nested_offset=offset)
        tensors.update({name + ".absmax": ("U8", index), name + ".nested_absmax": ("F32", nested_absmax),
                        name + ".nested_quant_map": ("F32", nested)})
        absmax = nested[index] * nested_absmax[np.arange(n_blocks) // nb] + F32(offset)
    else:
        stored, absmax = floats(rng, (n_blocks,), "F32", 1)
        tensors[name + ".absmax"] = stored
    tensors[name + ".quant_state.bitsandbytes__" + s["kind"]] = (
        "U8", np.frombuffer(json.dumps(state).encode(), "u1"))
    return tensors, (book[codes[:n]] * np.repeat(absmax, block)[:n]).reshape(shape)


def bnb_stack(rng, at, shape, s):
    """Fused experts as one parameter, its state beside it."""
    if s["kind"] == "int8":
        return None
    tensors, value = bnb(rng, "X", (shape[0] * shape[1], shape[2]), s)
    out = {}
    for name, (dtype, x) in tensors.items():
        if "quant_state" in name:
            state = dict(json.loads(x.tobytes()), shape=list(shape))
            x = np.frombuffer(json.dumps(state).encode(), "u1")
        out[name.replace("X.weight", at)] = (dtype, x)
    return out, value.reshape(shape)


def bnb_settings(rng):
    kind = str(rng.choice(["nf4", "nf4", "fp4", "int8"]))
    own = {"kind": kind, "block": int(rng.choice([32, 64, 128, 256, 4096])),
           "double": bool(rng.integers(2)), "storage": str(rng.choice(["uint8", "bfloat16"]))}
    return {"quant_method": "bitsandbytes", "load_in_4bit": kind != "int8", "load_in_8bit": kind == "int8",
            "bnb_4bit_quant_type": kind, "bnb_4bit_use_double_quant": own["double"],
            "bnb_4bit_quant_storage": own["storage"]}, own


def mlx_exception(rng, at, s):
    """Settings of a module's own, said in the configuration."""
    kind = int(rng.integers(3))
    own = {"bits": int(rng.choice([2, 3, 4, 6, 8])), "group_size": int(rng.choice([32, 64]))}
    if kind == 1:
        own = {"bits": 4, "group_size": 32, "mode": "mxfp4"}
    s["said"][at] = own
    return dict(s, mode="affine", **own) if kind != 1 else dict(s, **own)


def mlx(rng, at, shape, s):
    out, n = shape
    before = s
    if rng.integers(4) == 0 and len(shape) == 2 and "switch_glu" not in at:
        s = mlx_exception(rng, at, s)
    made = mlx_codes(rng, at, shape, s)
    if not made and s is not before:
        del s["said"][at]
    return made


def mlx_codes(rng, at, shape, s):
    out, n = shape
    mode, bits, group = s["mode"], s["bits"], s["group_size"]
    if n % group or n * bits % 32:
        return None
    codes = rng.integers(0, 2 ** bits, shape)
    if mode == "mxfp8":
        codes = e4m3_codes(rng, shape)
    words = ("U32", pack_bits(codes, bits, 1))
    if mode == "affine":
        (a, scale), (b, bias) = floats(rng, (out, n // group), s["dtype"], signed=True), \
            floats(rng, (out, n // group), s["dtype"], .1, True)
        return {at + ".weight": words, at + ".scales": a, at + ".biases": b}, \
            (codes * spread(scale, n).astype("f8") + spread(bias, n)).astype(F32)
    if mode == "nvfp4":
        c = e4m3_codes(rng, (out, n // group), True)
        return {at + ".weight": words, at + ".scales": ("U8", c)}, E2M1[codes] * spread(E4M3[c], n)
    c = rng.integers(112, 122, (out, n // group)).astype("u1")
    value = E2M1[codes] if mode == "mxfp4" else E4M3[codes]
    return {at + ".weight": words, at + ".scales": ("U8", c)}, value * spread(np.exp2(c.astype(F32) - 127), n)


def mlx_settings(rng):
    mode = str(rng.choice(["affine"] * 5 + ["mxfp4", "nvfp4", "mxfp8"]))
    s = {"mode": mode, "bits": int(rng.choice([2, 3, 4, 5, 6, 8])), "group_size": int(rng.choice([32, 64, 128]))}
    if mode != "affine":
        s.update({"mxfp4": {"bits": 4, "group_size": 32}, "nvfp4": {"bits": 4, "group_size": 16},
                  "mxfp8": {"bits": 8, "group_size": 32}}[mode])
    elif rng.integers(2):
        del s["mode"]
    return s, dict(s, mode=mode, dtype=str(rng.choice(["BF16", "F16", "F32"])), said=s)


def modelopt(rng, at, shape, s):
    extra, _ = floats(rng, (), "F32")
    if s["quant_algo"] == "FP8":
        codes = e4m3_codes(rng, shape)
        stored, scale = floats(rng, (), "F32")
        return {at + ".weight": ("F8_E4M3", codes), at + ".weight_scale": stored,
                at + ".input_scale": extra}, E4M3[codes] * scale
    if shape[1] % 16:
        return None
    packed, value = fp4_codes(rng, shape)
    codes = e4m3_codes(rng, (shape[0], shape[1] // 16), True)
    stored, second = floats(rng, (), "F32", 1e-3)
    return {at + ".weight": ("U8", packed), at + ".weight_scale": ("F8_E4M3", codes),
            at + ".weight_scale_2": stored, at + ".input_scale": extra}, \
        value * spread(E4M3[codes] * second, shape[1])


def modelopt_settings(rng):
    s = {"quant_method": "modelopt", "quant_algo": str(rng.choice(["NVFP4", "FP8"]))}
    return s, s


def torchao(rng, at, shape, s):
    out, n = shape
    group = s["group"] or n
    if n % group:
        return None
    grid = (out, n // group)
    stored, scale = floats(rng, grid, s["dtype"])
    if s["float"]:
        codes = e4m3_codes(rng, shape)
        return {at + "._weight_qdata": ("F8_E4M3", codes), at + "._weight_scale": stored}, \
            E4M3[codes] * spread(scale, n)
    codes, zero = rng.integers(-128, 128, shape).astype("i1"), rng.integers(-9, 9, grid)
    return {at + "._weight_qdata": ("I8", codes), at + "._weight_scale": stored,
            at + "._weight_zero_point": ("I8", zero.astype("i1"))}, \
        (codes - spread(zero, n)).astype(F32) * spread(scale, n)


def torchao_settings(rng):
    own = {"float": bool(rng.integers(2)), "group": int(rng.choice([0, 0, 32, 64])),
           "dtype": str(rng.choice(["F32", "BF16"]))}
    kind = "Float8WeightOnlyConfig" if own["float"] else "Int8WeightOnlyConfig"
    return {"quant_method": "torchao", "quant_type": {"default": {"_type": kind, "_data": {}}}}, own


def mobile(rng, at, shape, s):
    out, n = shape
    bits = s["num_bits"]
    if n * bits % 8:
        return None
    codes = rng.integers(0, 2 ** bits, shape)
    stored, scale = floats(rng, (out, 1), s["dtype"])
    if bits == 8 and s["signed"]:
        data = ("I8", (codes - 128).astype("i1"))
    else:
        per = 8 // bits
        data = ("U8", (codes.reshape(out, -1, per) << (bits * np.arange(per))).sum(-1).astype("u1"))
    return {at + ".weight": data, at + ".weight_scale": stored}, (codes - 2 ** (bits - 1)).astype(F32) * scale


def mobile_settings(rng):
    s = {"quant_method": "gemma", "num_bits": int(rng.choice([2, 4, 8]))}
    return s, dict(s, signed=bool(rng.integers(2)), dtype=str(rng.choice(["F32", "BF16"])))


STACKS = {"fp8": fp8_stack, "bnb": bnb_stack}
WAYS = {"gptq": (gptq, gptq_settings), "autoround": (ct, autoround_settings), "awq": (awq, awq_settings), "ct": (ct, ct_settings),
        "fp8": (fp8, fp8_settings), "bnb": (bnb, bnb_settings), "mlx": (mlx, mlx_settings),
        "modelopt": (modelopt, modelopt_settings), "torchao": (torchao, torchao_settings),
        "mobile": (mobile, mobile_settings)}
