#include "gateway/unbroken_front.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "endpoint/error_shape.h"
#include "gateway/balancer.h"
#include "gateway/forward.h"
#include "gateway/paid_sink.h"
#include "gateway/place_waiter.h"
#include "gateway/sticky_key.h"
#include "gateway/text_prefix.h"
#include "gateway/unbroken_fallback.h"
#include "gateway/unbroken_mirror.h"
#include "gateway/unbroken_origin.h"
#include "net/event_loop.h"

namespace sluice::gateway {

UnbrokenRules unbroken_rules(const plan::Route& route) {
  UnbrokenRules rules;
  rules.retries = route.retry.attempts;
  rules.backoff = route.retry.backoff;
  rules.max_backoff = route.retry.max_backoff;
  if (route.hedge.enabled) rules.hedge_after = route.hedge.after;
  rules.resume_wait = route.unbroken.resume_wait;
  rules.hang_after = route.unbroken.hang_after;
  rules.resumes = route.unbroken.resumes;
  rules.other_revision = route.unbroken.other_revision;
  return rules;
}

namespace {

// Between two looks for a server of an upstream that holds requests.
constexpr Duration kHeldBackoff = std::chrono::milliseconds(50);

// The route's own, or else the usual time to a first token, once it is known.
UnbrokenRules rules_now(Route& route) {
  UnbrokenRules rules = unbroken_rules(route.settings());
  const plan::Hedge& hedge = route.settings().hedge;
  if (!hedge.enabled || hedge.after > Duration::zero()) return rules;
  if (const auto usual = route.memory()->first_bytes.get(hedge.quantile)) {
    rules.hedge_after = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(*usual));
  }
  return rules;
}

}  // namespace

// The endpoints' backend: gives a request what its door knows of it.
class UnbrokenFront::Backend final : public completion::Backend {
 public:
  Backend(UnbrokenFront& front, UnbrokenBackend& unbroken) : front_(front), unbroken_(unbroken) {}

  std::vector<completion::ModelCard> models() const override { return unbroken_.models(); }
  Result<completion::ModelCard> find_model(const std::string& name) const override {
    return unbroken_.find_model(name);
  }
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override {
    const auto origin = std::static_pointer_cast<const UnbrokenOrigin>(request.context);
    auto call = begin(std::move(request),
                      std::make_shared<RecordingSink>(std::move(sink), origin, front_.host_.clock));
    if (!call && origin) origin->note_error(call.error());
    return call;
  }
  Result<completion::TokenizeResult> tokenize(
      const completion::TokenizeRequest& request) const override {
    return unbroken_.tokenize(request);
  }
  Result<std::string> detokenize(const std::string& model,
                                 const std::vector<int32_t>& tokens) const override {
    return unbroken_.detokenize(model, tokens);
  }
  bool ready() const override { return unbroken_.ready(); }
  uint64_t steps(const std::string&) const override { return 0; }

 private:
  Result<std::shared_ptr<completion::Call>> begin(completion::Request request,
                                                  std::shared_ptr<completion::ResponseSink> sink) {
    SLUICE_ASSIGN_OR_RETURN(auto route, front_.route(request));
    const UnbrokenOrigin& origin = *origin_of(request);
    request.tenant = origin.caller.tenant_name();
    const TimePoint latest = origin.record.began + origin.route->settings().timeouts.total;
    request.deadline = std::min(request.deadline.value_or(latest), latest);
    SLUICE_RETURN_IF_ERROR(front_.find_tokens(request, route));
    SLUICE_ASSIGN_OR_RETURN(sink, front_.paid(route, request, std::move(sink)));
    return front_.send(std::move(route), std::move(request), std::move(sink));
  }

  UnbrokenFront& front_;
  UnbrokenBackend& unbroken_;
};

// A request at the door: waits for its place on the loop that it came in on.
class UnbrokenFront::Entry : public std::enable_shared_from_this<UnbrokenFront::Entry> {
 public:
  Entry(UnbrokenFront& front, net::EventLoop& loop, RelayRequest request)
      : front_(front), loop_(loop), request_(std::move(request)) {}

  void ask() {
    self_ = shared_from_this();
    request_.responder->on_close([weak = weak_from_this()] {
      if (const auto alive = weak.lock()) alive->loop_.post([alive] { alive->on_client_gone(); });
    });
    waiter_ =
        PlaceWaiter::ask(loop_, front_.host_.clock, *request_.route, request_.caller,
                         [self = self_](Result<Admission::Permit> place, Duration waited) {
                           self->request_.record.waited += waited;
                           place ? self->enter(*std::move(place)) : self->refuse(place.error());
                         });
  }

