"""Writes and reads GGUF version 3 (little endian), as far as this model needs it.

Layout: "GGUF", u32 version, u64 tensors, u64 metadata entries; the entries (string key, u32 type,
value); the tensor descriptions (name, u32 dims, u64 sizes fastest first, u32 type, u64 offset);
zeros up to a multiple of 32; the tensors' bytes, each at such a multiple.
A string is u64 length and bytes; an array is u32 element type, u64 count and the elements.
"""
import struct

import numpy as np

ALIGN = 32
U32, I32, F32, BOOL, STR, ARR, U64 = 4, 5, 6, 7, 8, 9, 10
_FORMATS = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}
TENSOR_F32, TENSOR_Q8_0 = 0, 8
BLOCK = 32
_Q8_BLOCK = np.dtype([("d", "<f2"), ("q", "i1", BLOCK)])


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    return _string(value) if kind == STR else struct.pack(_FORMATS[kind], value)


def quantize_q8_0(weights):
    """float32 [rows, columns] -> blocks of 32: a half-precision scale and 32 int8 each."""
    blocks = np.ascontiguousarray(weights, dtype="<f4").reshape(-1, BLOCK)
    scale = np.abs(blocks).max(1, keepdims=True) / 127.0
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    out = np.empty(len(blocks), dtype=_Q8_BLOCK)
    out["d"] = scale[:, 0]
    scaled = blocks * inverse  # round half away from zero, as the format's reference does
    out["q"] = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)
    return out


def dequantize_q8_0(blocks, shape):
    return (blocks["d"].astype("<f4")[:, None] * blocks["q"]).astype("<f4").reshape(shape)


class Writer:
    def __init__(self):
        self._entries, self._tensors = [], []

    def put(self, key, kind, value):
        self._entries.append(_string(key) + struct.pack("<I", kind) + _value(kind, value))

    def put_array(self, key, kind, values):
        self._entries.append(_string(key) + struct.pack("<IIQ", ARR, kind, len(values)) +
                             b"".join(_value(kind, v) for v in values))

    def tensor(self, name, array):
        """Matrices become Q8_0, vectors stay F32."""
        if array.ndim == 2:
            self._tensors.append((name, array.shape, TENSOR_Q8_0, quantize_q8_0(array).tobytes()))
        else:
            data = np.ascontiguousarray(array, dtype="<f4").tobytes()
            self._tensors.append((name, array.shape, TENSOR_F32, data))

    def write(self, path):
        infos, offset = [], 0
        for name, shape, kind, data in self._tensors:
            infos.append(_string(name) + struct.pack("<I", len(shape)) +
                         struct.pack("<%dQ" % len(shape), *reversed(shape)) +
                         struct.pack("<IQ", kind, offset))
            offset += len(data) + -len(data) % ALIGN
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self._tensors), len(self._entries))
        head += b"".join(self._entries + infos)
        with open(path, "wb") as file:
            file.write(head + bytes(-len(head) % ALIGN))
            for _, _, _, data in self._tensors:
                file.write(data + bytes(-len(data) % ALIGN))


class Reader:
    """Metadata in `meta`, tensors as float32 arrays in `tensors`."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self._data = file.read()
        self._at = 4
        version, tensors, entries = self._take("<I"), self._take("<Q"), self._take("<Q")
        if self._data[:4] != b"GGUF" or version != 3:
            raise ValueError("%s: not a GGUF file of version 3" % path)
        self.meta = {}
        for _ in range(entries):
            key = self._text()
            self.meta[key] = self._entry(self._take("<I"))
        infos = []
        for _ in range(tensors):
            name = self._text()
            shape = [self._take("<Q") for _ in range(self._take("<I"))][::-1]
            infos.append((name, shape, self._take("<I"), self._take("<Q")))
        start = self._at + -self._at % ALIGN
        self.tensors = {n: self._tensor(s, k, start + o) for n, s, k, o in infos}

    def _take(self, form):
        value, = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value

    def _text(self):
        size = self._take("<Q")
        self._at += size
        return self._data[self._at - size:self._at].decode()

    def _entry(self, kind):
        if kind == STR:
            return self._text()
        if kind == ARR:
            element, count = self._take("<I"), self._take("<Q")
            return [self._entry(element) for _ in range(count)]
        return self._take(_FORMATS[kind])

    def _tensor(self, shape, kind, at):
        count = int(np.prod(shape))
        if kind == TENSOR_F32:
            return np.frombuffer(self._data, "<f4", count, at).reshape(shape)
        if kind == TENSOR_Q8_0:
            blocks = np.frombuffer(self._data, _Q8_BLOCK, count // BLOCK, at)
            return dequantize_q8_0(blocks, shape)
        raise ValueError("tensor type %d is not one this model uses" % kind)
