#include "platform/load_book.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace sluice::platform {
namespace {

constexpr int64_t kMaskBits = 64;
constexpr int64_t kForgetAfter = 2 * LoadBook::kLate;  // a gateway, so that nothing counts twice

static_assert(LoadBook::kLate < kMaskBits);

int64_t whole(double seconds) { return static_cast<int64_t>(std::floor(seconds)); }

int64_t slot_of(int64_t second) {
  int64_t slot = second / LoadBook::kSlot;
  if (second % LoadBook::kSlot < 0) --slot;
  return slot * LoadBook::kSlot;
}

// Counts are bounded by the reports' parser; sums stay within the type all the same.
void grow(int64_t& sum, int64_t by) {
  if (__builtin_add_overflow(sum, by, &sum)) sum = INT64_MAX;
}

bool is_nothing(const plan::UpstreamLoad& load) {
  return load.concurrency == 0 && load.in_flight == 0 && load.arrived == 0 && load.answered == 0 &&
         load.failed == 0 && load.refused == 0 && load.held == 0 && load.prompt_tokens == 0 &&
         load.completion_tokens == 0 && load.ttft.empty() && load.latency.empty() &&
         load.stream_rate.empty() && load.waiting_first.empty();
}

// Seconds in which something was told: the newest, and a bit for each of those before it.
class Seconds {
 public:
  // False: it stands there already, or is too old to know.
  bool add(int64_t second) {
    if (newest_ == INT64_MIN) {
      newest_ = second;
      mask_ = 1;
      return true;
    }
    if (second > newest_) {
      const int64_t by = second - newest_;
      mask_ = by >= kMaskBits ? 1 : (mask_ << by) | 1;
      newest_ = second;
      return true;
    }
    if (newest_ - second >= kMaskBits) return false;
    const uint64_t bit = uint64_t{1} << (newest_ - second);
    const bool is_new = (mask_ & bit) == 0;
    mask_ |= bit;
    return is_new;
  }

  bool has(int64_t second) const {
    if (second > newest_ || newest_ - second >= kMaskBits) return false;
    return (mask_ & (uint64_t{1} << (newest_ - second))) != 0;
  }

  int64_t newest() const { return newest_; }

 private:
  int64_t newest_ = INT64_MIN;
  uint64_t mask_ = 0;
};

// A histogram in the memory that it needs.
class PackedHistogram {
 public:
  void add(const plan::LogHistogram& more) {
    for (const auto& [bucket, count] : more.buckets()) {
      const auto place = std::ranges::lower_bound(counts_, bucket, {}, &Count::bucket);
      if (place != counts_.end() && place->bucket == bucket) {
        place->count += count;
      } else {
        counts_.insert(place, Count{.bucket = static_cast<int16_t>(bucket), .count = count});
      }
    }
  }
  void add_to(plan::LogHistogram& sum) const {
    for (const Count& each : counts_) sum.add_bucket(each.bucket, each.count);
  }

 private:
  struct Count {
    int16_t bucket;
    uint64_t count;
  };
  std::vector<Count> counts_;
};

// What ended and began in a second or a slot.
struct Sums {
  int64_t arrived = 0;
  int64_t answered = 0;
  int64_t failed = 0;
  int64_t refused = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  PackedHistogram ttft;
  PackedHistogram latency;
  PackedHistogram stream_rate;

  void add(const plan::UpstreamLoad& load) {
    grow(arrived, load.arrived);
    grow(answered, load.answered);
    grow(failed, load.failed);
    grow(refused, load.refused);
    grow(prompt_tokens, load.prompt_tokens);
    grow(completion_tokens, load.completion_tokens);
    ttft.add(load.ttft);
    latency.add(load.latency);
    stream_rate.add(load.stream_rate);
  }

  void add_to(LoadSpan& span) const {
    grow(span.arrived, arrived);
    grow(span.answered, answered);
    grow(span.failed, failed);
    grow(span.refused, refused);
    grow(span.prompt_tokens, prompt_tokens);
    grow(span.completion_tokens, completion_tokens);
    ttft.add_to(span.ttft);
    latency.add_to(span.latency);
    stream_rate.add_to(span.stream_rate);
  }
};

struct OneSecond {
  double concurrency = 0;
  int64_t in_flight = 0;
  int64_t held = 0;
  Sums sums;
  std::vector<plan::WaitingRequest> waiting;
};

}  // namespace

