// Qwen3-MoE (arXiv:2505.09388): qwen3 with a mixture of experts, weights normalized over the chosen
// ones, no shared expert.
#include "model/architectures.h"
#include "model/layers.h"

namespace sluice::model {
namespace {

class Qwen3Moe final : public PreNormDecoder {
 public:
  explicit Qwen3Moe(Loader& load) : PreNormDecoder(load) {
    for (int i = 0; i < config().layers; ++i) {
      layers_.push_back({.attention_norm = Norm::load(load, i, "attn_norm"),
                         .attention = Attention(load, i, {.head_norms = true}),
                         .ffn_norm = Norm::load(load, i, "ffn_norm"),
                         .ffn = mixture_ffn(load, i)});
    }
  }
};

}  // namespace

std::unique_ptr<Decoder> qwen3moe(Loader& load) { return std::make_unique<Qwen3Moe>(load); }

}  // namespace sluice::model
