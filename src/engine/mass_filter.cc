#include "engine/mass_filter.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace sluice::engine {
namespace {

constexpr int kBins = 4096;
// Keys are 31 bits: 12 for the first look, 12 for the second.
constexpr int kFirstShift = 19;
constexpr int kSecondShift = 7;
// Neighbours often fall into one bin: adding them to one sum in turn would wait for each other.
constexpr size_t kWays = 4;

double mass_of(float weight, Mass mass) {
  return mass == Mass::kOne ? (weight > 0.0f ? 1.0 : 0.0) : static_cast<double>(weight);
}

// The first bin with mass by whose end `goal` is reached, else the last with mass.
std::pair<uint32_t, double> reach(std::span<const double> bins, double reached, double goal) {
  uint32_t last = 0;
  double before_last = reached;
  for (uint32_t i = 0; i < bins.size(); ++i) {
    if (bins[i] == 0.0) continue;
    last = i;
    before_last = reached;
    reached += bins[i];
    if (reached >= goal) break;
  }
  return {last, before_last};
}

}  // namespace

std::pair<uint32_t, double> MassFilter::find_stretch(std::span<const float> weights,
                                                     std::span<const uint32_t> keys, Mass mass,
                                                     double goal) {
  masses_.assign(kBins * kWays, 0.0);
  for (size_t i = 0; i < weights.size(); ++i) {
    masses_[(keys[i] >> kFirstShift) * kWays + i % kWays] += mass_of(weights[i], mass);
  }
  for (size_t i = 0; i < kBins; ++i) {
    double total = 0.0;
    for (size_t way = 0; way < kWays; ++way) total += masses_[i * kWays + way];
    masses_[i] = total;
  }
  return reach(std::span(masses_).first(kBins), 0.0, goal);
}

// Brings back the undecided entries that are kept for sure and leaves those of the finer stretch in
// which `goal` is reached, in order.
void MassFilter::narrow(Mass mass, double goal, double& reached, std::span<float> weights) {
  const auto bin = [](const Entry& e) { return (e.key >> kSecondShift) % kBins; };
  masses_.assign(kBins, 0.0);
  for (const Entry& e : undecided_) masses_[bin(e)] += mass_of(e.weight, mass);
  const auto [stretch, before] = reach(masses_, reached, goal);
  reached = before;
  std::erase_if(undecided_, [&](const Entry& e) {
    if (bin(e) < stretch) weights[e.index] = e.weight;
    return bin(e) != stretch;
  });
  std::ranges::sort(undecided_, [](const Entry& a, const Entry& b) {
    return std::tuple(a.key, a.index) < std::tuple(b.key, b.index);
  });
}

void MassFilter::keep(std::span<float> weights, std::span<const uint32_t> keys, Mass mass,
                      double goal) {
  auto [stretch, reached] = find_stretch(weights, keys, mass, goal);
  const uint32_t begin = stretch << kFirstShift;
  const uint32_t end = begin + (uint32_t{1} << kFirstShift);
  undecided_.clear();
  for (size_t i = 0; i < weights.size(); ++i) {
    if (keys[i] >= begin && keys[i] < end && weights[i] > 0.0f) {
      undecided_.push_back({keys[i], static_cast<uint32_t>(i), weights[i]});
    }
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = keys[i] < begin ? weights[i] : 0.0f;
  }
  narrow(mass, goal, reached, weights);
  for (const Entry& e : undecided_) {
    if (reached > 0.0 && reached >= goal) break;
    weights[e.index] = e.weight;
    reached += mass_of(e.weight, mass);
  }
}

}  // namespace sluice::engine
