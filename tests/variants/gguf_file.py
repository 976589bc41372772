"""gguf_file.py - the metadata and tensors of a small GGUF, with the standard library alone"""
import struct
from array import array

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
           12: "d"}
STRING, ARRAY = 8, 9
BLOCKS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
          6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 30: ("BF16", 1, 2)}


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def scalar(self, code):
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize(code)
        return value

    def string(self):
        n = self.scalar("Q")
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            item = self.scalar("I")
            return [self.value(item) for _ in range(self.scalar("Q"))]
        return self.scalar(SCALARS[kind])


class Gguf:
    """metadata: key -> value; tensors: name -> (type, elements, bytes)"""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        c = Cursor(data)
        assert data[:4] == b"GGUF", path
        c.at = 4
        version, n_tensors, n_keys = c.scalar("I"), c.scalar("Q"), c.scalar("Q")
        assert version == 3, version
        self.metadata = {}
        for _ in range(n_keys):
            key = c.string()
            self.metadata[key] = c.value(c.scalar("I"))
        rows = []
        for _ in range(n_tensors):
            name, n = c.string(), 1
            for _ in range(c.scalar("I")):
                n *= c.scalar("Q")
            rows.append((name, n, c.scalar("I"), c.scalar("Q")))
        align = self.metadata.get("general.alignment", 32)
        base = -(-c.at // align) * align
        self.tensors = {}
        for name, n, kind, offset in rows:
            title, per, size = BLOCKS[kind]
            self.tensors[name] = (title, n, data[base + offset:base + offset + n // per * size])


def decode_q4_0(raw):
    """Blocks of Q4_0 as little-endian f32: an f16 scale, then 16 bytes whose low nibbles are
    the first half of the codes and whose high nibbles are the second. Zeros are positive: under
    a negative scale code 0 decodes to -0, which is the same weight."""
    out = array("f")
    for at in range(0, len(raw), 18):
        (d,) = struct.unpack_from("<e", raw, at)
        codes = raw[at + 2:at + 18]
        out.extend(d * ((c & 15) - 8) + 0.0 for c in codes)
        out.extend(d * ((c >> 4) - 8) + 0.0 for c in codes)
    return out


def to_bf16(values):
    """Each f32 rounded to the nearest BF16, ties to even."""
    bits = array("I", values.tobytes())
    for i, b in enumerate(bits):
        bits[i] = (b + 0x7FFF + (b >> 16 & 1)) & 0xFFFF0000
    return array("f", bits.tobytes())
