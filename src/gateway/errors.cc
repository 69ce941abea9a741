#include "gateway/errors.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "net/client.h"

namespace sluice::gateway {

using plan::ErrorClass;

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
  if (failure.reason() == net::kNotConnected || failure.reason() == net::kStaleConnection) {
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

std::optional<Duration> retry_after(const net::Headers& headers) {
  const std::string_view text = net::find_header(headers, "retry-after");
  int64_t seconds = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || at != text.data() + text.size() || seconds < 0) return std::nullopt;
  return std::chrono::seconds(std::min<int64_t>(seconds, 3600));
}

}  // namespace sluice::gateway