// By one gateway, of one upstream.
struct LoadBook::Told {
  Seconds seconds;
  int64_t in_flight = 0;  // of the newest
  int64_t held = 0;
};

struct LoadBook::Gateway {
  uint64_t number = 0;
  double heard = 0;
  bool ended = false;
  std::string plan_id;  // in force; empty: it takes no requests, or has not said so
  int64_t first = INT64_MAX;
  Seconds seconds;

  bool alive(double now) const { return !ended && now - heard <= static_cast<double>(kSilence); }
};

struct LoadBook::Upstream {
  int64_t first = INT64_MAX;  // second that was told of it
  std::map<uint64_t, Told> told;
  std::map<int64_t, OneSecond> seconds;  // in which there was anything
  std::map<int64_t, Sums> slots;         // by their first second
};

LoadBook::LoadBook() = default;
LoadBook::~LoadBook() = default;

LoadBook::Gateway* LoadBook::gateway_of(const std::string& id, double now) {
  const auto found = gateways_.find(id);
  if (found != gateways_.end()) {
    found->second.heard = now;
    return &found->second;
  }
  if (gateways_.size() >= kMaxGateways) {
    const auto oldest = std::ranges::min_element(
        gateways_, [](const auto& a, const auto& b) { return a.second.heard < b.second.heard; });
    if (oldest->second.alive(now)) return nullptr;
    for (auto& each : upstreams_) each.second.told.erase(oldest->second.number);
    gateways_.erase(oldest);
  }
  Gateway& made = gateways_[id];
  made.number = next_gateway_++;
  made.heard = now;
  return &made;
}

std::vector<std::string> LoadBook::take(const plan::LoadReport& report, double now) {
  std::vector<std::string> awaited = report.wake;
  const std::lock_guard lock(mutex_);
  forget_old(now);
  Gateway* gateway = gateway_of(report.gateway, now);
  if (gateway == nullptr) return awaited;
  if (report.ended) gateway->ended = true;
  if (report.plan_id) gateway->plan_id = *report.plan_id;
  if (!report.second) return awaited;
  const int64_t second = *report.second;
  for (const plan::UpstreamLoad& load : report.upstreams) {
    if (load.held > 0) awaited.push_back(load.name);
  }
  // A second of slack: the clocks of two processes are read at different moments.
  if (second > whole(now) || second < whole(now) - kLate) return awaited;
  gateway->seconds.add(second);
  gateway->first = std::min(gateway->first, second);
  for (const plan::UpstreamLoad& load : report.upstreams) {
    auto found = upstreams_.find(load.name);
    if (found == upstreams_.end()) {
      if (upstreams_.size() >= kMaxUpstreams) continue;
      found = upstreams_.try_emplace(load.name).first;
    }
    add(found->second, gateway->number, second, load);
  }
  return awaited;
}

void LoadBook::add(Upstream& upstream, uint64_t gateway, int64_t second,
                   const plan::UpstreamLoad& load) {
  upstream.first = std::min(upstream.first, second);
  Told& told = upstream.told[gateway];
  if (!told.seconds.add(second)) return;
  if (second == told.seconds.newest()) {
    told.in_flight = load.in_flight;
    told.held = load.held;
  }
  if (is_nothing(load)) return;
  OneSecond& sum = upstream.seconds[second];
  sum.concurrency += load.concurrency;
  grow(sum.in_flight, load.in_flight);
  grow(sum.held, load.held);
  sum.sums.add(load);
  const size_t room = kMaxWaiting - std::min(kMaxWaiting, sum.waiting.size());
  const auto waiting =
      std::span(load.waiting_first).first(std::min(room, load.waiting_first.size()));
  sum.waiting.insert(sum.waiting.end(), waiting.begin(), waiting.end());
  upstream.slots[slot_of(second)].add(load);
}

