#include "compare.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace sluice::parity {
namespace {

// Ours and the other engine's rounding both differ from the model of it: twice as much may be.
constexpr double kMargin = 2.0;
// Largest of some 16,000 differences, whose own spread differs between positions.
constexpr double kMaxOverRms = 10.0;
// A divergence of this size is that of the golden files' rounding.
constexpr double kRoundedAway = 1e-6;

std::vector<double> log_softmax(std::span<const float> logits) {
  const double max = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - max);
  const double shift = max + std::log(sum);
  std::vector<double> out;
  for (const float x : logits) out.push_back(x - shift);
  return out;
}

// Gathers differences of single log-probabilities.
class Differences {
 public:
  void add(double golden, double ours) {
    const double d = std::abs(golden - ours);
    max_ = std::max(max_, std::isnan(d) ? INFINITY : d);
    squares_ += d * d;
    ++count_;
  }
  double max() const { return max_; }
  double rms() const {
    return std::sqrt(squares_ / static_cast<double>(std::max<int64_t>(count_, 1)));
  }

 private:
  double max_ = 0, squares_ = 0;
  int64_t count_ = 0;
};

// KL divergence of two distributions over the same tokens, given by their log-probabilities up to a
// constant each: golden values are rounded, and may be the likeliest tokens only.
double kl(std::span<const double> golden, std::span<const double> ours) {
  double golden_sum = 0, our_sum = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    golden_sum += std::exp(golden[i]);
    our_sum += std::exp(ours[i]);
  }
  const double shift = std::log(our_sum / golden_sum);
  double out = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    out += std::exp(golden[i]) / golden_sum * (golden[i] - ours[i] + shift);
  }
  return out;
}

double kl(std::span<const Likely> golden, const std::vector<double>& ours) {
  std::vector<double> p, q;
  for (const Likely& l : golden) {
    p.push_back(l.logprob);
    q.push_back(ours[static_cast<size_t>(l.token)]);
  }
  return kl(p, q);
}

}  // namespace

Errors compare(const Golden& golden, std::span<const float> logits, const Bound& bound) {
  Errors e;
  Differences differences;
  const auto vocab = static_cast<size_t>(golden.vocab);
  const auto top = static_cast<size_t>(golden.top);
  size_t full = 0;
  for (size_t begin = 0; begin < logits.size(); begin += vocab, ++e.positions) {
    const auto row = logits.subspan(begin, vocab);
    const std::vector<double> ours = log_softmax(row);
    const auto likely =
        std::span(golden.likely).subspan(static_cast<size_t>(e.positions) * top, top);
    for (const Likely& l : likely) {
      if (l.logprob > golden.floor) {
        differences.add(l.logprob, ours[static_cast<size_t>(l.token)]);
      }
    }
    e.kl_mean += kl(likely, ours);
    if (likely[0].logprob - likely[1].logprob > bound.logprob_max) {
      ++e.decided;
      const auto best = std::ranges::max_element(row) - row.begin();
      if (best != likely[0].token) ++e.top1_wrong;
    }
    if (e.positions % golden.full_every != golden.full_every - 1) continue;
    const auto kept = std::span(golden.full).subspan(full++ * vocab, vocab);
    for (size_t i = 0; i < vocab; ++i) {
      if (kept[i] > golden.floor) differences.add(kept[i], ours[i]);
    }
    e.kl_full_mean += kl(std::vector<double>(kept.begin(), kept.end()), ours);
  }
  e.logprob_max = differences.max();
  e.logprob_rms = differences.rms();
  e.kl_mean /= e.positions;
  e.kl_full_mean /= static_cast<double>(full);
  return e;
}

Bound bound_from(const Golden& golden, std::span<const float> exact,
                 std::span<const float> perturbed) {
  const auto vocab = static_cast<size_t>(golden.vocab);
  const auto top = static_cast<size_t>(golden.top);
  Differences differences;
  double divergence = 0;
  for (size_t begin = 0; begin < exact.size(); begin += vocab) {
    const std::vector<double> p = log_softmax(exact.subspan(begin, vocab));
    const std::vector<double> q = log_softmax(perturbed.subspan(begin, vocab));
    for (size_t i = 0; i < vocab; ++i) differences.add(p[i], q[i]);
    std::vector<Likely> likely;
    for (size_t i = 0; i < vocab; ++i) {
      likely.push_back({static_cast<int32_t>(i), static_cast<float>(p[i])});
    }
    std::ranges::partial_sort(likely, likely.begin() + static_cast<ptrdiff_t>(top), {},
                              [](const Likely& l) { return -l.logprob; });
    divergence += kl(std::span(likely).first(top), q);
  }
  divergence /= static_cast<double>(exact.size() / vocab);
  return {.logprob_max = kMaxOverRms * differences.rms() + golden.step,
          .logprob_rms = kMargin * differences.rms() + golden.step,
          .kl_mean = kMargin * kMargin * divergence + kRoundedAway};
}

}  // namespace sluice::parity
