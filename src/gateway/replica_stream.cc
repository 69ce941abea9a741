#include "gateway/replica_stream.h"

#include <fmt/format.h>

#include <utility>

#include "api/internal_request.h"
#include "base/json.h"
#include "gateway/errors.h"

namespace sluice::gateway {
namespace {

constexpr size_t kMaxRefusalBytes = 64u << 10;
constexpr int kOk = 200;

std::string text_of(const json::object& error, std::string_view name) {
  const json::value* value = error.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

Code code_of(int http) {
  switch (http) {
    case 400:
    case 422:
      return Code::kInvalidArgument;
    case 413:
      return Code::kTooLarge;
    case 429:
      return Code::kResourceExhausted;
    case 503:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

}  // namespace

Status read_refusal(int http_status, std::string_view body) {
  std::string message;
  std::string param;
  std::string reason;
  if (const auto parsed = parse_json(body); parsed && parsed->is_object()) {
    const json::value* error = parsed->get_object().if_contains("error");
    if (error != nullptr && error->is_object()) {
      message = text_of(error->get_object(), "message");
      param = text_of(error->get_object(), "param");
      reason = text_of(error->get_object(), "code");
    }
  }
  if (http_status == 401 || http_status == 404) {
    message = "the replica does not take the gateway's internal token, or is no Sluice server";
  }
  if (message.empty()) message = fmt::format("the replica answered with status {}", http_status);
  return {code_of(http_status), std::move(message), std::move(param), std::move(reason)};
}

void ReplicaStream::open(net::HttpClient& client, const ReplicaInfo& replica, std::string body,
                         const std::string& traceparent, Duration patience) {
  const auto self = shared_from_this();
  net::ClientRequest request{.method = "POST",
                             .url = replica.url + "/internal/v1/generate",
                             .headers = {{"Authorization", "Bearer " + replica.internal_token},
                                         {"Content-Type", std::string(api::kInternalContentType)}},
                             .body = std::move(body)};
  if (!traceparent.empty()) request.headers.emplace_back("traceparent", traceparent);
  request.connect_timeout = patience;
  request.tls = replica.tls;
  request.tls_name = replica.tls_name;
  net::ClientCall call =
      client.request(std::move(request),
                     {.on_head = [self](int status, const net::Headers&) { self->on_head(status); },
                      .on_data = [self](std::string_view bytes) { self->on_data(bytes); },
                      .on_end = [self](const Outcome& outcome) { self->on_end(outcome); }});
  {
    const std::lock_guard lock(mutex_);
    call_ = call;
  }
  if (closed_) call.cancel();
}

void ReplicaStream::close() {
  closed_ = true;
  net::ClientCall call;
  {
    const std::lock_guard lock(mutex_);
    call = std::exchange(call_, {});
  }
  call.cancel();
}

void ReplicaStream::on_head(int status) { status_ = status; }

void ReplicaStream::on_data(std::string_view bytes) {
  if (closed_) return;
  if (status_ != kOk) {
    refusal_ += bytes.substr(0, kMaxRefusalBytes - std::min(kMaxRefusalBytes, refusal_.size()));
    return;
  }
  if (const auto listener = listener_.lock()) listener->on_bytes(attempt_, bytes, reader_);
}

void ReplicaStream::on_end(const Outcome& outcome) {
  const auto listener = listener_.lock();
  if (closed_ || !listener) return;
  if (outcome && status_ != kOk) {
    const Status why = read_refusal(status_, refusal_);
    const bool busy = why.code() == Code::kResourceExhausted || why.code() == Code::kUnavailable;
    return listener->on_end(attempt_, busy ? Loss::kRefused : Loss::kFailed, why);
  }
  if (outcome) {
    return listener->on_end(attempt_, Loss::kCut,
                            {Code::kUnavailable, "the replica ended its answer in the middle"});
  }
  const Status& error = outcome.error();
  Loss loss = Loss::kCut;
  if (error.reason() == net::kNotConnected) loss = Loss::kNotReached;
  if (use_result(error) == UseResult::kUntold) loss = Loss::kNotSent;
  listener->on_end(attempt_, loss, {Code::kUnavailable, error.message()});
}

}  // namespace sluice::gateway
