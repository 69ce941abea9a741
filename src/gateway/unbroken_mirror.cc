#include "gateway/unbroken_mirror.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/rng.h"
#include "endpoint/error_shape.h"
#include "gateway/unbroken_fallback.h"

namespace sluice::gateway {
namespace {

// How one side of a comparison ended: its status, and a hash of each choice's text.
struct Side {
  int status = 0;
  std::map<int, uint64_t> texts;
  bool operator==(const Side&) const = default;
};

// Counts when both sides are over; any thread.
class Comparison {
 public:
  Comparison(GatewayMetrics& metrics, std::string route)
      : metrics_(metrics), route_(std::move(route)) {}

  void tell(Side side) {
    std::optional<Side> other;
    {
      const std::lock_guard lock(mutex_);
      if (!first_) {
        first_ = std::move(side);
        return;
      }
      other = first_;
    }
    std::string_view outcome = side == *other ? "same" : "different_text";
    if (side.status != other->status) outcome = "different_status";
    metrics_.mirror_compared(route_, outcome);
  }

 private:
  GatewayMetrics& metrics_;
  const std::string route_;
  std::mutex mutex_;
  std::optional<Side> first_;
};

// Passes an answer on, if anybody wants it, and tells the comparison how it was.
class ComparedSink : public completion::ResponseSink {
 public:
  ComparedSink(std::shared_ptr<completion::ResponseSink> inner,
               std::shared_ptr<Comparison> comparison)
      : inner_(std::move(inner)), comparison_(std::move(comparison)) {}

  void on_start(completion::PromptInfo info) override {
    if (inner_) inner_->on_start(std::move(info));
  }
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override {
    if (inner_) inner_->on_prompt_logprobs(prompt, std::move(entries));
  }
  void on_delta(completion::Delta delta) override {
    constexpr uint64_t kOffset = 0xCBF29CE484222325u;  // FNV-1a, 64 bits
    constexpr uint64_t kPrime = 0x100000001B3u;
    uint64_t& hash = side_.texts.try_emplace(delta.choice, kOffset).first->second;
    for (const char c : delta.text) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
    if (inner_) inner_->on_delta(std::move(delta));
  }
  void on_done(const completion::Usage& usage) override {
    if (inner_) inner_->on_done(usage);
    over(200);
  }
  void on_error(const Status& status) override {
    if (inner_) inner_->on_error(status);
    // A client that has left says nothing of the answer.
    if (inner_ && status.code() == Code::kCancelled) return;
    over(endpoint::shaped_error("", status).status);
  }

 protected:
  virtual void over(int status) {
    side_.status = status;
    comparison_->tell(std::move(side_));
  }

 private:
  const std::shared_ptr<completion::ResponseSink> inner_;
  const std::shared_ptr<Comparison> comparison_;
  Side side_;
};

// The copy's: counted while it is under way.
class CopySink final : public ComparedSink {
 public:
  CopySink(std::shared_ptr<Comparison> comparison, GatewayMetrics& metrics, const Route& route)
      : ComparedSink(nullptr, std::move(comparison)),
        metrics_(metrics),
        name_(route.settings().name),
        memory_(route.memory()) {
    ++memory_->mirrors;
  }
  ~CopySink() override { --memory_->mirrors; }

 private:
  void over(int status) override {
    metrics_.mirror(name_, status == 200 ? "ok" : "error");
    ComparedSink::over(status);
  }

  GatewayMetrics& metrics_;
  const std::string name_;
  const std::shared_ptr<RouteMemory> memory_;
};

}  // namespace

std::shared_ptr<completion::ResponseSink> mirror_request(
    UnbrokenBackend& backend, GatewayMetrics& metrics, const Clock& clock,
    const std::shared_ptr<const Snapshot>& snapshot, Route& route, const UnbrokenRoute& way,
    completion::Request& request, std::shared_ptr<completion::ResponseSink> sink) {
  if (!route.takes_mirror()) return sink;
  const plan::Mirror& settings = *route.settings().mirror;
  if (route.memory()->mirrors >= settings.max_in_flight) {
    metrics.mirror(route.settings().name, "dropped");
    return sink;
  }
  if (!request.sampling.seed) request.sampling.seed = random_seed();
  completion::Request copy = request;
  copy.context = {};
  const TimePoint latest = clock.now() + settings.timeout;
  copy.deadline = std::min(copy.deadline.value_or(latest), latest);
  UnbrokenRoute there;
  there.name = route.settings().name;
  there.sticky_key = way.sticky_key;
  there.tokenized = way.tokenized;
  there.rules = way.rules;
  there.chooser = std::make_shared<BranchChooser>(snapshot, *route.mirror());
  there.permit = [](AttemptReason) { return false; };
  // Nobody waits for it: it is sent once, or not at all.
  there.rules.choose_wait = Duration::zero();
  there.rules.resume_wait = Duration::zero();
  there.rules.hedge_after = Duration::zero();
  there.rules.retries = 0;
  there.rules.resumes = 0;
  auto comparison = std::make_shared<Comparison>(metrics, route.settings().name);
  const auto begun = backend.generate_on(std::move(there), std::move(copy),
                                         std::make_shared<CopySink>(comparison, metrics, route));
  static_cast<void>(begun);  // its sink is told, whatever happens
  return std::make_shared<ComparedSink>(std::move(sink), std::move(comparison));
}

}  // namespace sluice::gateway
