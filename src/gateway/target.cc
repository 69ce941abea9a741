#include "gateway/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gateway/split.h"

namespace sluice::gateway {

std::string_view decision_name(Decision decision) {
  constexpr std::array<std::string_view, kDecisions> kNames = {
      "only", "policy", "sticky", "affinity", "unbalanced", "no_prefix", "exact"};
  return kNames[static_cast<size_t>(decision)];
}

Target::Target(std::shared_ptr<Upstream> upstream, Settings settings,
               std::shared_ptr<TargetMemory> memory, const Clock& clock, uint64_t seed)
    : upstream_(std::move(upstream)),
      settings_(std::move(settings)),
      memory_(std::move(memory)),
      clock_(clock),
      rng_(seed) {}

bool Target::usable() const {
  const TimePoint now = clock_.now();
  return std::ranges::any_of(*upstream_->replicas(),
                             [now](const auto& replica) { return replica->usable(now); });
}

Duration Target::unusable_for() const {
  const TimePoint now = clock_.now();
  TimePoint first = TimePoint::max();
  for (const auto& replica : *upstream_->replicas()) {
    if (replica->healthy()) first = std::min(first, replica->usable_at());
  }
  return first == TimePoint::max() || first <= now ? Duration::zero() : first - now;
}

void Target::pause(std::string_view replica, TimePoint until) {
  for (const auto& each : *upstream_->replicas()) {
    if (each->info().name == replica) each->pause_until(until);
  }
}

Result<ReplicaLease> Target::choose(const Query& query) {
  const auto replicas = upstream_->replicas();
  const TimePoint now = clock_.now();
  const std::string_view model = settings_.model.empty() ? query.model : settings_.model;
  Candidates candidates;
  candidates.reserve(replicas->size());
  for (const auto& replica : *replicas) {
    if (!(query.last_resort ? replica->passable(now) : replica->usable(now))) continue;
    if (std::ranges::find(query.excluded, replica->info().name) != query.excluded.end()) continue;
    if (!query.fingerprint.empty() && replica->fingerprint(model) != query.fingerprint) continue;
    candidates.push_back(replica.get());
  }
  while (!candidates.empty()) {
    Decision why = Decision::kOnly;
    const size_t at = candidates.size() == 1 ? 0 : pick(candidates, query, why);
    if (auto lease = candidates[at]->acquire(settings_.model, clock_, !query.last_resort)) {
      remember(*lease, query, candidates[at]->slot());
      (*memory_->decisions)[static_cast<size_t>(why)].fetch_add(1, std::memory_order_relaxed);
      return std::move(*lease);
    }
    candidates.erase(candidates.begin() + static_cast<ptrdiff_t>(at));
  }
  return fail(Code::kUnavailable,
              fmt::format("no replica of '{}' can take requests now", upstream_->name()), {},
              "no_replica");
}

// The prompt is going to be where it is sent.
void Target::remember(ReplicaLease& lease, const Query& query, size_t slot) const {
  const auto blocks = query.blocks.empty() ? nullptr : upstream_->blocks();
  if (blocks) {
    lease.hold(blocks->directory().promise(query.blocks, slot));
  } else if (memory_->index && !query.prefix.empty()) {
    memory_->index->insert(query.prefix, slot);
  }
}

size_t Target::pick(const Candidates& candidates, const Query& query, Decision& why) {
  if (settings_.sticky_replica && !query.sticky_key.empty()) {
    why = Decision::kSticky;
    return by_key(candidates, query.sticky_key);
  }
  why = Decision::kPolicy;
  switch (settings_.policy) {
    case plan::Policy::kRoundRobin:
      return round_robin(candidates);
    case plan::Policy::kWeightedRoundRobin:
      return weighted(candidates);
    case plan::Policy::kPowerOfTwo:
      return power_of_two(candidates);
    case plan::Policy::kPrefixAffinity:
      return by_prefix(candidates, query, why);
    case plan::Policy::kLeastOutstanding:
      break;
  }
  return least(candidates);
}

size_t Target::by_key(const Candidates& candidates, std::string_view key) {
  size_t best = 0;
  double best_score = -1;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const double score = rendezvous_score(key, candidates[i]->info().name, candidates[i]->weight());
    if (score <= best_score) continue;
    best_score = score;
    best = i;
  }
  return best;
}

size_t Target::round_robin(const Candidates& candidates) { return turn_++ % candidates.size(); }

// Smooth weighted round robin: each turn everybody earns its weight, the richest goes and pays the
// sum.
size_t Target::weighted(const Candidates& candidates) {
  const std::lock_guard lock(mutex_);
  size_t best = 0;
  double* best_credit = nullptr;
  double total = 0;
  current_.reserve(current_.size() + candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    const size_t slot = candidates[i]->slot();
    auto known = std::ranges::find(current_, slot, &std::pair<size_t, double>::first);
    if (known == current_.end()) known = current_.emplace(known, slot, 0.0);
    known->second += candidates[i]->weight();
    total += candidates[i]->weight();
    if (best_credit == nullptr || known->second > *best_credit) {
      best = i;
      best_credit = &known->second;
    }
  }
  *best_credit -= total;
  return best;
}

// By requests for each unit of weight; equals take turns.
size_t Target::least(const Candidates& candidates) {
  const size_t start = turn_++ % candidates.size();
  size_t best = start;
  double best_load = 0;
  for (size_t n = 0; n < candidates.size(); ++n) {
    const size_t i = (start + n) % candidates.size();
    const double load = candidates[i]->outstanding() / candidates[i]->weight();
    if (n > 0 && load >= best_load) continue;
    best = i;
    best_load = load;
  }
  return best;
}

size_t Target::power_of_two(const Candidates& candidates) {
  size_t a = 0;
  size_t b = 0;
  {
    const std::lock_guard lock(mutex_);
    a = rng_.below(candidates.size());
    b = rng_.below(candidates.size() - 1);
  }
  if (b >= a) ++b;
  const auto load = [&](size_t i) {
    return candidates[i]->outstanding() / candidates[i]->weight();
  };
  return load(b) < load(a) ? b : a;
}

size_t Target::by_prefix(const Candidates& candidates, const Query& query, Decision& why) {
  int most = 0;
  int fewest = candidates.front()->outstanding();
  SlotSet among;
  for (const ReplicaState* replica : candidates) {
    const int load = replica->outstanding();
    most = std::max(most, load);
    fewest = std::min(fewest, load);
    among.add(replica->slot());
  }
  const plan::PrefixPlan& settings = settings_.prefix;
  if (most - fewest > settings.imbalance && most > settings.imbalance_ratio * fewest) {
    why = Decision::kUnbalanced;
    return least(candidates);
  }
  const auto blocks = query.blocks.empty() ? nullptr : upstream_->blocks();
  if (!blocks && query.prefix.empty()) return least(candidates);  // it has no prompt
  const PrefixMatch match = blocks ? blocks->directory().find(query.blocks, among)
                                   : memory_->index->find(query.prefix, among);
  if (match.blocks == 0) {
    why = Decision::kNoPrefix;
    return least(candidates);
  }
  why = blocks ? Decision::kExact : Decision::kAffinity;
  size_t best = candidates.size();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!match.slots.has(candidates[i]->slot())) continue;
    if (best == candidates.size() ||
        candidates[i]->outstanding() < candidates[best]->outstanding()) {
      best = i;
    }
  }
  return best;
}

}  // namespace sluice::gateway
