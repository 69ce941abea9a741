#include "gateway/held_responder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "gateway/errors.h"
#include "gateway/forward.h"
#include "net/sse.h"

namespace sluice::gateway {
namespace {

constexpr size_t kMaxShownBytes = 1024;

Code code_of(int status) {
  switch (status) {
    case 400:
      return Code::kInvalidArgument;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 413:
      return Code::kTooLarge;
    case 429:
      return Code::kResourceExhausted;
    case 504:
      return Code::kDeadlineExceeded;
    default:
      return status == 500 ? Code::kInternal : Code::kUnavailable;
  }
}

// What an error answer says: {"error": {"message": …, "code": …}} or {"error": "…"}, else its
// beginning.
Status status_of(const net::HttpResponse& response) {
  const Code code = code_of(response.status);
  const auto value = parse_json(response.body);
  if (!value) return {code, fmt::format("the server answered {}", response.status)};
  const json::object* body = value->if_object();
  const json::value* error = body == nullptr ? nullptr : body->if_contains("error");
  std::string reason;
  if (error != nullptr && error->is_object()) {
    const json::object& fields = error->get_object();
    const json::value* word = fields.if_contains("code");
    if (word != nullptr && word->is_string()) reason = std::string_view(word->get_string());
    error = fields.if_contains("message");
  }
  if (error == nullptr || !error->is_string())
    return {code, response.body.substr(0, kMaxShownBytes)};
  return {code, std::string(std::string_view(error->get_string())), {}, std::move(reason)};
}

}  // namespace

bool HeldResponder::fits(const net::HttpRequest& request, const BodyFields& fields) {
  const auto is = [&](std::string_view end) { return request.path.ends_with(end); };
  if (is("/generate_stream")) return true;
  return fields.stream && (is("/completions") || is("/messages") || is("/responses"));
}

void HeldResponder::comment() {
  if (!begun_.exchange(true)) {
    inner_->start(200, {{"Content-Type", "text/event-stream"},
                        {"Cache-Control", "no-cache"},
                        {"X-Request-Id", id_}});
  }
  inner_->write(net::sse_comment("waiting for a server"));
}

void HeldResponder::send(net::HttpResponse response) {
  if (!begun_) return inner_->send(std::move(response));
  if (response.status < 400) {
    inner_->write(net::sse_event(response.body));
    return inner_->finish();
  }
  inner_->write(error_event(path_, status_of(response)));
  inner_->finish_with_error();
}

void HeldResponder::start(int status, net::Headers headers) {
  if (!begun_) return inner_->start(status, std::move(headers));
  if (status < 400 && is_event_stream(headers)) return;
  broken_ = true;
  inner_->write(error_event(
      path_, Status(Code::kUnavailable, "the server did not answer with an event stream")));
  inner_->finish_with_error();
}

bool HeldResponder::write(std::string_view bytes) { return !broken_ && inner_->write(bytes); }

void HeldResponder::finish() {
  if (!broken_) inner_->finish();
}

void HeldResponder::finish_with_error() {
  if (!broken_) inner_->finish_with_error();
}

}  // namespace sluice::gateway
