#include "gateway/split.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/prefix_hash.h"

namespace sluice::gateway {
namespace {

bool headers_match(const std::vector<plan::HeaderMatch>& wanted,
                   FunctionRef<std::optional<std::string_view>(std::string_view)> header) {
  return std::ranges::all_of(wanted, [&](const plan::HeaderMatch& each) {
    const auto found = header(each.name);
    return found && (!each.value || *found == *each.value);
  });
}

}  // namespace

double rendezvous_score(std::string_view key, std::string_view name, double weight) {
  const PrefixHash hashed = prefix_salt(name);
  std::string text(key);
  text.append(reinterpret_cast<const char*>(&hashed), sizeof(hashed));
  // In (0, 1): the logarithm is finite and not 0.
  const double uniform = (static_cast<double>(prefix_salt(text).low >> 11) + 0.5) * 0x1.0p-53;
  return -weight / std::log(uniform);
}

TrafficSplit::TrafficSplit(const std::vector<plan::Target>& targets)
    : targets_(targets), current_(targets.size(), 0.0) {
  for (const plan::Target& target : targets_)
    names_.push_back(target.upstream + '\n' + target.model);
}

std::optional<size_t> TrafficSplit::by_weight(FunctionRef<bool(size_t)> usable) {
  std::optional<size_t> best;
  double total = 0;
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < targets_.size(); ++i) {
    if (targets_[i].weight <= 0 || !usable(i)) continue;
    total += targets_[i].weight;
    current_[i] += targets_[i].weight;
    if (!best || current_[i] > current_[*best]) best = i;
  }
  if (best) current_[*best] -= total;
  return best;
}

std::optional<size_t> TrafficSplit::by_key(std::string_view key,
                                           FunctionRef<bool(size_t)> usable) const {
  std::optional<size_t> best;
  double best_score = -1;
  for (size_t i = 0; i < targets_.size(); ++i) {
    if (targets_[i].weight <= 0 || !usable(i)) continue;
    const double score = rendezvous_score(key, names_[i], targets_[i].weight);
    if (score <= best_score) continue;
    best_score = score;
    best = i;
  }
  return best;
}

std::optional<SplitChoice> TrafficSplit::choose(
    std::string_view sticky_key,
    FunctionRef<std::optional<std::string_view>(std::string_view)> header,
    FunctionRef<bool(size_t)> usable) {
  const auto all = [](size_t) { return true; };
  for (size_t i = 0; i < targets_.size(); ++i) {
    if (targets_[i].when.empty() || !headers_match(targets_[i].when, header)) continue;
    if (usable(i)) return SplitChoice{i, SplitReason::kHeader};
  }
  if (targets_.size() == 1) {
    if (targets_[0].weight <= 0 || !usable(0)) return std::nullopt;
    return SplitChoice{0, SplitReason::kOnly};
  }
  const bool sticky = !sticky_key.empty();
  const auto wanted = sticky ? by_key(sticky_key, all) : by_weight(all);
  if (!wanted) return std::nullopt;
  if (usable(*wanted)) {
    return SplitChoice{*wanted, sticky ? SplitReason::kSticky : SplitReason::kWeight};
  }
  // Availability goes before exact shares; the branch that is down is owed nothing afterwards.
  const auto other = sticky ? by_key(sticky_key, usable) : by_weight(usable);
  if (!other) return std::nullopt;
  return SplitChoice{*other, SplitReason::kSpill};
}

}  // namespace sluice::gateway
