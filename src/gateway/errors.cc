#include "gateway/errors.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "endpoint/error_shape.h"
#include "net/client.h"
#include "net/sse.h"

namespace sluice::gateway {

using plan::ErrorClass;

namespace {

bool is_own(std::string_view reason) {
  return reason == net::kNotSent || reason == net::kNotResolved;
}

}  // namespace

std::optional<ErrorClass> error_of_status(int status, std::string_view body) {
  switch (status) {
    case 401:
    case 403:
      return ErrorClass::kAuth;
    case 404:
      return ErrorClass::kNotFound;
    case 413:
      return ErrorClass::kContext;
    case 429:
      return ErrorClass::kRateLimited;
    case 503:
      return ErrorClass::kOverloaded;
    default:
      break;
  }
  if (status == 400 && body.contains("context_length_exceeded")) return ErrorClass::kContext;
  if (status >= 500 || status < 200) return ErrorClass::kServerError;
  return std::nullopt;
}

ErrorClass error_of_failure(const Status& failure) {
  const std::string_view reason = failure.reason();
  if (reason == net::kNotConnected || reason == net::kStaleConnection || is_own(reason)) {
    return ErrorClass::kConnect;
  }
  if (failure.code() == Code::kDeadlineExceeded) return ErrorClass::kTimeout;
  return ErrorClass::kServerError;
}

UseResult use_result(ErrorClass error) {
  switch (error) {
    case ErrorClass::kConnect:
      return UseResult::kNotReached;
    case ErrorClass::kTimeout:
      return UseResult::kHung;
    case ErrorClass::kOverloaded:
    case ErrorClass::kRateLimited:
      return UseResult::kRefused;
    case ErrorClass::kServerError:
      return UseResult::kFailed;
    case ErrorClass::kContext:
    case ErrorClass::kAuth:
    case ErrorClass::kNotFound:
      break;
  }
  return UseResult::kAnswered;
}

UseResult use_result(const Status& failure) {
  // A kept connection that had been closed says nothing of the replica either.
  if (is_own(failure.reason()) || failure.reason() == net::kStaleConnection) {
    return UseResult::kUntold;
  }
  return use_result(error_of_failure(failure));
}

std::string error_event(std::string_view path, const Status& status) {
  const net::HttpResponse shaped = endpoint::shaped_error(path, status);
  // Anthropic's answers alone have this field, and its streams alone name their events.
  const bool named = !net::find_header(shaped.headers, "request-id").empty();
  return net::sse_event(shaped.body, named ? "error" : "");
}

std::optional<Duration> retry_after(const net::Headers& headers) {
  const std::string_view text = net::find_header(headers, "retry-after");
  int64_t seconds = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || at != text.data() + text.size() || seconds < 0) return std::nullopt;
  return std::chrono::seconds(std::min<int64_t>(seconds, 3600));
}

}  // namespace sluice::gateway
