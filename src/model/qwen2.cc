// Qwen2 and Qwen2.5 (arXiv:2407.10671): llama with biases on q, k and v.
#include "model/architectures.h"
#include "model/layers.h"

namespace sluice::model {
namespace {

class Qwen2 final : public PreNormDecoder {
 public:
  explicit Qwen2(Loader& load) : PreNormDecoder(load) {
    for (int i = 0; i < config().layers; ++i) {
      layers_.push_back({.attention_norm = Norm::load(load, i, "attn_norm"),
                         .attention = Attention(load, i, {.qkv_bias = true}),
                         .ffn_norm = Norm::load(load, i, "ffn_norm"),
                         .ffn = dense_ffn(load, i)});
    }
  }
};

}  // namespace

std::unique_ptr<Decoder> qwen2(Loader& load) { return std::make_unique<Qwen2>(load); }

}  // namespace sluice::model
