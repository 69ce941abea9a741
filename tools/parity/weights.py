"""A model's tensors: names, shapes, and random values of the size that keeps activations near 1.

Matrices have a standard deviation of gain / sqrt(columns). Gains above 1 for queries, keys and what
writes into the residual stream make attention and feed-forward layers matter beside the embedding.
"""
import math
import zlib

import numpy as np

import blocks
import gguf
from zoo import VOCAB

SEED = 20250117
LOGITS = 8.0  # standard deviation of a position's logits
GAINS = {"attn_q": 1.2, "attn_k": 1.2, "attn_output": 2.0, "ffn_down": 2.5, "ffn_down_exps": 2.5,
         "ffn_down_shexp": 2.0, "ffn_gate_inp": 2.0, "ffn_gate_inp_shexp": 1.5}
# By how many standard deviations a token lifts the logit of its own successor (see output()). F32
# needs little, as nothing blurs its gaps; the others need enough for four gaps in five to be above
# the bound.
BOOST_F32, BOOST = 2.0, 6.0
BRANCH_POWER = 2.0        # mean square of what a block adds to the residual stream, as measured
GEMMA_BRANCH_POWER = 1.0  # behind a norm


class Tensor:
    def __init__(self, name, shape, kind, raw, values):
        self.name, self.shape, self.kind, self.raw = name, shape, kind, raw
        self.values = values  # float32 of that shape; None for block formats


def is_gemma(m):
    return m["arch"].startswith("gemma")


class Maker:
    def __init__(self, m):
        self.m = m
        self.out = []

    def bits(self, name):
        return blocks.Bits(SEED, zlib.crc32(self.m["name"].encode()), zlib.crc32(name.encode()))

    def matrix(self, name, shape, kind=None, std=None):
        kind = kind or self.m["kind"]
        gain = GAINS.get(name.split(".")[-2], 1.0)
        std = std if std is not None else gain / math.sqrt(shape[-1])
        n = math.prod(shape)
        bits = self.bits(name)
        values = None
        if kind in blocks.SCALED:
            _, block, size = gguf.TYPES[kind]
            raw = blocks.random_blocks(bits, kind, n, block, size, std)
        else:
            raw, values = blocks.random_plain(bits, kind, n, std)
            values = values.reshape(shape)
        self.out.append(Tensor(name, shape, kind, raw, values))

    def vector(self, name, n, mean, spread):
        """Values are multiples of 1/256, so that adding and subtracting 1 is exact."""
        x = mean + spread * self.bits(name).uniform(n)
        self.given(name, np.round(x * 256) / 256)

    def given(self, name, values):
        x = np.asarray(values, dtype="<f4")
        self.out.append(Tensor(name, x.shape, "F32", x.tobytes(), x))


def attention(make, m, p):
    q, kv = m["heads"] * m["head_dim"], m["kv_heads"] * m["head_dim"]
    d = m["width"]
    make.vector(p + "attn_norm.weight", d, 1.0, 0.2)
    if m["arch"] == "phi3":
        make.matrix(p + "attn_qkv.weight", (q + 2 * kv, d), std=1.3 / math.sqrt(d))
    else:
        make.matrix(p + "attn_q.weight", (q, d))
        make.matrix(p + "attn_k.weight", (kv, d))
        make.matrix(p + "attn_v.weight", (kv, d))
    if m["arch"] in ("qwen2", "qwen2moe") or m.get("bias"):
        for name, n in (("q", q), ("k", kv), ("v", kv)):
            make.vector("%sattn_%s.bias" % (p, name), n, 0.0, 0.5)
    if m.get("bias"):
        make.vector(p + "attn_output.bias", d, 0.0, 0.5)
    make.matrix(p + "attn_output.weight", (d, q))
    if m["arch"] in ("qwen3", "qwen3moe", "gemma3"):
        make.vector(p + "attn_q_norm.weight", m["head_dim"], 1.25, 0.5)
        make.vector(p + "attn_k_norm.weight", m["head_dim"], 1.25, 0.5)
    if is_gemma(m):
        make.vector(p + "post_attention_norm.weight", d, 1.0, 0.2)


