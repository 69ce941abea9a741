"""The same weights as a Hugging Face folder: other names, and other layouts where they differ.

GGUF's llama has the rows of q and k permuted (it rotates neighbours, the folder rotates halves),
gemma's norm weights are stored less 1, experts lie apart.
"""
import json
import os
import struct

import numpy as np

import blocks
from zoo import CONTEXT, VOCAB

MODEL = {"token_embd.weight": "model.embed_tokens.weight",
         "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
LAYER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate", "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj", "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
}
GEMMA = {"ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm",
         "post_ffw_norm": "post_feedforward_layernorm"}
EXPERTS = {"ffn_gate_exps": ("gate_proj", "w1"), "ffn_up_exps": ("up_proj", "w3"),
           "ffn_down_exps": ("down_proj", "w2")}


def unpermute(x, m):
    """Rows of each head from neighbours (0, 1), (2, 3), … to halves (0, h), (1, h + 1), …"""
    half = m["head_dim"] // 2
    heads = x.reshape((-1, half, 2) + x.shape[1:])
    return np.swapaxes(heads, 1, 2).reshape(x.shape)


def translate(m, t):
    """Yields (name, values)."""
    if t.name.startswith("rope_"):
        return
    x = t.values
    gemma = m["arch"].startswith("gemma")
    if gemma and t.name.endswith("norm.weight"):
        x = x - np.float32(1.0)
    if t.name in MODEL:
        yield MODEL[t.name], x
        return
    _, layer, module, suffix = t.name.split(".")
    prefix = "model.layers.%s." % layer
    if m["arch"] == "llama" and module in ("attn_q", "attn_k"):
        x = unpermute(x, m)
    if module in EXPERTS:
        mixtral = m["arch"] == "llama"
        part = EXPERTS[module][1 if mixtral else 0]
        where = "block_sparse_moe" if mixtral else "mlp"
        for e in range(x.shape[0]):
            yield "%s%s.experts.%d.%s.%s" % (prefix, where, e, part, suffix), x[e]
        return
    name = (GEMMA if gemma else {}).get(module, LAYER.get(module))
    if m["arch"] == "phi3" and module == "ffn_up":
        name = "mlp.gate_up_proj"
    if m["arch"] == "llama" and module == "ffn_gate_inp":
        name = "block_sparse_moe.gate"
    if module == "ffn_gate_inp_shexp":
        x = x.reshape(1, -1)
    yield prefix + name + "." + suffix, x


def rope_scaling(m):
    s = m.get("scaling")
    if s is None:
        return None
    if s["type"] == "linear":
        return {"rope_type": "linear", "factor": s["factor"]}
    out = {"rope_type": s["type"], "factor": s["factor"],
           "original_max_position_embeddings": s["original"]}
    if s["type"] == "llama3":
        out.update(low_freq_factor=s["low"], high_freq_factor=s["high"])
    return out


def config(m):
    gemma = m["arch"].startswith("gemma")
    out = {
        "architectures": [m["hf"]], "hidden_size": m["width"], "intermediate_size": m["ffn"],
        "num_hidden_layers": m["layers"], "num_attention_heads": m["heads"],
        "num_key_value_heads": m["kv_heads"], "head_dim": m["head_dim"], "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": m["theta"],
        "hidden_act": "gelu_pytorch_tanh" if gemma else "silu", "rope_scaling": rope_scaling(m),
        "tie_word_embeddings": bool(m.get("tied")), "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": "bfloat16" if m["kind"] == "BF16" else "float32",
    }
    if "window" in m:
        out["sliding_window"] = m["window"]
    if gemma:
        out.update(query_pre_attn_scalar=m["head_dim"], attn_logit_softcapping=m.get("softcap"),
                   final_logit_softcapping=m.get("final_softcap"),
                   rope_local_base_freq=m.get("local_theta"))
    if "experts" in m:
        out["num_experts_per_tok"] = m["used"]
        if m["arch"] == "llama":
            out.update(num_local_experts=m["experts"], intermediate_size=m["expert_ffn"])
        else:
            out.update(num_experts=m["experts"], moe_intermediate_size=m["expert_ffn"],
                       norm_topk_prob=m["arch"] == "qwen3moe")
    if "shared_ffn" in m:
        out["shared_expert_intermediate_size"] = m["shared_ffn"]
    return {k: v for k, v in out.items() if v is not None or k.endswith("softcapping")}


def safetensors(named, kind):
    """Norms and biases are stored in the matrices' type only where that loses nothing."""
    header, data = {}, b""
    # Four-byte values first, so that each lies at a multiple of its size.
    items = []
    for name, x in named:
        exact = np.array_equal(blocks.from_bf16(blocks.to_bf16(x)).reshape(x.shape), x)
        items.append((name, x, "BF16" if kind == "BF16" and exact else "F32"))
    for name, x, dtype in sorted(items, key=lambda i: (i[2] != "F32", i[0])):
        raw = x.astype("<f4").tobytes() if dtype == "F32" else blocks.to_bf16(x).tobytes()
        header[name] = {"dtype": dtype, "shape": list(x.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


def write(m, tensors, folder):
    os.makedirs(folder, exist_ok=True)
    named = [pair for t in tensors for pair in translate(m, t)]
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config(m), f, indent=1)
    if m["name"] != "llama3":
        with open(os.path.join(folder, "model.safetensors"), "wb") as f:
            f.write(safetensors(named, m["kind"]))
        return
    # One model comes in two shards with an index.
    half = len(named) // 2
    weight_map = {}
    for i, part in enumerate((named[:half], named[half:])):
        shard = "model-%05d-of-00002.safetensors" % (i + 1)
        weight_map.update({name: shard for name, _ in part})
        with open(os.path.join(folder, shard), "wb") as f:
            f.write(safetensors(part, m["kind"]))
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
        json.dump({"metadata": {}, "weight_map": weight_map}, f, indent=1)