 private:
  void enter(Admission::Permit permit) {
    auto origin = std::make_shared<UnbrokenOrigin>();
    origin->route = request_.route;
    origin->caller = request_.caller;
    origin->sticky_key = sticky_key(request_.route->settings().sticky, request_.http.headers,
                                    request_.fields, request_.caller);
    origin->prefix = prefix();
    origin->headers = request_.http.headers;
    origin->snapshot = request_.snapshot;
    origin->known_by = request_.known_by;
    origin->record = std::move(request_.record);
    origin->traceparent = request_.traceparent;
    origin->permit = std::move(permit);
    if (request_.branch != nullptr) origin->upstream = request_.branch->upstream().name();
    origin->hold = std::move(request_.hold);
    origin->hold_until = request_.hold_until;
    origin->visit = std::move(request_.visit);
    origin->route->retries().on_request();
    origin->route->hedges().on_request();
    net::HttpRequest http = std::move(request_.http);
    http.context = origin;
    auto responder = std::make_shared<RecordingResponder>(std::move(request_.responder),
                                                          front_.host_, std::move(origin));
    auto endpoints = front_.endpoints_;
    self_.reset();
    if (auto refusal = endpoints->refuse(http)) return responder->send(*std::move(refusal));
    endpoints->handle(std::move(http), std::move(responder));
  }

  void on_client_gone() {
    if (!self_ || !waiter_->withdraw()) return;
    request_.record.waited = front_.host_.clock.now() - request_.record.began;
    request_.record.ending = Ending::kClientGone;
    request_.visit.leave();
    front_.host_.on_over(request_.record);
    self_.reset();
  }

  void refuse(const Status& status) {
    net::HttpResponse response = endpoint::shaped_error(request_.http.path, status);
    response.headers.emplace_back("X-Request-Id", request_.record.id);
    request_.record.status = response.status;
    request_.record.ending = Ending::kRefused;
    request_.record.error = status.reason();
    request_.record.bytes_out = response.body.size();
    request_.visit.end(load_outcome(request_.record), std::nullopt, front_.host_.clock.now());
    request_.responder->send(std::move(response));
    front_.host_.on_over(request_.record);
    self_.reset();
  }

  std::vector<PrefixHash> prefix() const {
    const plan::Route& route = request_.route->settings();
    if (route.policy != plan::Policy::kPrefixAffinity) return {};
    const auto tells = [](const std::unique_ptr<Target>& target) {
      const auto blocks = target->upstream().blocks();
      return blocks && blocks->synced() > 0;
    };
    // Then the prompt's own blocks are looked at, not its text.
    if (request_.route->exact() && std::ranges::all_of(request_.route->targets(), tells)) return {};
    return text_prefix(request_.fields.prompt.of(request_.http.body), route.prefix.block_tokens,
                       request_.caller.tenant_name(), request_.fields.model.value_or(""));
  }

  UnbrokenFront& front_;
  net::EventLoop& loop_;
  RelayRequest request_;
  std::shared_ptr<Entry> self_;  // until it has a place or is refused
  std::shared_ptr<PlaceWaiter> waiter_;
};

UnbrokenFront::UnbrokenFront(RelayHost& host, CurrentSnapshot snapshot, ReplicaChooser& chooser,
                             WorkerPool& workers, telemetry::Metrics& metrics,
                             std::function<Quota*()> quota)
    : host_(host),
      snapshot_(std::move(snapshot)),
      quota_(std::move(quota)),
      workers_(std::make_shared<WorkerGate>(workers)),
      client_(client_options(snapshot_()->plan())),
      unbroken_(*this, chooser, client_, metrics, host.clock),
      backend_(std::make_unique<Backend>(*this, unbroken_)),
      endpoints_(std::make_shared<endpoint::Endpoints>(
          *backend_, metrics, workers,
          endpoint::EndpointOptions{.request_timeout = std::chrono::hours(24)}, host.clock)) {}

UnbrokenFront::~UnbrokenFront() = default;

void UnbrokenFront::end() { workers_->close(); }

completion::Backend& UnbrokenFront::backend() { return *backend_; }

