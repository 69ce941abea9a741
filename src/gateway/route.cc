#include "gateway/route.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/rng.h"
#include "gateway/transform_run.h"

namespace sluice::gateway {
namespace {

// A plan of a thousand services has thousands of targets: the kernel is asked once.
uint64_t next_seed() {
  thread_local Rng seeds(random_seed());
  return seeds.next();
}

std::shared_ptr<RetryBudget> kept(std::shared_ptr<RetryBudget>& budget, double ratio,
                                  double per_second) {
  if (!budget || budget->ratio() != ratio || budget->per_second() != per_second) {
    budget = std::make_shared<RetryBudget>(ratio, per_second);
  }
  return budget;
}

}  // namespace

RouteMemory::RouteMemory(const plan::Route& route)
    : admission(std::make_shared<Admission>(route.queue)) {}

std::shared_ptr<TargetMemory> RouteMemory::target(const std::string& upstream,
                                                  const plan::Route& route) {
  const std::lock_guard lock(mutex_);
  auto& memory = targets_[upstream];
  if (!memory) memory = std::make_shared<TargetMemory>();
  if (route.policy != plan::Policy::kPrefixAffinity) return memory;
  const auto blocks = static_cast<size_t>(route.prefix.index_blocks);
  if (!memory->index || memory->index->capacity() != std::bit_ceil(blocks)) {
    // Another object: branches of the snapshot before still use this one.
    auto anew = std::make_shared<TargetMemory>();
    anew->index = std::make_shared<PrefixIndex>(blocks);
    anew->decisions = memory->decisions;
    memory = std::move(anew);
  }
  return memory;
}

std::shared_ptr<RetryBudget> RouteMemory::retries(const plan::Route& route) {
  const std::lock_guard lock(mutex_);
  return kept(retries_, route.retry.budget_ratio, route.retry.budget_per_second);
}

std::shared_ptr<RetryBudget> RouteMemory::hedges(const plan::Route& route) {
  const std::lock_guard lock(mutex_);
  return kept(hedges_, route.hedge.budget_ratio, 0);
}

Route::Route(std::shared_ptr<const plan::Plan> plan, const plan::Route& settings,
             std::shared_ptr<RouteMemory> memory, FindUpstream upstreams, const Clock& clock)
    : plan_(std::move(plan)),
      settings_(settings),
      memory_(std::move(memory)),
      split_(settings.targets),
      retries_(memory_->retries(settings)),
      hedges_(memory_->hedges(settings)) {
  for (const plan::Target& each : settings.targets) {
    targets_.push_back(make_target(each.upstream, each.model, upstreams, clock));
    holds_ = holds_ || targets_.back()->holds();
  }
  for (const plan::Fallback& each : settings.fallbacks) {
    fallbacks_.push_back(make_target(each.upstream, each.model, upstreams, clock));
  }
  if (settings.transform) transform_ = std::make_shared<const Transform>(*settings.transform);
  if (settings.mirror) {
    mirror_ = make_target(settings.mirror->upstream, settings.mirror->model, upstreams, clock);
  }
}

std::unique_ptr<Target> Route::make_target(const std::string& upstream, const std::string& model,
                                           FindUpstream upstreams, const Clock& clock) const {
  Target::Settings target{.policy = settings_.policy,
                          .prefix = settings_.prefix,
                          .sticky_replica = settings_.sticky.replica,
                          .model = model};
  return std::make_unique<Target>(upstreams(upstream), std::move(target),
                                  memory_->target(upstream, settings_), clock, next_seed());
}

Target* Route::split(std::string_view sticky_key, FindHeader header) {
  const auto choice = split_.choose(sticky_key, header, [this](size_t i) {
    return targets_[i]->usable() || (holds_ && targets_[i]->holds());
  });
  if (!choice) return nullptr;
  splits_[static_cast<size_t>(choice->reason)].fetch_add(1, std::memory_order_relaxed);
  return targets_[choice->target].get();
}

Target* Route::target(std::string_view upstream) const {
  for (const auto& each : targets_) {
    if (each->upstream().name() == upstream) return each.get();
  }
  return nullptr;
}

bool Route::takes_mirror() {
  if (!mirror_) return false;
  const double share = settings_.mirror->percent / 100;
  const auto turn = static_cast<double>(mirror_turn_++);
  return std::floor((turn + 1) * share) > std::floor(turn * share);
}

bool Route::usable() const {
  return holds_ ||
         std::ranges::any_of(targets_, [](const auto& target) { return target->usable(); }) ||
         std::ranges::any_of(fallbacks_, [](const auto& target) { return target->usable(); });
}

Duration Route::unusable_for() const {
  Duration first = Duration::max();
  for (const auto& target : targets_) {
    const Duration wait = target->unusable_for();
    if (wait > Duration::zero()) first = std::min(first, wait);
  }
  return first == Duration::max() ? Duration::zero() : first;
}

}  // namespace sluice::gateway
