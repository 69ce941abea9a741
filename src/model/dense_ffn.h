// Gated linear unit: the part that a dense network and a shared expert have in common.
#pragma once

#include "model/feed_forward.h"

namespace sluice::model {

// out = down(activation(gate x) * up x) over all rows of a step.
class GatedUnit {
 public:
  GatedUnit() = default;
  GatedUnit(Linear gate, Linear up, Linear down, formats::Activation activation)
      : gate_(std::move(gate)),
        up_(std::move(up)),
        down_(std::move(down)),
        activation_(activation) {}

  void run(Step& step, const float* x, float* out) const;

 private:
  Linear gate_, up_, down_;
  formats::Activation activation_ = formats::Activation::kSilu;
};

kernels::Gate gate_of(formats::Activation activation);

}  // namespace sluice::model