Outcome UnbrokenFront::find_tokens(const completion::Request& request, UnbrokenRoute& route) {
  const auto origin = std::static_pointer_cast<const UnbrokenOrigin>(request.context);
  const bool counts = quota_() != nullptr && Quota::counts_tokens(origin->caller);
  if (!counts && !origin->route->exact()) return {};
  Target* target = route.upstream.empty()
                       ? origin->route->split(
                             route.sticky_key,
                             [&](std::string_view name) { return header_of(route.headers, name); })
                       : origin->route->target(route.upstream);
  if (target == nullptr) {
    if (!counts) return {};  // the run waits for somebody
    if (!origin->route->settings().fallbacks.empty()) {
      return count_elsewhere(*origin, request, route);
    }
  }
  std::optional<BlockShape> shape;
  if (target != nullptr) {  // else whoever is asked is waited for
    route.upstream = target->upstream().name();
    const std::string& asked = target->settings().model;
    // One replica is chosen whatever it holds.
    const bool choice = origin->route->exact() && target->upstream().replicas()->size() > 1;
    const auto blocks = choice ? target->upstream().blocks() : nullptr;
    if (blocks) shape = blocks->shape(asked.empty() ? request.model : asked);
  }
  if (!counts && !shape) return {};
  const TimePoint began = host_.clock.now();
  auto found = unbroken_.tokenize_prompts(route, request, counts ? request.prompts.size() : 1);
  if (found) {
    route.tokenized = std::make_shared<const TokenizedPrompts>(*std::move(found));
    const std::lock_guard lock(origin->mutex);
    origin->record.tokenized = host_.clock.now() - began;
  } else if (found.error().code() != Code::kUnavailable ||
             (counts && origin->route->settings().fallbacks.empty())) {
    return std::unexpected(std::move(found).error());
  } else if (counts) {
    return count_elsewhere(*origin, request, route);
  }
  if (shape) {
    const auto tokens = known_tokens(request, route.tokenized.get(), 0);
    route.blocks =
        block_chain(computed_tokens(request, tokens), *shape, request.tenant, request.cache_salt);
  }
  return {};
}

// Where nobody of the route's own upstreams can be asked, a fallback counts.
Outcome UnbrokenFront::count_elsewhere(const UnbrokenOrigin& origin,
                                       const completion::Request& request, UnbrokenRoute& route) {
  Status last(Code::kUnavailable, "no server for this model can be reached", {}, "no_replica");
  for (size_t i = 0; i < origin.route->settings().fallbacks.size(); ++i) {
    UnbrokenRoute there = route;
    there.chooser = std::make_shared<BranchChooser>(origin.snapshot, origin.route->fallback(i));
    auto found = unbroken_.tokenize_prompts(there, request, request.prompts.size());
    if (found) {
      route.tokenized = std::make_shared<const TokenizedPrompts>(*std::move(found));
      return {};
    }
    last = found.error();
  }
  return std::unexpected(std::move(last));
}

Result<std::shared_ptr<completion::Call>> UnbrokenFront::send(
    UnbrokenRoute way, completion::Request request,
    std::shared_ptr<completion::ResponseSink> sink) {
  const auto origin = std::static_pointer_cast<const UnbrokenOrigin>(request.context);
  Route& route = *origin->route;
  sink = mirror_request(unbroken_, host_.metrics, host_.clock, origin->snapshot, route, way,
                        request, std::move(sink));
  if (route.settings().fallbacks.empty()) {
    return unbroken_.generate_on(std::move(way), std::move(request), std::move(sink));
  }
  UnbrokenFallback::Parts parts{.backend = unbroken_,
                                .workers = workers_,
                                .metrics = host_.metrics,
                                .clock = host_.clock,
                                .snapshot = origin->snapshot,
                                .route = route,
                                .on_fallback = [origin] {
                                  const std::lock_guard lock(origin->mutex);
                                  origin->record.fallback = true;
                                }};
  if (quota_() != nullptr && Quota::counts_tokens(origin->caller)) {
    parts.most_prompt_tokens = most_use(*origin, way, request).prompt;
  }
  auto run = std::make_shared<UnbrokenFallback>(std::move(parts), std::move(way),
                                                std::move(request), std::move(sink));
  SLUICE_RETURN_IF_ERROR(run->begin());
  return run;
}

