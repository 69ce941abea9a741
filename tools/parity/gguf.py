"""Writes GGUF v3 files (spec: ggml-org/ggml docs/gguf.md). Tensors come as encoded bytes."""
import struct

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
ALIGNMENT = 32
# name: (id, elements of a block, bytes of a block)
TYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136), "BF16": (30, 1, 2),
}


def text(s):
    raw = s.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def padded(raw):
    return raw + b"\0" * (-len(raw) % ALIGNMENT)


class Writer:
    def __init__(self):
        self.entries = []
        self.tensors = []

    def put(self, key, kind, payload):
        self.entries.append(text(key) + struct.pack("<I", kind) + payload)

    def value(self, key, value):
        """int -> u32, float -> f32, bool, str."""
        if isinstance(value, bool):
            self.put(key, BOOL, struct.pack("<?", value))
        elif isinstance(value, int):
            self.put(key, U32, struct.pack("<I", value))
        elif isinstance(value, float):
            self.put(key, F32, struct.pack("<f", value))
        else:
            self.put(key, STRING, text(value))

    def array(self, key, kind, values):
        packed = {STRING: text, F32: lambda v: struct.pack("<f", v),
                  I32: lambda v: struct.pack("<i", v), BOOL: lambda v: struct.pack("<?", v)}[kind]
        self.put(key, ARRAY, struct.pack("<IQ", kind, len(values)) +
                 b"".join(packed(v) for v in values))

    def tensor(self, name, shape, kind, raw):
        """shape: slowest dimension first."""
        self.tensors.append((name, shape, kind, raw))

    def bytes(self):
        head = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.entries))]
        head += self.entries
        offset = 0
        for name, shape, kind, raw in self.tensors:
            head.append(text(name) + struct.pack("<I", len(shape)) +
                        struct.pack("<%dQ" % len(shape), *reversed(shape)) +
                        struct.pack("<IQ", TYPES[kind][0], offset))
            offset += len(padded(raw))
        return padded(b"".join(head)) + b"".join(padded(t[3]) for t in self.tensors)
