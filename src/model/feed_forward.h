// The feed-forward blocks: dense, and mixture of experts.
#pragma once

#include <memory>
#include <vector>

#include "model/loader.h"
#include "model/workspace.h"

namespace sluice::model {

// One layer's feed-forward network: output[rows, width] of normed[rows, width]. Immutable.
class FeedForward {
 public:
  virtual ~FeedForward() = default;
  virtual void run(Step& step) const = 0;
};

enum class GateUp { kApart, kFused };  // two matrices, or rows of one (phi3: ffn_up, gate first)

// down(activation(gate x) * up x): SwiGLU or GeGLU (Shazeer, arXiv:2002.05202).
std::unique_ptr<FeedForward> dense_ffn(Loader& load, int layer, GateUp form = GateUp::kApart);

// A sum of `used` of `experts` small dense networks, chosen for each row by a router (Shazeer et
// al., arXiv:1701.06538; as in Mixtral, arXiv:2401.04088): weights are the softmax over all
// experts, divided by the sum of the chosen ones where the configuration says so. A row's sum runs
// in ascending order of expert, whichever rows share a batch. A shared expert, where there is one,
// sees every row and is weighed by a sigmoid of its own (Qwen1.5-MoE).
std::unique_ptr<FeedForward> mixture_ffn(Loader& load, int layer);

}  // namespace sluice::model
