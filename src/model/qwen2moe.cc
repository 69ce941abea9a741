// Qwen1.5-MoE and Qwen2-MoE (arXiv:2407.10671): qwen2 with many small experts, whose weights are
// not normalized, and a shared expert behind a sigmoid gate.
#include "model/architectures.h"
#include "model/layers.h"

namespace sluice::model {
namespace {

class Qwen2Moe final : public PreNormDecoder {
 public:
  explicit Qwen2Moe(Loader& load) : PreNormDecoder(load) {
    for (int i = 0; i < config().layers; ++i) {
      layers_.push_back({.attention_norm = Norm::load(load, i, "attn_norm"),
                         .attention = Attention(load, i, {.qkv_bias = true}),
                         .ffn_norm = Norm::load(load, i, "ffn_norm"),
                         .ffn = mixture_ffn(load, i)});
    }
  }
};

}  // namespace

std::unique_ptr<Decoder> qwen2moe(Loader& load) { return std::make_unique<Qwen2Moe>(load); }

}  // namespace sluice::model
