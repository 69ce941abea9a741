#include <algorithm>
#include <cmath>
#include <span>

#include "model/dense_ffn.h"
#include "model/feed_forward.h"

namespace sluice::model {
namespace {

using Matrices = std::vector<std::unique_ptr<kernels::Matrix>>;

constexpr float kNotChosen = -1.0f;

// Keeps the `used` largest of a row's probabilities; the others become kNotChosen. Of equal ones
// the lower expert wins. The sign bit marks those found so far, as probabilities have none.
void keep_largest(std::span<float> probabilities, int used) {
  for (int i = 0; i < used; ++i) {
    float* best = nullptr;
    for (float& p : probabilities) {
      if (!std::signbit(p) && (best == nullptr || p > *best)) best = &p;
    }
    if (best == nullptr) break;  // NaNs of a broken model
    *best = -*best;
  }
  for (float& p : probabilities) p = std::signbit(p) ? -p : kNotChosen;
}

// Divides the chosen weights by their sum.
void normalize(std::span<float> weights) {
  float sum = 0.0f;
  for (const float w : weights) sum += w == kNotChosen ? 0.0f : w;
  for (float& w : weights) {
    if (w != kNotChosen) w /= sum;
  }
}

float sigmoid(float x) { return static_cast<float>(1.0 / (1.0 + std::exp(-double{x}))); }

class MixtureFfn final : public FeedForward {
 public:
  MixtureFfn(Loader& load, int layer);
  void run(Step& step) const override;

 private:
  void route(Step& step) const;
  void add_expert(Step& step, int expert) const;
  void add_shared(Step& step) const;

  int width_ = 0;
  formats::MoeConfig moe_;
  formats::Activation activation_;
  FloatMatrix router_;
  Matrices gate_, up_, down_;
  GatedUnit shared_;
  FloatMatrix shared_gate_;
};

MixtureFfn::MixtureFfn(Loader& load, int layer)
    : width_(load.config().width), moe_(load.config().moe), activation_(load.config().activation) {
  const auto name = [layer](std::string_view part) { return layer_tensor(layer, part); };
  router_ = load.float_matrix(name("ffn_gate_inp"), moe_.experts, width_);
  gate_ = load.stack(name("ffn_gate_exps"), moe_.experts, moe_.ffn, width_);
  up_ = load.stack(name("ffn_up_exps"), moe_.experts, moe_.ffn, width_);
  down_ = load.stack(name("ffn_down_exps"), moe_.experts, width_, moe_.ffn);
  if (moe_.shared_ffn > 0) {
    shared_ = GatedUnit(load.linear(layer, "ffn_gate_shexp", moe_.shared_ffn, width_),
                        load.linear(layer, "ffn_up_shexp", moe_.shared_ffn, width_),
                        load.linear(layer, "ffn_down_shexp", width_, moe_.shared_ffn), activation_);
    shared_gate_ = load.float_matrix(name("ffn_gate_inp_shexp"), 1, width_);
  }
}

void MixtureFfn::run(Step& step) const {
  route(step);
  std::fill_n(step.work.output.get(), step.rows * width_, 0.0f);
  for (int expert = 0; expert < moe_.experts; ++expert) add_expert(step, expert);
  if (moe_.shared_ffn > 0) add_shared(step);
}

// Leaves each row's weights in work.router.
void MixtureFfn::route(Step& step) const {
  float* router = step.work.router.get();
  kernels::matmul(*router_.weight, step.work.normed.get(), step.rows, router, {}, step.team);
  kernels::softmax(step.isa, router, step.rows, moe_.experts);
  for (int64_t row = 0; row < step.rows; ++row) {
    const std::span weights(router + row * moe_.experts, static_cast<size_t>(moe_.experts));
    keep_largest(weights, moe_.used);
    if (moe_.normalize_top_k) normalize(weights);
  }
}

void MixtureFfn::add_expert(Step& step, int expert) const {
  const float* router = step.work.router.get() + expert;
  std::vector<int32_t>& rows = step.work.expert_rows;
  rows.clear();
  for (int64_t row = 0; row < step.rows; ++row) {
    if (router[row * moe_.experts] != kNotChosen) rows.push_back(static_cast<int32_t>(row));
  }
  if (rows.empty()) return;

  const auto e = static_cast<size_t>(expert);
  float* gate = step.work.gate.get();
  float* up = step.work.up.get();
  float* out = step.work.expert.get();
  const kernels::Product gate_and_up[] = {{.w = gate_[e].get(), .y = gate, .bias = {}},
                                          {.w = up_[e].get(), .y = up, .bias = {}}};
  kernels::matmul_rows(gate_and_up, step.work.normed.get(), rows, step.team);
  kernels::matmul_gated_rows({.w = down_[e].get(), .y = out, .bias = {}}, gate_of(activation_),
                             gate, up, rows, step.team);
  for (const int64_t row : rows) {
    kernels::add_scaled(step.isa, step.work.output.get() + row * width_, out + row * width_,
                        router[row * moe_.experts], width_);
  }
}

void MixtureFfn::add_shared(Step& step) const {
  float* out = step.work.expert.get();
  float* score = step.work.router.get();
  shared_.run(step, step.work.normed.get(), out);
  kernels::matmul(*shared_gate_.weight, step.work.normed.get(), step.rows, score, {}, step.team);
  for (int64_t row = 0; row < step.rows; ++row) {
    kernels::add_scaled(step.isa, step.work.output.get() + row * width_, out + row * width_,
                        sigmoid(score[row]), width_);
  }
}

}  // namespace

std::unique_ptr<FeedForward> mixture_ffn(Loader& load, int layer) {
  return std::make_unique<MixtureFfn>(load, layer);
}

}  // namespace sluice::model
