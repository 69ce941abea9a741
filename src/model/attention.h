// The attention block that all families share: projections, head norms, rotation, paged attention.
#pragma once

#include <vector>

#include "kernels/ops.h"
#include "model/loader.h"
#include "model/workspace.h"

namespace sluice::model {

// How a family's attention differs from llama's.
struct AttentionForm {
  bool fused_qkv = false;   // q, k and v may be rows of one matrix (phi3)
  bool qkv_bias = false;    // must have biases (qwen2); others may
  bool head_norms = false;  // RMS norm of each head's q and k, before rotation (qwen3, gemma3)
};

// Grouped-query attention (Ainslie et al., arXiv:2305.13245) of one layer. Immutable.
class Attention {
 public:
  Attention(Loader& load, int layer, AttentionForm form);

  // output[rows, width] of normed[rows, width]; appends the rows' K and V to the cache.
  void run(Step& step) const;

 private:
  void project(Step& step) const;
  void finish_and_store(Step& step) const;

  int layer_ = 0;
  kernels::AttentionShape shape_;
  formats::RopeStyle rope_style_;
  RopeKind rope_kind_;
  int rope_dim_ = 0;
  float norm_eps_ = 0.0f;
  Linear q_, k_, v_, output_;
  std::vector<float> q_norm_, k_norm_;  // [head_dim]; empty = none
};

}  // namespace sluice::model
