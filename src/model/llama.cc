// Llama 1 to 3.x (Touvron et al., arXiv:2302.13971; arXiv:2407.21783), the family the others vary.
// Mistral (arXiv:2310.06825) is the same with a sliding window, Mixtral (arXiv:2401.04088) with a
// mixture of experts in place of the dense network.
#include "model/architectures.h"
#include "model/layers.h"

namespace sluice::model {
namespace {

class Llama final : public PreNormDecoder {
 public:
  explicit Llama(Loader& load) : PreNormDecoder(load) {
    for (int i = 0; i < config().layers; ++i) {
      layers_.push_back(
          {.attention_norm = Norm::load(load, i, "attn_norm"),
           .attention = Attention(load, i, {}),
           .ffn_norm = Norm::load(load, i, "ffn_norm"),
           .ffn = config().moe.experts > 0 ? mixture_ffn(load, i) : dense_ffn(load, i)});
    }
  }
};

}  // namespace

std::unique_ptr<Decoder> llama(Loader& load) { return std::make_unique<Llama>(load); }

}  // namespace sluice::model
