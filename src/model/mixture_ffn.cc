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
  void sort_by_expert(Step& step) const;
  void run_experts(Step& step, size_t begin, size_t end) const;
  void add_entries(Step& step, int32_t from, int32_t to) const;
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
  sort_by_expert(step);
  std::fill_n(step.work.output.get(), step.rows * width_, 0.0f);
  const std::vector<int32_t>& first = step.work.routing.first;
  for (size_t e = 0, end = 0; e + 1 < first.size(); e = end) {
    end = e + 1;
    while (end + 1 < first.size() && first[end + 1] - first[e] <= kRoutedEntries) ++end;
    if (first[e] < first[end]) run_experts(step, e, end);
  }
  if (moe_.shared_ffn > 0) add_shared(step);
}

// Leaves each row's weights in work.router.
void MixtureFfn::route(Step& step) const {
  float* router = step.work.router.get();
  kernels::matmul(*router_.weight, step.work.normed.get(), step.rows, router, {}, step.team);
  for_rows(step, [&](int64_t first, int64_t count) {
    kernels::softmax(step.isa, router + first * moe_.experts, count, moe_.experts);
    for (int64_t row = first; row < first + count; ++row) {
      const std::span weights(router + row * moe_.experts, static_cast<size_t>(moe_.experts));
      keep_largest(weights, moe_.used);
      if (moe_.normalize_top_k) normalize(weights);
    }
  });
}

void MixtureFfn::sort_by_expert(Step& step) const {
  Routing& routing = step.work.routing;
  const float* router = step.work.router.get();
  std::ranges::fill(routing.first, 0);
  for (int64_t row = 0; row < step.rows; ++row) {
    const float* weights = router + row * moe_.experts;
    for (size_t e = 0; e + 1 < routing.first.size(); ++e) {
      routing.first[e + 1] += weights[e] == kNotChosen ? 0 : 1;
    }
  }
  for (size_t e = 1; e < routing.first.size(); ++e) routing.first[e] += routing.first[e - 1];
  // first[e] counts up to where expert e + 1 begins, and is moved back afterwards.
  for (int64_t row = 0; row < step.rows; ++row) {
    Routing::Choice* choice = routing.choices.data() + row * moe_.used;
    Routing::Choice* const end = choice + moe_.used;
    for (int e = 0; e < moe_.experts; ++e, ++router) {
      if (*router == kNotChosen) continue;
      const int32_t entry = routing.first[static_cast<size_t>(e)]++;
      routing.rows[static_cast<size_t>(entry)] = static_cast<int32_t>(row);
      *choice++ = {.entry = entry, .weight = *router};
    }
    std::fill(choice, end, Routing::Choice{.entry = -1, .weight = 0.0f});
  }
  std::shift_right(routing.first.begin(), routing.first.end(), 1);
  routing.first.front() = 0;
}

// Experts [begin, end) for all their entries.
void MixtureFfn::run_experts(Step& step, size_t begin, size_t end) const {
  Workspace& work = step.work;
  Routing& routing = work.routing;
  const int32_t from = routing.first[begin];
  routing.batch_first.clear();
  for (size_t e = begin; e <= end; ++e) routing.batch_first.push_back(routing.first[e] - from);
  const auto of_batch = [&](const Matrices& all) {
    return std::span(all).subspan(begin, end - begin);
  };
  const kernels::GatedExperts unit = {.gate = {.experts = of_batch(gate_), .y = work.gate.get()},
                                      .up = {.experts = of_batch(up_), .y = work.up.get()},
                                      .down = {.experts = of_batch(down_), .y = work.expert.get()}};
  kernels::matmul_unit_routed(unit, gate_of(activation_), work.normed.get(),
                              {.first = routing.batch_first,
                               .rows = std::span(routing.rows).subspan(static_cast<size_t>(from))},
                              step.team);
  add_entries(step, from, routing.first[end]);
}

// output += weight * expert output of the entries [from, to), a row's ascending.
void MixtureFfn::add_entries(Step& step, int32_t from, int32_t to) const {
  constexpr int64_t kRowsPerPiece = 4;
  const Workspace& work = step.work;
  step.team.parallel_for(step.rows, kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * moe_.used; i < end * moe_.used; ++i) {
      const Routing::Choice& choice = work.routing.choices[static_cast<size_t>(i)];
      if (choice.entry < from || choice.entry >= to) continue;
      kernels::add_scaled(step.isa, work.output.get() + i / moe_.used * width_,
                          work.expert.get() + int64_t{choice.entry - from} * width_, choice.weight,
                          width_);
    }
  });
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
