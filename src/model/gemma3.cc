// Gemma 3 (arXiv:2503.19786): Gemma 2's norms, head norms in place of the caps, five windowed
// layers for each global one; the windowed ones rotate with a theta of their own.
#include "model/architectures.h"
#include "model/layers.h"

namespace sluice::model {
namespace {

class Gemma3 final : public SandwichNormDecoder {
 public:
  explicit Gemma3(Loader& load) : SandwichNormDecoder(load) {
    for (int i = 0; i < config().layers; ++i) {
      layers_.push_back({.attention_norm = Norm::load(load, i, "attn_norm"),
                         .attention = Attention(load, i, {.head_norms = true}),
                         .attention_post_norm = Norm::load(load, i, "post_attention_norm"),
                         .ffn_norm = Norm::load(load, i, "ffn_norm"),
                         .ffn = dense_ffn(load, i),
                         .ffn_post_norm = Norm::load(load, i, "post_ffw_norm")});
    }
  }
};

}  // namespace

std::unique_ptr<Decoder> gemma3(Loader& load) { return std::make_unique<Gemma3>(load); }

}  // namespace sluice::model
