#include "gateway/typed_door.h"

#include <atomic>
#include <mutex>
#include <utility>

#include "base/ids.h"
#include "endpoint/auth.h"
#include "endpoint/error_shape.h"
#include "gateway/forward.h"
#include "gateway/hold_wait.h"
#include "gateway/place_waiter.h"
#include "gateway/sticky_key.h"
#include "gateway/unbroken_origin.h"

namespace sluice::gateway {
namespace {

constexpr std::string_view kPath = "/inference.GRPCInferenceService/ModelInfer";

// "ipv4:127.0.0.1:4711" → "127.0.0.1"; "ipv6:%5B::1%5D:4711" → "::1".
std::string address_of(std::string_view peer) {
  if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return std::string(peer);
  const bool v6 = peer[3] == '6';
  peer.remove_prefix(5);
  peer = peer.substr(0, peer.rfind(':'));
  for (const std::string_view bracket : {"%5B", "["}) {
    if (v6 && peer.starts_with(bracket)) peer.remove_prefix(bracket.size());
  }
  for (const std::string_view bracket : {"%5D", "]"}) {
    if (v6 && peer.ends_with(bracket)) peer.remove_suffix(bracket.size());
  }
  return std::string(peer);
}

net::HttpRequest with_headers(const net::Headers& headers) {
  net::HttpRequest request;
  request.method = "POST";
  request.headers = headers;
  return request;
}

// Passes an answer on and keeps the record of it; the place in the queue is held until its end.
class TypedSink final : public completion::ResponseSink {
 public:
  TypedSink(std::shared_ptr<completion::ResponseSink> inner, RelayHost& host,
            std::shared_ptr<const UnbrokenOrigin> origin)
      : inner_(std::move(inner)), host_(host), origin_(std::move(origin)) {}
  ~TypedSink() override { over(Ending::kClientGone, 0); }

  void on_start(completion::PromptInfo info) override { inner_->on_start(std::move(info)); }
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override {
    inner_->on_prompt_logprobs(prompt, std::move(entries));
  }
  void on_delta(completion::Delta delta) override {
    {
      const std::lock_guard lock(origin_->mutex);
      RequestRecord& record = origin_->record;
      if (!std::exchange(started_, true)) {
        record.first_byte = host_.clock.now() - record.began;
        origin_->route->memory()->first_bytes.add(to_seconds(record.first_byte - record.waited));
      }
      record.bytes_out += delta.text.size();
    }
    inner_->on_delta(std::move(delta));
  }
  void on_done(const completion::Usage& usage) override {
    inner_->on_done(usage);
    over(Ending::kAnswered, 200);
  }
  void on_error(const Status& status) override {
    origin_->note_error(status);
    inner_->on_error(status);
    const bool gone = status.code() == Code::kCancelled;
    const int like = endpoint::shaped_error("", status).status;
    const Ending failed = like >= 500 ? Ending::kRefused : Ending::kAnswered;
    over(gone ? Ending::kClientGone : started_ ? Ending::kCut : failed, like);
  }

 private:
  void over(Ending ending, int status) {
    if (over_.exchange(true)) return;
    RequestRecord record = origin_->end(ending, status, host_.clock.now());
    host_.on_over(record);
  }

  const std::shared_ptr<completion::ResponseSink> inner_;
  RelayHost& host_;
  const std::shared_ptr<const UnbrokenOrigin> origin_;
  bool started_ = false;
  std::atomic<bool> over_{false};
};

}  // namespace

// A request from the door to its replica. Any thread; what waits is the loop's.
class TypedDoor::Pending final : public completion::Call,
                                 public std::enable_shared_from_this<Pending> {
 public:
  Pending(TypedDoor& door, completion::Request request, std::shared_ptr<UnbrokenOrigin> origin,
          std::shared_ptr<completion::ResponseSink> sink)
      : door_(door),
        origin_(std::move(origin)),
        sink_(std::make_shared<TypedSink>(std::move(sink), door.gateway_.relay_host(), origin_)),
        request_(std::move(request)) {
    request_.context = origin_;
  }

  void begin() {
    door_.loop_.post([self = shared_from_this()] { self->begin_on_loop(); });
  }

  void cancel() override {
    std::shared_ptr<completion::Call> call;
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
      call = call_;
    }
    if (call) return call->cancel();
    door_.loop_.post([self = shared_from_this()] { self->leave_queue(); });
  }

