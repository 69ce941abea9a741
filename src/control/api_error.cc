#include "control/api_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace sluice::control {
namespace {

constexpr size_t kMaxShownCauses = 16;

std::string qualified(const std::string& word, const std::string& group) {
  return group.empty() ? word : fmt::format("{}.{}", word, group);
}

std::unexpected<ApiError> about(const ObjectName& object, int code, std::string_view reason,
                                std::string message) {
  ApiError error(code, reason, std::move(message));
  error.group = object.group;
  error.kind = object.resource;
  error.name = object.name;
  return std::unexpected(std::move(error));
}

std::string_view reason_of(int code) {
  switch (code) {
    case 400:
      return "BadRequest";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "NotFound";
    case 409:
      return "Conflict";
    case 413:
      return "RequestEntityTooLarge";
    case 429:
      return "TooManyRequests";
    case 503:
      return "ServiceUnavailable";
    case 504:
      return "Timeout";
    default:
      return "InternalError";
  }
}

std::string_view cause_words(const std::string& reason) {
  if (reason == "FieldValueRequired") return "Required value";
  if (reason == "FieldValueDuplicate") return "Duplicate value";
  if (reason == "FieldValueForbidden") return "Forbidden";
  if (reason == "FieldValueNotSupported") return "Unsupported value";
  if (reason == "FieldValueTooLong") return "Too long";
  return "Invalid value";
}

}  // namespace

std::string cause_text(const Cause& cause) {
  return fmt::format("{}: {}: {}", cause.field, cause_words(cause.reason), cause.message);
}

ApiError::ApiError(const Status& status)
    : code(http_status(status.code())), reason(reason_of(code)), message(status.message()) {
  // A full or locked store is no fault of the request.
  if (status.code() == Code::kResourceExhausted) retry_after_seconds = 1;
}

json::object ApiError::body() const {
  json::object details;
  if (!name.empty()) details["name"] = name;
  if (!group.empty()) details["group"] = group;
  if (!kind.empty()) details["kind"] = kind;
  if (!causes.empty()) {
    json::array list;
    for (const Cause& cause : causes) {
      list.push_back(json::object{
          {"reason", cause.reason}, {"message", cause.message}, {"field", cause.field}});
    }
    details["causes"] = std::move(list);
  }
  if (retry_after_seconds > 0) details["retryAfterSeconds"] = retry_after_seconds;
  json::object body{{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", json::object()},
                    {"status", "Failure"}, {"message", message}, {"reason", reason}};
  if (!details.empty()) body["details"] = std::move(details);
  body["code"] = code;
  return body;
}

std::unexpected<ApiError> bad_request(std::string message) {
  return std::unexpected(ApiError(400, "BadRequest", std::move(message)));
}

std::unexpected<ApiError> not_found(const ObjectName& object) {
  return about(
      object, 404, "NotFound",
      fmt::format("{} \"{}\" not found", qualified(object.resource, object.group), object.name));
}

std::unexpected<ApiError> already_exists(const ObjectName& object) {
  return about(object, 409, "AlreadyExists",
               fmt::format("{} \"{}\" already exists", qualified(object.resource, object.group),
                           object.name));
}

std::unexpected<ApiError> conflict(const ObjectName& object, std::string_view why) {
  return about(object, 409, "Conflict",
               fmt::format("Operation cannot be fulfilled on {} \"{}\": {}",
                           qualified(object.resource, object.group), object.name, why));
}

std::unexpected<ApiError> forbidden(const ObjectName& object, std::string_view why) {
  return about(object, 403, "Forbidden",
               fmt::format("{} \"{}\" is forbidden: {}", qualified(object.resource, object.group),
                           object.name, why));
}

std::unexpected<ApiError> invalid_object(const ObjectName& object, std::vector<Cause> causes) {
  std::vector<std::string> shown;
  for (const Cause& cause : causes) {
    if (shown.size() == kMaxShownCauses) {
      shown.push_back(fmt::format("and {} more", causes.size() - kMaxShownCauses));
      break;
    }
    shown.push_back(cause_text(cause));
  }
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (shown.size() > 1) text = fmt::format("[{}]", text);
  ApiError error(422, "Invalid",
                 fmt::format("{} \"{}\" is invalid: {}", qualified(object.kind, object.group),
                             object.name, text));
  error.group = object.group;
  error.kind = object.kind;
  error.name = object.name;
  error.causes = std::move(causes);
  return std::unexpected(std::move(error));
}

std::unexpected<ApiError> expired(std::string message) {
  return std::unexpected(ApiError(410, "Expired", std::move(message)));
}

}  // namespace sluice::control