def feed_forward(make, m, p):
    d, f = m["width"], m["ffn"]
    make.vector(p + "ffn_norm.weight", d, 1.0, 0.2)
    if is_gemma(m):
        make.vector(p + "post_ffw_norm.weight", d, 1.0, 0.2)
    if "experts" in m:
        e, f = m["experts"], m["expert_ffn"]
        make.matrix(p + "ffn_gate_inp.weight", (e, d), kind="F32")
        make.matrix(p + "ffn_gate_exps.weight", (e, f, d))
        make.matrix(p + "ffn_up_exps.weight", (e, f, d))
        make.matrix(p + "ffn_down_exps.weight", (e, d, f))
        if "shared_ffn" in m:
            s = m["shared_ffn"]
            make.matrix(p + "ffn_gate_inp_shexp.weight", (d,), kind="F32")
            make.matrix(p + "ffn_gate_shexp.weight", (s, d))
            make.matrix(p + "ffn_up_shexp.weight", (s, d))
            make.matrix(p + "ffn_down_shexp.weight", (d, s))
    elif m["arch"] == "phi3":
        make.matrix(p + "ffn_up.weight", (2 * f, d))
        make.matrix(p + "ffn_down.weight", (d, f))
    else:
        make.matrix(p + "ffn_gate.weight", (f, d))
        make.matrix(p + "ffn_up.weight", (f, d))
        make.matrix(p + "ffn_down.weight", (d, f))


def llama3_divisors(m):
    """Meta's long-context scheme: what each frequency is divided by."""
    s, half = m["scaling"], m["head_dim"] // 2
    out = []
    for i in range(half):
        turns = s["original"] * m["theta"] ** (-2.0 * i / m["head_dim"]) / (2 * math.pi)
        kept = min(max((turns - s["low"]) / (s["high"] - s["low"]), 0.0), 1.0)
        out.append(1.0 / (kept + (1.0 - kept) / s["factor"]))
    return out


def rope(make, m):
    kind = m.get("scaling", {}).get("type")
    if kind == "llama3":
        make.given("rope_freqs.weight", llama3_divisors(m))
    if kind == "longrope":
        half = m.get("rope_dim", m["head_dim"]) // 2
        make.given("rope_factors_short.weight", [1.0 + 0.0625 * i for i in range(half)])
        make.given("rope_factors_long.weight", [1.0 + 0.5 * i for i in range(half)])


def embedding_std(m):
    """The share of the residual stream that gives the boost: see output()."""
    boost = BOOST_F32 if m["kind"] == "F32" else BOOST
    share = boost / math.sqrt(m["width"])
    power = 2 * m["layers"] * (GEMMA_BRANCH_POWER if is_gemma(m) else BRANCH_POWER)
    return share * math.sqrt(power / (1.0 - share ** 2))


def output(make, m, std):
    """The output matrix is the embedding with its rows shuffled (tied: not shuffled): a token's
    embedding, still in the residual stream, lifts the logit of its successor in the shuffle."""
    d = m["width"]
    # The last norm brings the logits to their standard deviation.
    scale = LOGITS / (std * math.sqrt(d))
    make.vector("output_norm.weight", d, scale, 0.2 * scale)
    if m.get("tied"):
        return
    embedding = make.out[0]
    order = np.argsort(make.bits("successors").source.random_raw(VOCAB), kind="stable")
    raw = np.frombuffer(embedding.raw, dtype=np.uint8).reshape(VOCAB, -1)[order].tobytes()
    values = None if embedding.values is None else embedding.values[order]
    make.out.append(Tensor("output.weight", embedding.shape, embedding.kind, raw, values))


def tensors(m):
    make = Maker(m)
    std = embedding_std(m) / (math.sqrt(m["width"]) if is_gemma(m) else 1.0)
    make.matrix("token_embd.weight", (VOCAB, m["width"]), std=std)
    output(make, m, std)
    rope(make, m)
    for i in range(m["layers"]):
        attention(make, m, "blk.%d." % i)
        feed_forward(make, m, "blk.%d." % i)
    return make.out