 private:
  // At an upstream that holds requests a place there comes first.
  void begin_on_loop() {
    if (cancelled()) return give_up();
    Target* branch = origin_->route->holds() ? split() : nullptr;
    if (branch == nullptr || !branch->holds()) return ask();
    const TimePoint now = door_.clock_.now();
    Upstream& upstream = *branch->upstream_ptr();
    const auto settings = upstream.settings();
    const Duration most = settings->hold.value_or(plan::HoldPlan{}).max_wait;
    auto place = place_at(upstream, now);
    {
      const std::lock_guard lock(origin_->mutex);
      origin_->upstream = upstream.name();
      origin_->hold_until = now + most;
      origin_->visit = LoadVisit(upstream.load(), origin_->record.began, now);
      if (!place) origin_->visit.hold(now);
    }
    if (place) return held_no_more(std::move(place), {});
    door_.gateway_.relay_host().held(upstream.name());
    hold_ = HoldWait::begin(
        door_.loop_, door_.clock_, upstream, asker_of(origin_->caller), nullptr, most,
        [self = shared_from_this()](Result<Admission::Permit> got, Duration waited) {
          const bool others = !self->origin_->route->settings().fallbacks.empty();
          if (!got && (got.error().reason() != "hold_timeout" || !others)) {
            return self->sink_->on_error(got.error());
          }
          self->held_no_more(got ? std::optional(*std::move(got)) : std::nullopt, waited);
        });
  }

  Target* split() {
    return origin_->route->split(origin_->sticky_key, [this](std::string_view name) {
      return header_of(origin_->headers, name);
    });
  }

  void held_no_more(std::optional<Admission::Permit> place, Duration waited) {
    {
      const std::lock_guard lock(origin_->mutex);
      if (place) origin_->hold = *std::move(place);
      origin_->visit.release(door_.clock_.now());
      origin_->record.waited += waited;
    }
    ask();
  }

  void ask() {
    if (cancelled()) return give_up();
    waiter_ = PlaceWaiter::ask(
        door_.loop_, door_.clock_, *origin_->route, origin_->caller,
        [self = shared_from_this()](Result<Admission::Permit> place, Duration waited) {
          self->enter(std::move(place), waited);
        });
  }

  void leave_queue() {
    if ((hold_ && hold_->withdraw()) || (waiter_ && waiter_->withdraw())) give_up();
  }

  void enter(Result<Admission::Permit> place, Duration waited) {
    if (!place) return sink_->on_error(place.error());
    {
      const std::lock_guard lock(origin_->mutex);
      origin_->permit = *std::move(place);
      origin_->record.waited += waited;
    }
    origin_->route->retries().on_request();
    origin_->route->hedges().on_request();
    const Outcome queued = door_.workers_.submit([self = shared_from_this()] { self->start(); });
    if (!queued) sink_->on_error(queued.error());
  }

  void start() {
    if (cancelled()) return give_up();
    auto call = door_.front_.backend().generate(std::move(request_), sink_);
    if (!call) return sink_->on_error(call.error());
    bool late = false;
    {
      const std::lock_guard lock(mutex_);
      call_ = *call;
      late = cancelled_;
    }
    if (late) (*call)->cancel();
  }

  bool cancelled() {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }

  void give_up() { sink_->on_error({Code::kCancelled, "the request was cancelled"}); }

  TypedDoor& door_;
  const std::shared_ptr<UnbrokenOrigin> origin_;
  const std::shared_ptr<TypedSink> sink_;
  completion::Request request_;
  std::shared_ptr<HoldWait> hold_;       // the loop's
  std::shared_ptr<PlaceWaiter> waiter_;  // the loop's
  std::mutex mutex_;                     // guards what follows
  std::shared_ptr<completion::Call> call_;
  bool cancelled_ = false;
};

TypedDoor::TypedDoor(Gateway& gateway, UnbrokenFront& front, net::EventLoop& loop,
                     WorkerPool& workers, const Clock& clock)
    : gateway_(gateway), front_(front), loop_(loop), workers_(workers), clock_(clock) {}

