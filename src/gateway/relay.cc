#include "gateway/relay.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/rng.h"
#include "endpoint/sinks.h"
#include "gateway/errors.h"
#include "gateway/forward.h"
#include "gateway/text_prefix.h"

namespace sluice::gateway {
namespace {

using plan::ErrorClass;

// A whole answer of at most so many bytes is sent in one piece, and may be retried until then.
constexpr uint64_t kCollectedBytes = 256u << 10;
constexpr size_t kKeptErrorBytes = 64u << 10;

bool is_event_stream(const net::Headers& headers) {
  return net::find_header(headers, "content-type").starts_with("text/event-stream");
}

bool is_short(const net::Headers& headers) {
  const std::string_view text = net::find_header(headers, "content-length");
  uint64_t length = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc() && at == text.data() + text.size() && length <= kCollectedBytes;
}

std::string error_event(std::string_view message) {
  const json::object error{{"message", message},
                           {"type", "server_error"},
                           {"param", nullptr},
                           {"code", "upstream_lost"}};
  return "data: " + to_json(json::object{{"error", error}}) + "\n\n";
}

}  // namespace

Relay::Relay(RelayHost& host, net::EventLoop& loop, net::HttpClient& client, RelayRequest request)
    : host_(host),
      loop_(loop),
      client_(client),
      request_(std::move(request)),
      deadline_(loop, [this] { on_deadline(); }),
      wait_(loop, [this] { on_wait_over(); }),
      hedge_(loop, [this] { on_hedge_time(); }) {}

Relay::~Relay() = default;

void Relay::begin(RelayHost& host, net::EventLoop& loop, net::HttpClient& client,
                  RelayRequest request) {
  auto relay = std::make_shared<Relay>(host, loop, client, std::move(request));
  relay->self_ = relay;
  relay->request_.responder->on_close([weak = std::weak_ptr(relay)] {
    if (const auto alive = weak.lock()) alive->on_client_gone();
  });
  if (relay->over_) return;
  relay->deadline_.set(relay->now() + relay->settings().timeouts.total);
  relay->ask_admission();
}

// --- Being let in -------------------------------------------------------------------------------

void Relay::ask_admission() {
  asked_at_ = now();
  Admission::Asker asker{.tenant = std::string(request_.caller.tenant_name())};
  if (request_.caller.tenant != nullptr) {
    asker.priority = request_.caller.tenant->priority;
    asker.weight = request_.caller.tenant->weight;
  }
  // Granted inside ask(), or later on the thread of whoever leaves: that may serve another loop,
  // and those who enter one after another must not stand on each other's stack.
  auto granted = [weak = weak_from_this(), loop = &loop_](Admission::Permit permit) {
    auto kept = std::make_shared<Admission::Permit>(std::move(permit));
    const auto enter = [weak, kept] {
      if (const auto alive = weak.lock(); alive && !alive->over_) alive->admitted(std::move(*kept));
    };
    const auto self = loop->on_thread() ? weak.lock() : nullptr;
    self && self->asking_ ? enter() : loop->post(enter);
  };
  asking_ = true;
  const auto ticket = request_.route->memory()->admission->ask(asker, std::move(granted));
  asking_ = false;
  if (!ticket) return refuse(ticket.error());
  if (*ticket == 0) return;
  ticket_ = *ticket;
  wait_.set(asked_at_ + settings().queue.max_wait);
}

void Relay::admitted(Admission::Permit permit) {
  permit_ = std::move(permit);
  wait_.clear();
  if (ticket_ != 0) request_.record.waited = now() - asked_at_;
  ticket_ = 0;
  choose_branch();
}

void Relay::on_wait_over() {
  if (ticket_ == 0) return try_next();
  if (!request_.route->memory()->admission->withdraw(std::exchange(ticket_, 0))) return;
  request_.record.waited = now() - asked_at_;
  refuse({Code::kResourceExhausted,
          "waited too long for a place; try again later",
          {},
          "queue_timeout"});
}

// --- Choosing -----------------------------------------------------------------------------------

std::optional<std::string_view> Relay::header(std::string_view name) const {
  for (const auto& [key, value] : request_.http.headers) {
    if (net::equals_ignoring_case(key, name)) return value;
  }
  return std::nullopt;
}

std::string Relay::sticky_key() const {
  const plan::Sticky& sticky = settings().sticky;
  std::string key;
  switch (sticky.by) {
    case plan::Sticky::By::kNone:
      return {};
    case plan::Sticky::By::kUser:
      key = request_.fields.user;
      break;
    case plan::Sticky::By::kConversation:
      key = request_.fields.conversation;
      break;
    case plan::Sticky::By::kHeader:
      key = header(sticky.header).value_or("");
      break;
  }
  // Equal names of two tenants are two users.
  if (!key.empty()) key.append("\n").append(request_.caller.tenant_name());
  return key;
}

void Relay::choose_branch() {
  Route& route = *request_.route;
  route.retries().on_request();
  route.hedges().on_request();
  sticky_ = sticky_key();
  if (settings().policy == plan::Policy::kPrefixAffinity) {
    prefix_ =
        text_prefix(request_.fields.prompt.of(request_.http.body), settings().prefix.block_tokens,
                    request_.caller.tenant_name(), request_.fields.model.value_or(""));
  }
  target_ = route.split(sticky_, [this](std::string_view name) { return header(name); });
  if (target_ == nullptr) {
    failure_ = Failure{.message = "no replica can take requests now"};
    return decide();
  }
  mirror();
  try_next();
}

void Relay::try_next() {
  if (over_) return;
  if (launch(false)) return arm_hedge();
  if (over_ || !attempts_.empty()) return;
  // Whoever was tried already may be tried again once all were.
  if (!excluded_.empty()) {
    excluded_.clear();
    if (launch(false)) return arm_hedge();
  }
  if (!failure_) {
    failure_ = Failure{.message = fmt::format("no replica of '{}' can take requests now",
                                              target_->upstream().name())};
  }
  decide();
}

// False when there is no replica to send to.
bool Relay::launch(bool hedge) {
  auto lease = target_->choose({.sticky_key = sticky_,
                                .prefix = prefix_,
                                .excluded = excluded_,
                                .fingerprint = {},
                                .model = request_.fields.model ? *request_.fields.model : ""});
  if (!lease) return false;
  auto attempt = std::make_shared<Attempt>(std::move(*lease));
  attempt->target = target_;
  attempt->hedge = hedge;
  attempt->began = now();
  excluded_.push_back(attempt->lease->replica().name);
  attempts_.push_back(attempt);
  if (!hedge) ++tries_;
  ++request_.record.attempts;
  auto self = shared_from_this();
  attempt->call = client_.request(onward(*target_, attempt->lease->replica()),
                                  {.on_head =
                                       [self, attempt](int status, const net::Headers& headers) {
                                         if (!attempt->over)
                                           self->on_head(attempt, status, headers);
                                       },
                                   .on_data =
                                       [self, attempt](std::string_view bytes) {
                                         if (!attempt->over) self->on_data(attempt, bytes);
                                       },
                                   .on_end =
                                       [self, attempt](Outcome outcome) {
                                         if (!attempt->over) self->on_end(attempt, outcome);
                                       }});
  return true;
}

// A copy that nobody waits for. Sent before the request itself, whose end may follow at once.
void Relay::mirror() {
  Route& route = *request_.route;
  if (!route.takes_mirror()) return;
  const plan::Mirror& settings = *this->settings().mirror;
  auto lease = route.mirror()->choose({.model = request_.fields.model.value_or("")});
  if (!lease || route.memory()->mirrors >= settings.max_in_flight) {
    return host_.metrics.mirror(this->settings().name, "dropped");
  }
  net::ClientRequest copy = onward(*route.mirror(), lease->replica());
  copy.timeout = settings.timeout;
  mirror_ = std::make_shared<MirrorComparison>(host_.metrics, this->settings().name);
  send_copy(host_.metrics, route, *route.mirror(), std::move(*lease), client_, std::move(copy),
            mirror_);
}

net::ClientRequest Relay::onward(const Target& target, const ReplicaInfo& replica) const {
  const auto upstream = target.upstream().settings();
  const plan::Timeouts& timeouts = settings().timeouts;
  net::ClientRequest out;
  out.method = request_.http.method;
  out.url = replica.url + upstream->path_prefix + request_.http.target;
  out.headers = onward_headers(request_.http, *upstream, request_.record.id, request_.traceparent);
  out.host = upstream->host;
  out.connect_timeout = timeouts.connect;
  out.first_byte_timeout = timeouts.first_byte;
  out.read_timeout = timeouts.idle;
  out.body = replica.model.empty() || !request_.fields.model
                 ? request_.http.body
                 : with_model(request_.http.body, request_.fields, replica.model);
  return out;
}

// --- What upstreams say -------------------------------------------------------------------------

void Relay::on_head(const AttemptPtr& attempt, int status, const net::Headers& headers) {
  attempt->status = status;
  attempt->headers = headers;
  // Errors are collected, to be decided upon; so are short answers, which may still break.
  attempt->collects = status >= 400 || (!is_event_stream(headers) && is_short(headers));
}

void Relay::on_data(const AttemptPtr& attempt, std::string_view bytes) {
  if (!attempt->first_byte) {
    attempt->first_byte = true;
    if (attempt->status < 400) attempt->lease->report_first_token(now() - attempt->began);
  }
  if (attempt->collects) {
    const size_t most = attempt->status >= 400 ? kKeptErrorBytes : kCollectedBytes;
    attempt->body.append(bytes.substr(0, most - std::min(most, attempt->body.size())));
    return;
  }
  if (!winner_) commit(attempt);
  request_.record.bytes_out += bytes.size();
  if (request_.grant) keep_tail(tail_, bytes);
  if (mirror_) mirror_->primary.digest.feed(bytes);
  const size_t tail = std::min<size_t>(2, bytes.size());
  ends_event_ = bytes.substr(bytes.size() - tail) == "\n\n";
  // False: the client left, or is cut for reading too slowly; on_client_gone() follows.
  static_cast<void>(request_.responder->write(bytes));
}

// From here on the answer is this attempt's.
void Relay::commit(const AttemptPtr& attempt) {
  winner_ = attempt;
  for (const AttemptPtr& other : std::vector(attempts_)) {
    if (other != attempt) drop(other);
  }
  hedge_.clear();
  if (request_.record.hedged) host_.metrics.hedge(settings().name, attempt->hedge ? "won" : "lost");
  RequestRecord& record = request_.record;
  record.first_byte = now() - record.began;
  record.status = attempt->status;
  record.upstream = attempt->target->upstream().name();
  record.replica = attempt->lease->replica().name;
  if (attempt->status < 400) {
    request_.route->memory()->first_bytes.add(to_seconds(now() - attempt->began));
  }
  if (attempt->collects) return;
  record.stream = true;
  net::Headers headers = answer_headers(attempt->headers, record.id);
  take_headers(headers, std::move(request_.limit_headers));
  request_.responder->start(attempt->status, std::move(headers));
  request_.http.body = {};  // it will not be sent again
}

void Relay::on_end(const AttemptPtr& attempt, const Outcome& outcome) {
  if (winner_ == attempt) return stream_over(outcome);
  if (!outcome) {
    const ErrorClass error = error_of_failure(outcome.error());
    // A kept connection that had been closed says nothing of the replica.
    const bool stale = outcome.error().reason() == net::kStaleConnection;
    return failed(attempt, {.error = error, .message = outcome.error().message()},
                  stale ? UseResult::kAnswered : use_result(error));
  }
  const auto error = error_of_status(attempt->status, attempt->body);
  if (!error || attempt->status > 599) {
    if (attempt->status <= 599) return answer_whole(attempt);
  }
  const ErrorClass known = error.value_or(ErrorClass::kServerError);
  if (const auto pause = retry_after(attempt->headers);
      pause && (known == ErrorClass::kOverloaded || known == ErrorClass::kRateLimited)) {
    attempt->target->pause(attempt->lease->replica().name, now() + *pause);
  }
  failed(attempt,
         {.error = known,
          .status = attempt->status,
          .headers = std::move(attempt->headers),
          .body = std::move(attempt->body),
          .message = fmt::format("the upstream answered {}", attempt->status)},
         use_result(known));
}

void Relay::answer_whole(const AttemptPtr& attempt) {
  commit(attempt);
  // An answer without a body never had a first byte.
  if (!attempt->collects) return stream_over({});
  RequestRecord& record = request_.record;
  record.bytes_out = attempt->body.size();
  if (mirror_) mirror_->primary.digest.feed(attempt->body);
  net::HttpResponse response{.status = attempt->status,
                             .headers = answer_headers(attempt->headers, record.id),
                             .body = std::move(attempt->body)};
  if (request_.grant) keep_tail(tail_, response.body);
  take_headers(response.headers, std::move(request_.limit_headers));
  host_.metrics.attempt(record.upstream, "ok");
  request_.responder->send(std::move(response));
  over();
}

void Relay::stream_over(const Outcome& outcome) {
  RequestRecord& record = request_.record;
  if (outcome) {
    host_.metrics.attempt(record.upstream, "ok");
    request_.responder->finish();
    return over();
  }
  const ErrorClass error = error_of_failure(outcome.error());
  winner_->lease->report(error == ErrorClass::kTimeout ? UseResult::kHung : UseResult::kFailed);
  host_.metrics.attempt(record.upstream, plan::error_class_name(error));
  record.ending = Ending::kCut;
  record.error = plan::error_class_name(error);
  if (is_event_stream(winner_->headers)) {
    std::string event = ends_event_ ? "" : "\n\n";
    event += error_event("the upstream was lost before the answer was complete");
    request_.responder->write(event);
    request_.responder->finish();
  }
  // Otherwise dropping the Responder cuts the connection, so that nobody takes it for whole.
  over();
}

void Relay::drop(const AttemptPtr& attempt) {
  attempt->over = true;
  attempt->call.cancel();
  attempt->lease.reset();
  std::erase(attempts_, attempt);
}

// --- What to do about failures ------------------------------------------------------------------

void Relay::failed(const AttemptPtr& attempt, Failure failure, UseResult result) {
  host_.metrics.attempt(attempt->target->upstream().name(), plan::error_class_name(failure.error));
  request_.record.upstream = attempt->target->upstream().name();
  request_.record.replica = attempt->lease->replica().name;
  attempt->lease->report(result);
  drop(attempt);
  failure_ = std::move(failure);
  // A hedge under way may still win.
  if (attempts_.empty()) decide();
}

bool Relay::may_retry(Duration& wait) {
  const plan::Retry& retry = settings().retry;
  if (target_ == nullptr || tries_ == 0 || tries_ > retry.attempts) return false;
  if (!retry.on.has(failure_->error)) return false;
  wait = Duration::zero();
  if (failure_->error != ErrorClass::kConnect) {
    thread_local Rng jitter(random_seed());
    Duration backoff = retry.backoff;
    for (int i = 1; i < tries_ && backoff < retry.max_backoff; ++i) backoff *= 2;
    backoff = std::min(backoff, retry.max_backoff);
    wait = Duration(static_cast<Duration::rep>(static_cast<double>(backoff.count()) *
                                               (0.8 + 0.4 * jitter.uniform())));
  }
  if (!target_->usable()) {
    const Duration closed = target_->unusable_for();
    if (closed <= Duration::zero() || closed > retry.max_retry_after) return false;
    wait = std::max(wait, closed);
  }
  return request_.route->retries().take(now());
}

bool Relay::next_fallback() {
  const auto& fallbacks = settings().fallbacks;
  while (next_fallback_ < fallbacks.size()) {
    const size_t i = next_fallback_++;
    if (!fallbacks[i].on.has(failure_->error)) continue;
    target_ = &request_.route->fallback(i);
    tries_ = 0;
    excluded_.clear();
    prefix_.clear();
    request_.record.fallback = true;
    host_.metrics.fallback(settings().name, target_->upstream().name());
    return true;
  }
  return false;
}

// Nothing is under way and nothing was answered: again, elsewhere, or no more. Never at once: the
// end of an attempt may be told from inside the call that began it.
void Relay::decide() {
  hedge_.clear();
  Duration wait{};
  if (may_retry(wait)) {
    host_.metrics.retry(settings().name, plan::error_class_name(failure_->error));
    wait_.set(now() + wait);
    return;
  }
  if (next_fallback()) {
    wait_.set(now());
    return;
  }
  give_up();
}

void Relay::give_up() {
  Failure failure = *std::move(failure_);
  RequestRecord& record = request_.record;
  record.error = plan::error_class_name(failure.error);
  if (failure.error == ErrorClass::kAuth) {
    return refuse({Code::kUnavailable, "the upstream refused the gateway's own credentials"});
  }
  if (failure.status >= 400 && failure.status <= 599) {
    record.status = failure.status;
    record.bytes_out = failure.body.size();
    request_.responder->send({.status = failure.status,
                              .headers = answer_headers(failure.headers, record.id),
                              .body = std::move(failure.body)});
    return over();
  }
  if (failure.error == ErrorClass::kTimeout) {
    return refuse(
        {Code::kDeadlineExceeded, "no upstream answered in time", {}, "upstream_timeout"});
  }
  refuse({Code::kUnavailable, std::move(failure.message), {}, "upstream_unavailable"});
}

// An answer of the gateway's own.
void Relay::refuse(const Status& status) {
  RequestRecord& record = request_.record;
  net::HttpResponse response = endpoint::error_response(status);
  if (response.status == 503) {
    const Duration wait = request_.route->unusable_for();
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    std::erase_if(response.headers,
                  [](const auto& header) { return header.first == "Retry-After"; });
    response.headers.emplace_back("Retry-After",
                                  std::to_string(std::clamp<int64_t>(seconds, 1, 60)));
  }
  response.headers.emplace_back("X-Request-Id", record.id);
  record.status = response.status;
  record.ending = Ending::kRefused;
  if (record.error.empty()) record.error = status.reason();
  record.bytes_out = response.body.size();
  request_.responder->send(std::move(response));
  over();
}

// --- Time, and the client -----------------------------------------------------------------------

void Relay::arm_hedge() {
  const plan::Hedge& hedge = settings().hedge;
  if (!hedge.enabled || tries_ != 1 || request_.record.hedged || attempts_.empty()) return;
  Duration after = hedge.after;
  if (after == Duration::zero()) {
    const auto usual = request_.route->memory()->first_bytes.get(hedge.quantile);
    if (!usual) return;
    after = Duration(static_cast<Duration::rep>(*usual * 1e9));
  }
  hedge_.set(now() + after);
}

void Relay::on_hedge_time() {
  if (over_ || winner_ || attempts_.size() != 1) return;
  if (!request_.route->hedges().take(now())) {
    return host_.metrics.hedge(settings().name, "no_budget");
  }
  request_.record.hedged = launch(true);
}

void Relay::on_deadline() {
  if (over_) return;
  if (winner_) {
    const AttemptPtr winner = winner_;
    winner->over = true;
    winner->call.cancel();
    return stream_over(fail(Code::kDeadlineExceeded, "the request's time is over"));
  }
  for (const AttemptPtr& attempt : std::vector(attempts_)) {
    attempt->lease->report(UseResult::kHung);
    drop(attempt);
  }
  refuse({Code::kDeadlineExceeded, "the request's time is over", {}, "deadline"});
}

void Relay::on_client_gone() {
  if (over_) return;
  request_.record.ending = Ending::kClientGone;
  over();
}

// Errors and refusals cost nothing. An answer that does not say what it used, or was not heard to
// its end, has used all that was reserved.
void Relay::settle() {
  if (!request_.grant) return;
  const RequestRecord& record = request_.record;
  const bool answered = record.status >= 200 && record.status < 400;
  if (!answered && record.ending != Ending::kClientGone) {
    request_.grant->settle({}, record.upstream);
  } else if (const auto used = find_usage(tail_)) {
    request_.grant->settle(*used, record.upstream);
  } else {
    request_.grant->settle(request_.grant->most(), record.upstream);
  }
}

void Relay::over() {
  if (std::exchange(over_, true)) return;
  settle();
  const std::shared_ptr<Relay> kept = std::move(self_);
  deadline_.disarm();
  wait_.disarm();
  hedge_.disarm();
  if (ticket_ != 0) request_.route->memory()->admission->withdraw(ticket_);
  for (const AttemptPtr& attempt : std::vector(attempts_)) {
    // Those that ended already are not harmed by it.
    attempt->call.cancel();
    attempt->over = true;
    attempt->lease.reset();
  }
  attempts_.clear();
  winner_.reset();
  permit_ = {};
  request_.responder.reset();
  request_.http.body = {};
  if (mirror_ && request_.record.ending != Ending::kClientGone) {
    mirror_->primary.status = request_.record.status;
    mirror_->compare();
  }
  host_.on_over(request_.record);
}

}  // namespace sluice::gateway
