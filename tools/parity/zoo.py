"""The models of the parity test: every architecture in F32, every weight format, some of both.

Dimensions are as small as the formats allow.
"""

VOCAB = 512
CONTEXT = 128

SMALL = dict(layers=3, width=64, heads=4, kv_heads=2, head_dim=16, ffn=96, kind="F32", theta=1e4)
# K-quants have blocks of 256 values, so every row has 256 of them.
WIDE = dict(layers=2, width=256, heads=8, kv_heads=4, head_dim=32, ffn=256, kind="Q8_0", theta=1e4)
HALF = dict(layers=2, width=128, heads=4, kv_heads=2, head_dim=32, ffn=192, theta=1e4)
MIXTURE = dict(experts=6, used=2, expert_ffn=48)
# Quantized mixtures use all their experts: rounding must not decide which one is taken. F32 models
# test the choice.
WIDE_MIXTURE = dict(experts=4, used=4, expert_ffn=256, layers=1)
GEMMA3 = dict(layers=6, window=16, pattern=6, local_theta=1e4, theta=1e6,
              scaling=dict(type="linear", factor=8.0))
PHI_LONG = dict(rope_dim=12, scaling=dict(type="longrope", attn_factor=1.19, original=32))


def model(name, arch, base, **changes):
    return dict(base, name=name, arch=arch, **changes)


ARCHITECTURES = [
    model("llama", "llama", SMALL, hf="LlamaForCausalLM"),
    model("llama3", "llama", SMALL, theta=5e5, hf="LlamaForCausalLM",
          scaling=dict(type="llama3", factor=8.0, low=1.0, high=4.0, original=64)),
    model("llama-linear", "llama", SMALL, tied=True, scaling=dict(type="linear", factor=4.0)),
    model("llama-yarn", "llama", SMALL, hf="LlamaForCausalLM",
          scaling=dict(type="yarn", factor=4.0, original=32)),
    model("llama-biased", "llama", SMALL, bias=True, kv_heads=4),
    model("mistral", "llama", SMALL, heads=6, kv_heads=1, head_dim=32, theta=1e6,
          hf="MistralForCausalLM"),
    model("mixtral", "llama", dict(SMALL, **MIXTURE), theta=1e6, expert_ffn=96,
          hf="MixtralForCausalLM"),
    model("qwen2", "qwen2", SMALL, theta=1e6, tied=True, hf="Qwen2ForCausalLM"),
    model("qwen2-yarn", "qwen2", SMALL, theta=1e6,
          scaling=dict(type="yarn", factor=4.0, original=32, attn_factor=1.1)),
    model("qwen3", "qwen3", SMALL, head_dim=32, theta=1e6, tied=True, hf="Qwen3ForCausalLM"),
    model("qwen2moe", "qwen2moe", dict(SMALL, **MIXTURE), shared_ffn=80, theta=1e6,
          hf="Qwen2MoeForCausalLM"),
    model("qwen3moe", "qwen3moe", dict(SMALL, **MIXTURE), head_dim=32, theta=1e6,
          hf="Qwen3MoeForCausalLM"),
    model("gemma2", "gemma2", SMALL, tied=True, window=16, head_dim=32, softcap=4.0,
          final_softcap=20.0, hf="Gemma2ForCausalLM"),
    model("gemma3", "gemma3", dict(SMALL, **GEMMA3), tied=True, hf="Gemma3ForCausalLM"),
    model("phi3", "phi3", SMALL, hf="Phi3ForCausalLM"),
    model("phi3-long", "phi3", dict(SMALL, **PHI_LONG)),
    model("phi3-short", "phi3", SMALL,
          scaling=dict(type="longrope", attn_factor=1.19, original=1024)),
]
FORMATS = [
    model("llama-f16", "llama", HALF, kind="F16"),
    model("llama-bf16", "llama", HALF, kind="BF16", hf="LlamaForCausalLM"),
] + [model("llama-" + kind.lower(), "llama", WIDE, kind=kind)
     for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
                  "IQ4_NL", "IQ4_XS")]
MIXED = [
    model("qwen2-q8_0", "qwen2", WIDE, tied=True, layers=1),
    model("qwen3-q5_k", "qwen3", WIDE, tied=True, kind="Q5_K", layers=1),
    model("gemma2-q6_k", "gemma2", WIDE, tied=True, kind="Q6_K", window=16, softcap=4.0,
          final_softcap=60.0),
    model("phi3-q4_0", "phi3", WIDE, kind="Q4_0", layers=1),
    model("mixtral-q8_0", "llama", dict(WIDE, **WIDE_MIXTURE)),
    model("qwen3moe-q4_k", "qwen3moe", dict(WIDE, **WIDE_MIXTURE), kind="Q4_K"),
    model("qwen2moe-bf16", "qwen2moe", dict(HALF, **MIXTURE), used=6, shared_ffn=64, kind="BF16",
          layers=1, hf="Qwen2MoeForCausalLM"),
]
MODELS = ARCHITECTURES + FORMATS + MIXED
