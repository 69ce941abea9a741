"""A model of the zoo as a GGUF file, with a small tokenizer so that every engine loads it."""
import gguf
from zoo import CONTEXT, VOCAB

# Pieces of everyday words behind the bytes of a SentencePiece vocabulary.
STARTS = ("th", "s", "w", "b", "c", "m", "l", "h", "d", "p", "g", "r", "t")
ENDS = ("e", "at", "in", "or", "on", "al", "it", "en", "an", "is", "ou", "er", "o", "a", "ing",
        "ed", "ly", "y", "es", "st")
PIECES = ["\u2581" + a + b for a in STARTS for b in ENDS]


def tokenizer(out):
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    pieces = PIECES[:VOCAB - len(tokens)]
    assert len(pieces) == VOCAB - len(tokens) and len(set(pieces)) == len(pieces)
    scores = [0.0] * len(tokens) + [-float(i) for i in range(len(pieces))]
    tokens += pieces
    kinds += [1] * len(pieces)
    out.value("tokenizer.ggml.model", "llama")
    out.value("tokenizer.ggml.pre", "default")
    out.array("tokenizer.ggml.tokens", gguf.STRING, tokens)
    out.array("tokenizer.ggml.scores", gguf.F32, scores)
    out.array("tokenizer.ggml.token_type", gguf.I32, kinds)
    out.value("tokenizer.ggml.unknown_token_id", 0)
    out.value("tokenizer.ggml.bos_token_id", 1)
    out.value("tokenizer.ggml.eos_token_id", 2)


def metadata(out, m):
    arch = m["arch"]
    out.value("general.architecture", arch)
    # Not the model's own name: some engines look for special tokens by it.
    out.value("general.name", "parity")
    values = {
        "context_length": CONTEXT, "embedding_length": m["width"], "block_count": m["layers"],
        "feed_forward_length": m["ffn"], "attention.head_count": m["heads"],
        "attention.head_count_kv": m["kv_heads"], "attention.key_length": m["head_dim"],
        "attention.value_length": m["head_dim"], "vocab_size": VOCAB,
        "rope.dimension_count": m.get("rope_dim", m["head_dim"]),
        "rope.freq_base": float(m["theta"]), "attention.layer_norm_rms_epsilon": 1e-5,
    }
    if "experts" in m:
        values.update({"expert_count": m["experts"], "expert_used_count": m["used"]})
        if arch == "llama":
            values["feed_forward_length"] = m["expert_ffn"]
        else:
            values["expert_feed_forward_length"] = m["expert_ffn"]
    if "shared_ffn" in m:
        values["expert_shared_feed_forward_length"] = m["shared_ffn"]
    if "window" in m:
        values["attention.sliding_window"] = m["window"]
    if "softcap" in m:
        values["attn_logit_softcapping"] = m["softcap"]
    if "final_softcap" in m:
        values["final_logit_softcapping"] = m["final_softcap"]
    s = m.get("scaling", {})
    if s.get("type") in ("linear", "yarn"):
        values["rope.scaling.type"] = s["type"]
        values["rope.scaling.factor"] = s["factor"]
    if "original" in s and s["type"] != "llama3":
        values["rope.scaling.original_context_length"] = s["original"]
    if "attn_factor" in s:
        values["rope.scaling.attn_factor"] = s["attn_factor"]
    for key, value in values.items():
        out.value("%s.%s" % (arch, key), value)


def encode(m, tensors):
    out = gguf.Writer()
    metadata(out, m)
    tokenizer(out)
    for t in tensors:
        out.tensor(t.name, t.shape, t.kind, t.raw)
    return out.bytes()
