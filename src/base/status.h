// Status: why something failed, and Result<T>: a value or that reason.
//
// An expected failure (bad input, a missing file, a full queue) is a Result; a bug is SLUICE_CHECK.
// Codes are gRPC's canonical ones; http_status() is the one table that maps them to HTTP.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace sluice {

enum class Code {
  kCancelled,
  kInvalidArgument,
  kDeadlineExceeded,
  kNotFound,
  kAlreadyExists,
  kPermissionDenied,
  kUnauthenticated,
  kResourceExhausted,  // a queue, quota or budget is full: try again later
  kTooLarge,           // the request itself is over a limit: do not try again
  kFailedPrecondition,
  kUnimplemented,
  kInternal,
  kUnavailable,
  kDataLoss,
};

std::string_view code_name(Code code);
int http_status(Code code);

// `message` says what was expected, what was found and what to do. `param` names the request field
// or flag at fault, `reason` is a short machine-readable word (both may be empty).
class [[nodiscard]] Status {
 public:
  Status(Code code, std::string message, std::string param = {}, std::string reason = {})
      : code_(code),
        message_(std::move(message)),
        param_(std::move(param)),
        reason_(std::move(reason)) {}

  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& param() const { return param_; }
  const std::string& reason() const { return reason_; }

  // The same failure with where it happened put in front: "prefix: message".
  Status at(std::string_view prefix) const;

 private:
  Code code_;
  std::string message_;
  std::string param_;
  std::string reason_;
};

template <typename T>
using Result = std::expected<T, Status>;

// The result of something that yields nothing: `return {};` is success.
using Outcome = Result<void>;

inline std::unexpected<Status> fail(Code code, std::string message, std::string param = {},
                                    std::string reason = {}) {
  return std::unexpected(Status(code, std::move(message), std::move(param), std::move(reason)));
}

inline std::unexpected<Status> invalid(std::string message, std::string param = {}) {
  return fail(Code::kInvalidArgument, std::move(message), std::move(param));
}

}  // namespace sluice

// Evaluates a Result or Outcome; on failure returns its Status from the enclosing function.
#define SLUICE_RETURN_IF_ERROR(expr)                             \
  do {                                                           \
    if (auto sluice_result_ = (expr); !sluice_result_) {         \
      return std::unexpected(std::move(sluice_result_).error()); \
    }                                                            \
  } while (false)

#define SLUICE_CONCAT_INNER_(a, b) a##b
#define SLUICE_CONCAT_(a, b) SLUICE_CONCAT_INNER_(a, b)

// SLUICE_ASSIGN_OR_RETURN(auto x, f()): x is f()'s value, or f()'s Status is returned.
#define SLUICE_ASSIGN_OR_RETURN(target, expr) \
  SLUICE_ASSIGN_OR_RETURN_IMPL_(SLUICE_CONCAT_(sluice_result_, __LINE__), target, expr)
#define SLUICE_ASSIGN_OR_RETURN_IMPL_(result, target, expr)       \
  auto result = (expr);                                           \
  if (!result) return std::unexpected(std::move(result).error()); \
  target = *std::move(result)
