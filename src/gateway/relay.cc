#include "gateway/relay.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "gateway/errors.h"
#include "gateway/forward.h"
#include "gateway/sticky_key.h"
#include "gateway/text_prefix.h"

namespace sluice::gateway {
namespace {

using plan::ErrorClass;

// A whole answer of at most so many bytes is sent in one piece, and may be retried until then.
constexpr uint64_t kCollectedBytes = 256u << 10;
constexpr size_t kKeptErrorBytes = 64u << 10;

bool is_short(const net::Headers& headers) {
  const std::string_view text = net::find_header(headers, "content-length");
  uint64_t length = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc() && at == text.data() + text.size() && length <= kCollectedBytes;
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
  const Admission::Asker asker = asker_of(request_.caller);
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
  if (ticket_ != 0) request_.record.waited += now() - asked_at_;
  ticket_ = 0;
  choose_branch();
}

void Relay::on_wait_over() {
  if (ticket_ == 0) return try_next();
  if (!request_.route->memory()->admission->withdraw(std::exchange(ticket_, 0))) return;
  request_.record.waited += now() - asked_at_;
  refuse({Code::kResourceExhausted,
          "waited too long for a place; try again later",
          {},
          "queue_timeout"});
}

// --- Choosing -----------------------------------------------------------------------------------

void Relay::choose_branch() {
  Route& route = *request_.route;
  route.retries().on_request();
  route.hedges().on_request();
  sticky_ = sticky_key(settings().sticky, request_.http.headers, request_.fields, request_.caller);
  if (settings().policy == plan::Policy::kPrefixAffinity) {
    prefix_ =
        text_prefix(request_.fields.prompt.of(request_.http.body), settings().prefix.block_tokens,
                    request_.caller.tenant_name(), request_.fields.model.value_or(""));
  }
  target_ = request_.branch;
  if (target_ == nullptr) {
    target_ = route.split(
        sticky_, [this](std::string_view name) { return header_of(request_.http.headers, name); });
  }
  if (target_ == nullptr) {
    failure_ = Failure{.message = "no replica can take requests now"};
    return decide();
  }
  visit_branch();
  if (!waits_for_message(route.mirror(), &Relay::begin_branch)) begin_branch();
}

void Relay::begin_branch() {
  if (waits_for_message(target_, &Relay::begin_branch)) return;
  mirror();
  try_next();
}

// Whether `target` is to be asked for a message and the chat has not been made into one: what holds
// whole conversations and images is read on a worker. Goes on with `then`.
bool Relay::waits_for_message(const Target* target, void (Relay::*then)()) {
  if (target == nullptr || message_ || !OnwardCall::is_chat(request_.http.path)) return false;
  if (target->upstream().settings()->protocol != plan::Protocol::kAnthropic) return false;
  const Outcome begun = host_.workers.submit(
      [self = shared_from_this(), &loop = loop_, body = request_.http.body, then]() mutable {
        auto made = std::make_shared<Result<api::MessageRequest>>(api::chat_as_message(body));
        loop.post([self = std::move(self), made = std::move(made), then] {
          if (self->over_) return;
          self->message_ = std::move(*made);
          (*self.*then)();
        });
      });
  if (!begun) message_ = std::unexpected(begun.error());
  return begun.has_value();
}

void Relay::try_next() {
  if (over_ || waits_for_message(target_, &Relay::try_next)) return;
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
  const ReplicaInfo& replica = attempt->lease->replica();
  attempt->span = AttemptSpan::begin(host_.tracer, request_.record, reason(hedge), replica);
  const std::string traceparent =
      attempt->span ? attempt->span->traceparent() : request_.traceparent;
  auto call = onward(*target_, replica, traceparent);
  if (!call) {
    // Where others were asked before, what they said counts.
    end(*attempt);
    if (!hedge && !failure_) refuse(call.error());
    return false;
  }
  excluded_.push_back(replica.name);
  if (tries_ == 0 && !request_.fields.stream) request_.visit.tells_no_first_token(attempt->began);
  attempts_.push_back(attempt);
  if (!hedge) ++tries_;
  ++request_.record.attempts;
  auto self = shared_from_this();
  attempt->call =
      std::move(*call).send(client_, {.on_head =
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
  auto copy = onward(*route.mirror(), lease->replica(), request_.traceparent);
  if (!copy) {
    lease->report(UseResult::kUntold);
    return host_.metrics.mirror(this->settings().name, "dropped");
  }
  copy->set_timeout(settings.timeout);
  mirror_ = std::make_shared<MirrorComparison>(host_.metrics, this->settings().name);
  send_copy(host_.metrics, route, *route.mirror(), std::move(*lease), client_, *std::move(copy),
            mirror_);
}

std::string_view Relay::reason(bool hedge) const {
  if (hedge) return "hedge";
  if (tries_ > 0) return "retry";
  return request_.record.fallback ? "fallback" : "first";
}

Result<OnwardCall> Relay::onward(const Target& target, const ReplicaInfo& replica,
                                 const std::string& traceparent) const {
  const auto upstream = target.upstream().settings();
  const plan::Timeouts& timeouts = settings().timeouts;
  net::ClientRequest out;
  out.method = request_.http.method;
  out.url = replica.url + upstream->path_prefix + request_.http.target;
  out.headers = onward_headers(request_.http, *upstream, request_.record.id, traceparent);
  out.host = upstream->host;
  out.tls = replica.tls;
  out.tls_name = replica.tls_name;
  out.connect_timeout = timeouts.connect;
  out.first_byte_timeout = timeouts.first_byte;
  out.read_timeout = timeouts.idle;
  const bool speaks_messages = upstream->protocol == plan::Protocol::kAnthropic;
  if (speaks_messages && OnwardCall::is_chat(request_.http.path)) {
    if (!message_) return fail(Code::kUnavailable, "the server's protocol has just been changed");
    const Result<api::MessageRequest>& message = *message_;
    if (!message) return std::unexpected(message.error());
    return OnwardCall::chat_to_messages(std::move(out), *message,
                                        replica.model.empty() ? message->model : replica.model,
                                        replica.url + upstream->path_prefix, host_.clock);
  }
  out.body = replica.model.empty() || !request_.fields.model
                 ? request_.http.body
                 : with_model(request_.http.body, request_.fields, replica.model);
  if (speaks_messages) return OnwardCall::to_messages(std::move(out), request_.http.path);
  return OnwardCall(std::move(out));
}

// --- What upstreams say -------------------------------------------------------------------------

void Relay::on_head(const AttemptPtr& attempt, int status, const net::Headers& headers) {
  attempt->status = status;
  attempt->headers = headers;
  if (attempt->span) attempt->span->answered(status);
  // Errors are collected, to be decided upon; so are short answers, which may still break.
  attempt->collects = status >= 400 || (!is_event_stream(headers) && is_short(headers));
}

void Relay::on_data(const AttemptPtr& attempt, std::string_view bytes) {
  if (!attempt->first_byte) {
    attempt->first_byte = true;
    if (attempt->span) attempt->span->first_token(now() - attempt->began);
    if (attempt->status < 400) attempt->lease->report_first_token(now() - attempt->began);
  }
  if (attempt->collects) {
    const size_t most = attempt->status >= 400 ? kKeptErrorBytes : kCollectedBytes;
    attempt->body.append(bytes.substr(0, most - std::min(most, attempt->body.size())));
    return;
  }
  if (!winner_) commit(attempt);
  request_.record.bytes_out += bytes.size();
  if (keeps_tail()) keep_tail(tail_, bytes);
  if (mirror_) mirror_->primary.digest.feed(bytes);
  if (sends_too_much(bytes)) return;
  const size_t tail = std::min<size_t>(2, bytes.size());
  ends_event_ = bytes.substr(bytes.size() - tail) == "\n\n";
  // False: the client left, or is cut for reading too slowly; on_client_gone() follows.
  static_cast<void>(request_.responder->write(bytes));
}

// Whoever pays for tokens has reserved those that max_tokens allows. A server that goes on past it
// is told from one that does not by its events, each of which holds a part of a token at least.
bool Relay::sends_too_much(std::string_view bytes) {
  const bool limited =
      request_.grant && request_.fields.max_tokens && Quota::counts_tokens(request_.caller);
  if (!(limited || host_.tells_load) || !is_event_stream(winner_->headers)) return false;
  events_.feed(bytes);
  if (!limited) return false;
  // Beginnings, ends, usage and pings hold none.
  const int64_t most = request_.grant->most().completion + 16 + 8 * request_.fields.choices;
  if (events_.events() <= most) return false;
  winner_->lease->report(UseResult::kFailed);
  host_.metrics.attempt(request_.record.upstream, "too_long");
  cut({Code::kUnavailable,
       fmt::format("the server went on past max_tokens ({})", *request_.fields.max_tokens),
       {},
       "max_tokens_passed"},
      "max_tokens_passed");
  return true;
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
  if (attempt->status < 400) request_.visit.first_token(now());
  net::Headers headers = answer_headers(attempt->headers, record.id);
  take_headers(headers, std::move(request_.limit_headers));
  request_.responder->start(attempt->status, std::move(headers));
  request_.http.body = {};  // it will not be sent again
}

void Relay::on_end(const AttemptPtr& attempt, const Outcome& outcome) {
  if (winner_ == attempt) return stream_over(outcome);
  if (!outcome) {
    const ErrorClass error = error_of_failure(outcome.error());
    return failed(attempt, {.error = error, .message = outcome.error().message()},
                  use_result(outcome.error()));
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
  attempt->reported = true;
  // An answer without a body never had a first byte.
  if (!attempt->collects) return stream_over({});
  RequestRecord& record = request_.record;
  record.bytes_out = attempt->body.size();
  if (mirror_) mirror_->primary.digest.feed(attempt->body);
  net::HttpResponse response{.status = attempt->status,
                             .headers = answer_headers(attempt->headers, record.id),
                             .body = std::move(attempt->body)};
  if (keeps_tail()) keep_tail(tail_, response.body);
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
  winner_->lease->report(use_result(outcome.error()));
  host_.metrics.attempt(record.upstream, plan::error_class_name(error));
  cut({Code::kUnavailable,
       "the upstream was lost before the answer was complete",
       {},
       "upstream_lost"},
      plan::error_class_name(error));
}

// What the client got so far is all that it gets. `why` stands in the access log.
void Relay::cut(const Status& status, std::string_view why) {
  request_.record.ending = Ending::kCut;
  request_.record.error = why;
  winner_->error = why;
  if (is_event_stream(winner_->headers)) {
    std::string event = ends_event_ ? "" : "\n\n";
    event += error_event(request_.http.path, status);
    request_.responder->write(event);
    request_.responder->finish_with_error();
  }
  // Otherwise dropping the Responder cuts the connection, so that nobody takes it for whole.
  over();
}

void Relay::drop(const AttemptPtr& attempt) {
  end(*attempt);
  std::erase(attempts_, attempt);
}

// Whoever had said nothing yet was not let.
void Relay::end(Attempt& attempt) {
  if (std::exchange(attempt.over, true)) return;
  attempt.call.cancel();
  if (attempt.lease && !attempt.first_byte && !attempt.reported) {
    attempt.lease->report(UseResult::kUntold);
  }
  attempt.lease.reset();
  if (!attempt.span) return;
  // Beside one that answered first, or for a client that left, it was given up.
  const bool given_up = !attempt.first_byte && !attempt.reported && attempt.error.empty();
  attempt.span->end(given_up ? std::string_view("cancelled") : std::string_view(attempt.error));
}

}  // namespace sluice::gateway