TokenUse UnbrokenFront::most_use(const UnbrokenOrigin& origin, const UnbrokenRoute& route,
                                 completion::Request& request) {
  TokenUse most;
  const bool counts = Quota::counts_tokens(origin.caller);
  if (counts && !request.sampling.max_tokens) {
    request.sampling.max_tokens = origin.route->settings().default_max_tokens;
  }
  most.completion = int64_t{request.sampling.max_tokens.value_or(0)} * request.choices_per_prompt *
                    std::ssize(request.prompts);
  if (!counts) return most;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    most.prompt += std::ssize(known_tokens(request, route.tokenized.get(), i));
  }
  return most;
}

Result<std::shared_ptr<completion::ResponseSink>> UnbrokenFront::paid(
    const UnbrokenRoute& route, completion::Request& request,
    std::shared_ptr<completion::ResponseSink> sink) {
  Quota* quota = quota_();
  const auto origin = std::static_pointer_cast<const UnbrokenOrigin>(request.context);
  if (quota == nullptr || origin->caller.tenant == nullptr) return sink;
  const TokenUse most = most_use(*origin, route, request);
  auto grant = quota->reserve({.caller = origin->caller,
                               .route = &origin->route->settings(),
                               .model = origin->record.model_label,
                               .most = most});
  {
    const std::lock_guard lock(origin->mutex);
    origin->limit_headers = grant ? (*grant)->take_headers() : std::move(grant.error().headers);
  }
  if (!grant) return std::unexpected(std::move(grant).error().status);
  return std::make_shared<PaidSink>(std::move(sink), *std::move(grant), [origin] {
    const std::lock_guard lock(origin->mutex);
    return origin->record.upstream;
  });
}

void UnbrokenFront::answer(RelayRequest request) {
  net::EventLoop& loop = *net::EventLoop::current();
  std::make_shared<Entry>(*this, loop, std::move(request))->ask();
}

Result<UnbrokenRoute> UnbrokenFront::route(const completion::Request& request) const {
  const UnbrokenOrigin* origin = origin_of(request);
  if (origin == nullptr) return fail(Code::kInternal, "a request came past the door");
  Route* route = origin->route;
  UnbrokenRules rules = rules_now(*route);
  const TimePoint now = host_.clock.now();
  if (origin->hold_until > now) {
    rules.choose_wait = std::max(rules.choose_wait, origin->hold_until - now);
    rules.max_backoff = std::min(rules.max_backoff, kHeldBackoff);
  }
  return UnbrokenRoute{
      .name = route->settings().name,
      .sticky_key = origin->sticky_key,
      .prefix = origin->prefix,
      .headers = origin->headers,
      .upstream = origin->upstream,
      .stays = !origin->upstream.empty(),
      .rules = rules,
      .chooser = std::make_shared<Balancer>([plan = origin->snapshot] { return plan; }),
      .permit =
          [kept = request.context, route, &clock = host_.clock](AttemptReason reason) {
            RetryBudget& budget =
                reason == AttemptReason::kHedge ? route->hedges() : route->retries();
            return budget.take(clock.now());
          },
      .on_attempt =
          [kept = request.context, origin, tracer = host_.tracer, &clock = host_.clock](
              int attempt, AttemptReason reason, const ReplicaInfo& replica) {
            return origin->note_attempt(tracer, attempt, reason, replica, clock.now());
          },
      .on_closed = [kept = request.context,
                    origin](const UnbrokenAnswer::Closed& closed) { origin->note_closed(closed); }};
}

Result<std::string> UnbrokenFront::route_of_model(const std::string& model) const {
  const auto snapshot = snapshot_();
  net::HttpRequest like;
  like.method = "POST";
  like.path = "/v1/chat/completions";
  Route* found = snapshot->match(like, model);
  if (found != nullptr && found->sluice()) return found->settings().name;
  // Its route looks at more than the model.
  for (const auto& route : snapshot->routes()) {
    if (route->sluice() && Snapshot::takes_model(route->settings().match, model)) {
      return route->settings().name;
    }
  }
  return fail(Code::kNotFound, "the model does not exist, or your key may not use it", "model",
              "model_not_found");
}

std::vector<std::string> UnbrokenFront::models() const {
  std::vector<std::string> names;
  const auto snapshot = snapshot_();
  for (const auto& route : snapshot->routes()) {
    if (!route->sluice()) continue;
    for (const std::string& model : route->settings().match.models) {
      if (!model.ends_with('*')) names.push_back(model);
    }
  }
  return names;
}

}  // namespace sluice::gateway
