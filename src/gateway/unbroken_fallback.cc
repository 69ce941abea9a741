#include "gateway/unbroken_fallback.h"

#include <algorithm>
#include <utility>

#include "gateway/balancer.h"

namespace sluice::gateway {

using plan::ErrorClass;

Result<ReplicaLease> BranchChooser::choose(const ChooseRequest& request) {
  return branch_.choose({.sticky_key = request.sticky_key,
                         .prefix = request.prefix,
                         .blocks = request.blocks,
                         .excluded = request.excluded,
                         .fingerprint = request.fingerprint,
                         .model = request.model});
}

void BranchChooser::learn_fingerprint(const ReplicaInfo& replica, const std::string& model,
                                      const std::string& fingerprint) {
  Balancer([this] { return snapshot_; }).learn_fingerprint(replica, model, fingerprint);
}

std::string BranchChooser::known_fingerprint(const ReplicaInfo& replica, const std::string& model) {
  return Balancer([this] { return snapshot_; }).known_fingerprint(replica, model);
}

bool WorkerGate::submit(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  return workers_ != nullptr && workers_->submit(std::move(work)).has_value();
}

void WorkerGate::close() {
  const std::lock_guard lock(mutex_);
  workers_ = nullptr;
}

std::optional<ErrorClass> error_class_of(const Status& status) {
  if (status.reason() == "context_length_exceeded") return ErrorClass::kContext;
  switch (status.code()) {
    case Code::kUnavailable:
      return status.reason() == "no_replica" ? ErrorClass::kConnect : ErrorClass::kOverloaded;
    case Code::kResourceExhausted:
      return ErrorClass::kRateLimited;
    case Code::kDeadlineExceeded:
      return ErrorClass::kTimeout;
    case Code::kTooLarge:
      return ErrorClass::kContext;
    case Code::kNotFound:
      return ErrorClass::kNotFound;
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      return ErrorClass::kAuth;
    case Code::kInternal:
    case Code::kDataLoss:
    case Code::kUnimplemented:
      return ErrorClass::kServerError;
    default:
      return std::nullopt;
  }
}

// What one run tells. Its start is kept back until there is an answer behind it.
class UnbrokenFallback::Sink final : public completion::ResponseSink {
 public:
  explicit Sink(std::shared_ptr<UnbrokenFallback> owner) : owner_(std::move(owner)) {}

  void on_start(completion::PromptInfo info) override { start_ = std::move(info); }
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override {
    tell_start();
    owner_->sink_->on_prompt_logprobs(prompt, std::move(entries));
  }
  void on_delta(completion::Delta delta) override {
    tell_start();
    owner_->sink_->on_delta(std::move(delta));
  }
  void on_done(const completion::Usage& usage) override {
    tell_start();
    owner_->sink_->on_done(usage);
    owner_->ended();
  }
  void on_error(const Status& status) override {
    if (!told_ && owner_->goes_on(status)) return;
    owner_->sink_->on_error(status);
    owner_->ended();
  }

 private:
  void tell_start() {
    if (std::exchange(told_, true)) return;
    if (start_) owner_->sink_->on_start(*std::move(start_));
  }

  const std::shared_ptr<UnbrokenFallback> owner_;
  std::optional<completion::PromptInfo> start_;
  bool told_ = false;
};

UnbrokenFallback::UnbrokenFallback(Parts parts, UnbrokenRoute route, completion::Request request,
                                   std::shared_ptr<completion::ResponseSink> sink)
    : parts_(std::move(parts)),
      route_(std::move(route)),
      request_(std::move(request)),
      sink_(std::move(sink)) {}

Outcome UnbrokenFallback::begin() {
  UnbrokenRoute route = route_;
  // Nobody is waited for while somebody else may be asked.
  route.rules.choose_wait = Duration::zero();
  auto call = parts_.backend.generate_on(std::move(route), request_,
                                         std::make_shared<Sink>(shared_from_this()));
  if (!call) return std::unexpected(std::move(call).error());
  const std::lock_guard lock(mutex_);
  if (!ended_ && next_ == 0) call_ = *std::move(call);
  return {};
}

void UnbrokenFallback::cancel() {
  std::shared_ptr<completion::Call> call;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    call = call_;
  }
  if (call) call->cancel();
}

void UnbrokenFallback::ended() {
  std::shared_ptr<completion::Call> call;
  const std::lock_guard lock(mutex_);
  ended_ = true;
  call_.swap(call);
}

// Told from inside the run that failed: the next one begins on a worker.
bool UnbrokenFallback::goes_on(const Status& failure) {
  const auto error = error_class_of(failure);
  const auto& fallbacks = parts_.route.settings().fallbacks;
  if (!error || (request_.deadline && parts_.clock.now() >= *request_.deadline)) return false;
  size_t i = 0;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return false;
    while (next_ < fallbacks.size() && !fallbacks[next_].on.has(*error)) ++next_;
    if (next_ == fallbacks.size()) return false;
    i = next_++;
  }
  return parts_.workers->submit([self = shared_from_this(), i] { self->ask_fallback(i); });
}

void UnbrokenFallback::ask_fallback(size_t i) {
  Target& branch = parts_.route.fallback(i);
  parts_.metrics.fallback(parts_.route.settings().name, branch.upstream().name());
  if (parts_.on_fallback) parts_.on_fallback();
  UnbrokenRoute route = route_;
  route.chooser = std::make_shared<BranchChooser>(parts_.snapshot, branch);
  route.upstream.clear();
  route.stays = false;
  route.prefix.clear();
  route.blocks.clear();
  const bool last = i + 1 == parts_.route.settings().fallbacks.size();
  if (!last) route.rules.choose_wait = Duration::zero();
  const auto sink = std::make_shared<Sink>(shared_from_this());
  if (const Outcome fitting = fits(route); !fitting) return sink->on_error(fitting.error());
  auto call = parts_.backend.generate_on(std::move(route), request_, sink);
  if (!call) return sink->on_error(call.error());
  bool late = false;
  {
    const std::lock_guard lock(mutex_);
    // The run may have ended, or have given way to another, by now.
    if (!ended_ && next_ == i + 1) call_ = *call;
    late = cancelled_;
  }
  if (late) (*call)->cancel();
}

// Another model may make more tokens of the prompts than were reserved.
Outcome UnbrokenFallback::fits(const UnbrokenRoute& route) const {
  if (!parts_.most_prompt_tokens) return {};
  SLUICE_ASSIGN_OR_RETURN(
      const TokenizedPrompts found,
      parts_.backend.tokenize_prompts(route, request_, request_.prompts.size()));
  int64_t tokens = 0;
  for (size_t p = 0; p < request_.prompts.size(); ++p) {
    tokens += std::ssize(known_tokens(request_, &found, p));
  }
  if (tokens <= *parts_.most_prompt_tokens) return {};
  return fail(Code::kUnavailable, "no server for this model can be reached", {}, "no_replica");
}

}  // namespace sluice::gateway
