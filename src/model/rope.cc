#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace sluice::model {
namespace {

using formats::RopeConfig;
using formats::RopeScaling;

// YaRN: the dimension pair whose frequency makes `turns` turns within the original context.
double pair_of_turns(double turns, const RopeConfig& config, int original) {
  return config.dim * std::log(original / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(static_cast<double>(config.theta)));
}

void scale_yarn(const RopeConfig& config, int original, std::span<double> frequencies) {
  const double low = std::max(std::floor(pair_of_turns(config.beta_fast, config, original)), 0.0);
  const double high =
      std::min(std::ceil(pair_of_turns(config.beta_slow, config, original)), config.dim - 1.0);
  const double length = std::max(high - low, 0.001);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double interpolated = std::clamp((static_cast<double>(i) - low) / length, 0.0, 1.0);
    frequencies[i] *= (1 - interpolated) + interpolated / config.factor;
  }
}

void scale_llama3(const RopeConfig& config, int original, std::span<double> frequencies) {
  const double low = config.low_freq_factor;
  const double high = config.high_freq_factor;
  for (double& frequency : frequencies) {
    const double turns = original * frequency / (2 * std::numbers::pi);
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    frequency *= kept + (1 - kept) / config.factor;
  }
}

double longrope_magnitude(const RopeConfig& config, int original, int context) {
  const double stretch =
      config.factor > 1.0f ? config.factor : static_cast<double>(context) / original;
  return stretch > 1.0 ? std::sqrt(1.0 + std::log(stretch) / std::log(original)) : 1.0;
}

void divide(std::span<double> frequencies, const std::vector<float>& divisors) {
  SLUICE_CHECK(divisors.size() == frequencies.size(), "one divisor per rotated pair");
  for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= divisors[i];
}

}  // namespace

Rope::Rope(const RopeConfig& config, int context, int max_context) {
  SLUICE_CHECK(config.dim >= 0 && config.dim % 2 == 0, "rotated dimensions come in pairs");
  frequencies_.resize(static_cast<size_t>(config.dim) / 2);
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    frequencies_[i] = std::pow(config.theta, -2.0 * static_cast<double>(i) / config.dim);
  }
  const int original = config.original_context > 0 ? config.original_context : context;
  switch (config.scaling) {
    case RopeScaling::kNone:
      break;
    case RopeScaling::kLinear:
      for (double& frequency : frequencies_) frequency /= config.factor;
      break;
    case RopeScaling::kYarn:
      scale_yarn(config, original, frequencies_);
      magnitude_ = config.factor > 1.0f ? 0.1 * std::log(config.factor) + 1.0 : 1.0;
      break;
    case RopeScaling::kLlama3:
      // Files that hold the resolved divisors are followed to the letter.
      if (config.freq_divisors.empty()) scale_llama3(config, original, frequencies_);
      break;
    case RopeScaling::kLongRope:
      divide(frequencies_, max_context > original ? config.long_factors : config.short_factors);
      magnitude_ = longrope_magnitude(config, original, context);
      break;
  }
  if (!config.freq_divisors.empty()) divide(frequencies_, config.freq_divisors);
  if (config.attention_factor > 0.0f) magnitude_ = config.attention_factor;
}

void Rope::angles(int64_t position, float* cos, float* sin) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies_[i];
    cos[i] = static_cast<float>(std::cos(angle) * magnitude_);
    sin[i] = static_cast<float>(std::sin(angle) * magnitude_);
  }
}

}  // namespace sluice::model
