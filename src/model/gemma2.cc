// Gemma 2 (arXiv:2408.00118): norms before and after each sublayer, GeGLU, embeddings scaled by
// sqrt(width), soft-capped scores and logits, a sliding window in every second layer. The caps, the
// scale and the windows come with the configuration.
#include "model/architectures.h"
#include "model/layers.h"

namespace sluice::model {
namespace {

class Gemma2 final : public SandwichNormDecoder {
 public:
  explicit Gemma2(Loader& load) : SandwichNormDecoder(load) {
    for (int i = 0; i < config().layers; ++i) {
      layers_.push_back({.attention_norm = Norm::load(load, i, "attn_norm"),
                         .attention = Attention(load, i, {}),
                         .attention_post_norm = Norm::load(load, i, "post_attention_norm"),
                         .ffn_norm = Norm::load(load, i, "ffn_norm"),
                         .ffn = dense_ffn(load, i),
                         .ffn_post_norm = Norm::load(load, i, "post_ffw_norm")});
    }
  }
};

}  // namespace

std::unique_ptr<Decoder> gemma2(Loader& load) { return std::make_unique<Gemma2>(load); }

}  // namespace sluice::model
