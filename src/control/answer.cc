#include "control/answer.h"

#include <fmt/format.h>

#include "control/limits.h"
#include "control/table.h"

namespace sluice::control {
namespace {

// RFC 7234's warn-text: a quoted string of one line.
std::string warning_header(std::string_view text) {
  std::string quoted;
  for (const char c : text) {
    if (quoted.size() >= limits::kMaxWarningBytes && (c & 0xC0) != 0x80) {
      quoted += "…";
      break;
    }
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return fmt::format("299 - \"{}\"", quoted);
}

}  // namespace

net::HttpResponse json_answer(int status, std::string body,
                              const std::vector<std::string>& warnings) {
  net::HttpResponse response;
  response.status = status;
  response.headers = {{"Content-Type", "application/json"},
                      {"Cache-Control", "no-cache, private"},
                      {"X-Content-Type-Options", "nosniff"}};
  for (size_t i = 0; i < warnings.size() && i < limits::kMaxWarnings; ++i) {
    response.headers.emplace_back("Warning", warning_header(warnings[i]));
  }
  response.body = std::move(body);
  return response;
}

net::HttpResponse error_answer(const ApiError& error) {
  net::HttpResponse response = json_answer(error.code, json::serialize(error.body()));
  if (error.retry_after_seconds > 0) {
    response.headers.emplace_back("Retry-After", std::to_string(error.retry_after_seconds));
  }
  if (error.code == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

net::HttpResponse object_answer(int status, const StoredObject& object, Form form, double now,
                                const std::vector<std::string>& warnings) {
  switch (form) {
    case Form::kObject:
      return json_answer(status, *object.text, warnings);
    case Form::kMetadata:
      return json_answer(status, json::serialize(metadata_only(object.body)), warnings);
    case Form::kTable:
      break;
  }
  json::object table = empty_table(*object.type);
  table["metadata"] = json::object{{"resourceVersion", std::to_string(object.version)}};
  table["rows"] = json::array{table_row(*object.type, object.body, RowObject::kMetadata, now)};
  return json_answer(status, json::serialize(table), warnings);
}

std::string event_line(std::string_view type, std::string_view object) {
  return fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", type, object);
}

}  // namespace sluice::control
