// Phi-3 and Phi-3.5-mini (Abdin et al., arXiv:2404.14219): llama with q, k, v in one matrix, gate
// and up in another, and longrope for the 128k variants.
#include "model/architectures.h"
#include "model/layers.h"

namespace sluice::model {
namespace {

class Phi3 final : public PreNormDecoder {
 public:
  explicit Phi3(Loader& load) : PreNormDecoder(load) {
    for (int i = 0; i < config().layers; ++i) {
      layers_.push_back({.attention_norm = Norm::load(load, i, "attn_norm"),
                         .attention = Attention(load, i, {.fused_qkv = true}),
                         .ffn_norm = Norm::load(load, i, "ffn_norm"),
                         .ffn = dense_ffn(load, i, GateUp::kFused)});
    }
  }
};

}  // namespace

std::unique_ptr<Decoder> phi3(Loader& load) { return std::make_unique<Phi3>(load); }

}  // namespace sluice::model
