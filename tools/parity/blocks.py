"""Random legal blocks of every weight format, scaled to a standard deviation.

Block formats are not encoded from values: the quants are random bits, which reaches every code of a
format, and the block's scales are set so that the values they stand for have the standard deviation
asked for and a mean near 0. STD is a format's standard deviation for a scale of 1 over uniform
quants; MIN is the ratio of the minimum's scale to the scale that takes the mean away.

Only raw bits are drawn from numpy's generator: their stream is the same in every version.
"""
import numpy as np

IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
                      dtype=np.float64)


class Bits:
    def __init__(self, *seed):
        self.source = np.random.Philox(np.random.SeedSequence(list(seed)))

    def bytes(self, n):
        raw = self.source.random_raw((n + 7) // 8)
        return raw.astype("<u8").view(np.uint8)[:n].copy()

    def uniform(self, n):
        """n doubles in [-1, 1)."""
        return (self.source.random_raw(n) >> np.uint64(11)).astype(np.float64) * 2.0 ** -52 - 1.0


def uniform_std(values):
    return float(np.std(np.asarray(values, dtype=np.float64)))


def product_std(scales, quants):
    """Standard deviation of s * q with s and q uniform."""
    s, q = np.asarray(scales, dtype=np.float64), np.asarray(quants, dtype=np.float64)
    return float(np.sqrt(np.mean(s ** 2) * np.mean(q ** 2) - (np.mean(s) * np.mean(q)) ** 2))


def centred_std(scales, quants):
    """Of s * (q - mean q): the minimum takes the mean away, as far as its own steps allow."""
    s, q = np.asarray(scales, dtype=np.float64), np.asarray(quants, dtype=np.float64)
    return float(np.sqrt(np.mean(s ** 2) * np.var(q)))


def halves(values):
    return values.astype("<f2").view(np.uint8).reshape(-1, 2)


def to_bf16(x):
    """Round to nearest, ties to even."""
    bits = np.ascontiguousarray(x, dtype="<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def from_bf16(bits):
    return (bits.astype("<u4") << 16).view("<f4")


# name: (bytes before the first scale, std for scale 1, ratio of the minimum's scale or None)
# The scale is the f16 at that place, the minimum's the f16 behind it. Quants without a minimum are
# off balance by half a step, so their blocks' scales have either sign, as quantizers write them.
SCALED = {
    "Q4_0": (0, uniform_std(range(16)), None),
    "Q4_1": (0, uniform_std(range(16)), -7.5),
    "Q5_0": (0, uniform_std(range(32)), None),
    "Q5_1": (0, uniform_std(range(32)), -15.5),
    "Q8_0": (0, uniform_std(range(-128, 128)), None),
    "Q2_K": (80, centred_std(range(16), range(4)), 1.5),
    "Q3_K": (108, product_std(range(-32, 32), range(-4, 4)), None),
    "Q4_K": (0, centred_std(range(64), range(16)), 7.5),
    "Q5_K": (0, centred_std(range(64), range(32)), 15.5),
    "Q6_K": (208, product_std(range(-128, 128), range(-32, 32)), None),
    "IQ4_NL": (0, uniform_std(IQ4_VALUES), None),
    "IQ4_XS": (0, product_std(range(-32, 32), IQ4_VALUES), None),
}


def near(bits, scales, top):
    """Minima that differ from their scales by -1, 0 or 1: blocks of real weights lie around 0."""
    step = bits.bytes(scales.size).reshape(scales.shape).astype(np.int16) % 3 - 1
    return np.clip(scales.astype(np.int16) + step, 0, top).astype(np.uint8)


def pack_k_scales(scales, minima):
    """Eight 6-bit scales and eight minima in twelve bytes, as Q4_K and Q5_K have them."""
    out = np.zeros((scales.shape[0], 12), dtype=np.uint8)
    out[:, 0:4] = scales[:, :4] | ((scales[:, 4:] >> 4) << 6)
    out[:, 4:8] = minima[:, :4] | ((minima[:, 4:] >> 4) << 6)
    out[:, 8:12] = (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)
    return out


def set_minima(bits, kind, out):
    count = out.shape[0]
    if kind == "Q2_K":
        scales = out[:, :16] & 15
        out[:, :16] = scales | (near(bits, scales, 15) << 4)
    if kind in ("Q4_K", "Q5_K"):
        scales = bits.bytes(count * 8).reshape(count, 8) & 63
        out[:, 4:16] = pack_k_scales(scales, near(bits, scales, 63))


def random_blocks(bits, kind, elements, block, size, std):
    """`elements` values of a block format as bytes."""
    place, unit, ratio = SCALED[kind]
    count = elements // block
    out = bits.bytes(count * size).reshape(count, size)
    set_minima(bits, kind, out)
    # Blocks differ by up to a fifth, so that a kernel cannot take one's scale for another's.
    scale = std / unit * (1.0 + 0.2 * bits.uniform(count))
    out[:, place:place + 2] = halves(scale)
    if ratio is None:
        scale *= np.where(bits.bytes(count) & 1, 1.0, -1.0)
        out[:, place:place + 2] = halves(scale)
    else:
        out[:, place + 2:place + 4] = halves(scale * ratio)
    return out.tobytes()


def random_plain(bits, kind, elements, std):
    """Uniform values with the standard deviation `std`; returns bytes and what they stand for."""
    x = (bits.uniform(elements) * (std * np.sqrt(3.0))).astype("<f4")
    return encode_plain(kind, x)


def encode_plain(kind, x):
    if kind == "F32":
        return x.tobytes(), x
    if kind == "F16":
        half = x.astype("<f2")
        return half.tobytes(), half.astype("<f4")
    bf = to_bf16(x)
    return bf.tobytes(), from_bf16(bf)
