// Qwen3 (arXiv:2505.09388): llama with an RMS norm on each head's query and key before rotation.
// The heads' size is its own, not width / heads.
#include "model/architectures.h"
#include "model/layers.h"

namespace sluice::model {
namespace {

class Qwen3 final : public PreNormDecoder {
 public:
  explicit Qwen3(Loader& load) : PreNormDecoder(load) {
    for (int i = 0; i < config().layers; ++i) {
      layers_.push_back({.attention_norm = Norm::load(load, i, "attn_norm"),
                         .attention = Attention(load, i, {.head_norms = true}),
                         .ffn_norm = Norm::load(load, i, "ffn_norm"),
                         .ffn = dense_ffn(load, i)});
    }
  }
};

}  // namespace

std::unique_ptr<Decoder> qwen3(Loader& load) { return std::make_unique<Qwen3>(load); }

}  // namespace sluice::model
