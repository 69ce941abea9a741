#include "model/dense_ffn.h"

namespace sluice::model {
namespace {

class DenseFfn final : public FeedForward {
 public:
  explicit DenseFfn(GatedUnit unit) : unit_(std::move(unit)) {}
  void run(Step& step) const override {
    unit_.run(step, step.work.normed.get(), step.work.output.get());
  }

 private:
  GatedUnit unit_;
};

}  // namespace

kernels::Gate gate_of(formats::Activation activation) {
  return activation == formats::Activation::kSilu ? kernels::Gate::kSilu : kernels::Gate::kGelu;
}

void GatedUnit::run(Step& step, const float* x, float* out) const {
  const kernels::GatedProducts unit = {.gate = gate_.into(step.work.gate.get()),
                                       .up = up_.into(step.work.up.get()),
                                       .down = down_.into(out)};
  kernels::matmul_unit(unit, gate_of(activation_), x, step.rows, step.team);
}

std::unique_ptr<FeedForward> dense_ffn(Loader& load, int layer, GateUp form) {
  const formats::ModelConfig& c = load.config();
  Linear gate;
  Linear up;
  if (form == GateUp::kFused) {
    gate = load.linear_rows(layer, "ffn_up", {2 * int64_t{c.ffn}, 0, c.ffn}, c.width);
    up = load.linear_rows(layer, "ffn_up", {2 * int64_t{c.ffn}, c.ffn, c.ffn}, c.width);
  } else {
    gate = load.linear(layer, "ffn_gate", c.ffn, c.width);
    up = load.linear(layer, "ffn_up", c.ffn, c.width);
  }
  Linear down = load.linear(layer, "ffn_down", c.width, c.ffn);
  return std::make_unique<DenseFfn>(
      GatedUnit(std::move(gate), std::move(up), std::move(down), c.activation));
}

}  // namespace sluice::model