void LoadBook::forget_old(double now) {
  if (whole(now) == swept_) return;
  swept_ = whole(now);
  for (auto each = gateways_.begin(); each != gateways_.end();) {
    if (now - each->second.heard <= static_cast<double>(kForgetAfter)) {
      ++each;
      continue;
    }
    for (auto& upstream : upstreams_) upstream.second.told.erase(each->second.number);
    each = gateways_.erase(each);
  }
  for (auto& each : upstreams_) {
    Upstream& upstream = each.second;
    upstream.seconds.erase(upstream.seconds.begin(),
                           upstream.seconds.lower_bound(swept_ - kKeptSeconds));
    upstream.slots.erase(upstream.slots.begin(), upstream.slots.lower_bound(swept_ - kKept));
  }
}

bool LoadBook::is_whole(int64_t second, double now) const {
  bool told = false;
  for (const auto& each : gateways_) {
    const Gateway& gateway = each.second;
    if (gateway.seconds.has(second)) {
      told = true;
    } else if (gateway.alive(now) && second >= gateway.first && second >= whole(now) - kSilence) {
      return false;
    }
  }
  return told;
}

std::vector<LoadSecond> LoadBook::seconds(std::string_view upstream, int64_t from, int64_t to,
                                          double now) const {
  const std::lock_guard lock(mutex_);
  const auto found = upstreams_.find(upstream);
  if (found == upstreams_.end()) return {};
  from = std::max({from, found->second.first, whole(now) - kLate});
  std::vector<LoadSecond> out;
  for (int64_t second = from; second < std::min(to, whole(now) + 1); ++second) {
    if (!is_whole(second, now)) continue;
    LoadSecond& made = out.emplace_back();
    made.second = second;
    const auto had = found->second.seconds.find(second);
    if (had == found->second.seconds.end()) continue;
    const OneSecond& sum = had->second;
    made.concurrency = sum.concurrency;
    made.in_flight = sum.in_flight;
    made.held = sum.held;
    made.arrived = sum.sums.arrived;
    made.prompt_tokens = sum.sums.prompt_tokens;
    made.completion_tokens = sum.sums.completion_tokens;
    sum.sums.ttft.add_to(made.ttft);
    made.waiting_first = sum.waiting;
  }
  return out;
}

LoadSpan LoadBook::span(std::string_view upstream, int64_t from, int64_t to) const {
  const std::lock_guard lock(mutex_);
  LoadSpan out;
  const auto found = upstreams_.find(upstream);
  if (found == upstreams_.end()) return out;
  // Whole slots up to the seconds that are still kept one by one.
  const int64_t single = std::max(from, slot_of(swept_ - kKeptSeconds) + kSlot);
  const auto& slots = found->second.slots;
  for (auto each = slots.lower_bound(from); each != slots.end(); ++each) {
    if (each->first + kSlot > std::min(single, to)) break;
    each->second.add_to(out);
  }
  const auto& seconds = found->second.seconds;
  for (auto each = seconds.lower_bound(single); each != seconds.end() && each->first < to; ++each) {
    each->second.sums.add_to(out);
  }
  return out;
}

LoadNow LoadBook::at(std::string_view upstream, double now) const {
  const std::lock_guard lock(mutex_);
  LoadNow out;
  const auto found = upstreams_.find(upstream);
  if (found == upstreams_.end()) return out;
  for (const auto& each : gateways_) {
    if (!each.second.alive(now)) continue;
    const auto told = found->second.told.find(each.second.number);
    if (told == found->second.told.end()) continue;
    grow(out.in_flight, told->second.in_flight);
    grow(out.held, told->second.held);
  }
  return out;
}

int LoadBook::gateways(double now) const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(
      std::ranges::count_if(gateways_, [now](const auto& each) { return each.second.alive(now); }));
}

std::set<std::string> LoadBook::plans(double now) const {
  const std::lock_guard lock(mutex_);
  std::set<std::string> out;
  for (const auto& each : gateways_) {
    if (each.second.alive(now) && !each.second.plan_id.empty()) out.insert(each.second.plan_id);
  }
  return out;
}

void LoadBook::keep_only(const std::set<std::string, std::less<>>& upstreams) {
  const std::lock_guard lock(mutex_);
  std::erase_if(upstreams_, [&](const auto& each) { return !upstreams.contains(each.first); });
}

}  // namespace sluice::platform