Result<std::shared_ptr<const TypedCaller>> TypedDoor::identify(net::Headers headers,
                                                               std::string_view peer) const {
  auto typed = std::make_shared<TypedCaller>();
  typed->snapshot = gateway_.snapshot();
  typed->headers = std::move(headers);
  typed->peer = address_of(peer);
  const net::HttpRequest like = with_headers(typed->headers);
  SLUICE_ASSIGN_OR_RETURN(const auto key, endpoint::credential_of(like));
  if (key) {
    const auto caller = typed->snapshot->find_caller(*key, clock_.unix_seconds());
    if (!caller) {
      return fail(Code::kUnauthenticated, "the API key is not valid", {}, "invalid_api_key");
    }
    typed->caller = *caller;
  } else if (!typed->snapshot->has_public_route() && !typed->snapshot->plan().tenants.empty()) {
    return fail(Code::kUnauthenticated,
                "an API key is needed: send it as \"authorization: Bearer KEY\" metadata", {},
                "missing_api_key");
  }
  return typed;
}

Outcome TypedDoor::check_admin(const net::Headers& headers) const {
  SLUICE_ASSIGN_OR_RETURN(const auto typed, identify(headers, {}));
  const plan::ApiKey* key = typed->caller.key;
  if (key != nullptr && key->admin) return {};
  return fail(Code::kPermissionDenied, "this needs an admin's key");
}

Result<Route*> TypedDoor::find_route(const TypedCaller& typed, const std::string& model) const {
  net::HttpRequest like = with_headers(typed.headers);
  like.path = "/v2/models/" + model + "/infer";
  Route* route = typed.snapshot->match(like, model);
  if (route != nullptr && Snapshot::allowed(typed.caller, route->settings(), model)) return route;
  return fail(Code::kNotFound, "the model does not exist, or your key may not use it", "model",
              "model_not_found");
}

Outcome TypedDoor::may_use(const TypedCaller& caller, const std::string& model) const {
  SLUICE_RETURN_IF_ERROR(find_route(caller, model));
  return {};
}

Result<std::shared_ptr<completion::Call>> TypedDoor::generate(
    completion::Request request, std::shared_ptr<completion::ResponseSink> sink) {
  const auto typed = std::static_pointer_cast<const TypedCaller>(request.context);
  auto origin = std::make_shared<UnbrokenOrigin>();
  RequestRecord& record = origin->record;
  record.id = new_id("req-");
  record.method = "POST";
  record.path = kPath;
  record.peer = typed->peer;
  origin->traceparent =
      begin_trace(with_headers(typed->headers), gateway_.relay_host().tracer, record);
  record.model = request.model;
  record.model_label = typed->snapshot->model_label(request.model);
  record.tenant = typed->caller.tenant_name();
  record.key = typed->caller.key_name();
  record.began = clock_.now();
  record.unix_began = clock_.unix_seconds();
  const auto route = find_route(*typed, request.model);
  Status refused{Code::kUnimplemented, "the servers of this model's route do not speak gRPC"};
  if (!route || !(*route)->sluice()) {
    if (!route) refused = route.error();
    record.status = endpoint::shaped_error("", refused).status;
    record.ending = Ending::kRefused;
    record.error = refused.reason().empty() ? "unimplemented" : refused.reason();
    gateway_.relay_host().on_over(record);
    return std::unexpected(std::move(refused));
  }
  record.route = (*route)->settings().name;
  origin->snapshot = typed->snapshot;
  origin->route = *route;
  origin->caller = typed->caller;
  origin->headers = typed->headers;
  const plan::Sticky& sticky = (*route)->settings().sticky;
  if (sticky.by == plan::Sticky::By::kHeader) {
    origin->sticky_key = net::find_header(typed->headers, sticky.header);
    if (!origin->sticky_key.empty()) {
      origin->sticky_key.append("\n").append(typed->caller.tenant_name());
    }
  }
  auto pending =
      std::make_shared<Pending>(*this, std::move(request), std::move(origin), std::move(sink));
  pending->begin();
  return pending;
}

}  // namespace sluice::gateway
