// ApiError: why a request was refused, as Kubernetes says it: a Status object with an HTTP code, a
// reason word, and for invalid objects one cause per field.
//
// Plain values, no thread of their own.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace sluice::control {

// One field at fault. `reason` is one of Kubernetes' words: FieldValueRequired, FieldValueInvalid,
// FieldValueNotSupported, FieldValueDuplicate, FieldValueForbidden, FieldValueTypeInvalid,
// FieldManagerConflict.
struct Cause {
  std::string reason;
  std::string message;
  std::string field;
};

// "spec.predictor.minReplicas: Invalid value: …": how a cause reads in a message.
std::string cause_text(const Cause& cause);

struct [[nodiscard]] ApiError {
  int code = 500;
  std::string reason = "InternalError";
  std::string message;
  std::string group = {};
  std::string kind = {};
  std::string name = {};
  std::vector<Cause> causes = {};
  int retry_after_seconds = 0;

  ApiError() = default;
  ApiError(int code_in, std::string_view reason_in, std::string message_in)
      : code(code_in), reason(reason_in), message(std::move(message_in)) {}
  // A failure below the API (the store, a file): its code decides.
  ApiError(const Status& status);  // NOLINT(google-explicit-constructor): for RETURN_IF_ERROR

  // {"kind":"Status","status":"Failure",…}
  json::object body() const;
};

template <typename T>
using ApiResult = std::expected<T, ApiError>;
using ApiOutcome = ApiResult<void>;

// The object that an error is about.
struct ObjectName {
  std::string group;
  std::string resource;  // plural; details.kind, as Kubernetes has it
  std::string kind;
  std::string name;
};

std::unexpected<ApiError> bad_request(std::string message);
std::unexpected<ApiError> not_found(const ObjectName& object);
std::unexpected<ApiError> already_exists(const ObjectName& object);
std::unexpected<ApiError> conflict(const ObjectName& object, std::string_view why);
std::unexpected<ApiError> forbidden(const ObjectName& object, std::string_view why);
std::unexpected<ApiError> invalid_object(const ObjectName& object, std::vector<Cause> causes);
// 410: the version asked for is no longer known; list anew.
std::unexpected<ApiError> expired(std::string message);

}  // namespace sluice::control
