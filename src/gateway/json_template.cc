#include "gateway/json_template.h"

#include <string>
#include <utility>

namespace sluice::gateway {
namespace {

// Messages name chat templates, which this is not one of.
Status renamed(const Status& status) {
  std::string message = status.message();
  if (const size_t at = message.find("chat template"); at != std::string::npos) {
    message.erase(at, std::string_view("chat ").size());
  }
  return {status.code(), std::move(message), status.param(), status.reason()};
}

}  // namespace

Result<JsonTemplate> JsonTemplate::parse(std::string_view source) {
  auto compiled = text::ChatTemplate::parse(source);
  if (!compiled) return std::unexpected(renamed(compiled.error()));
  return JsonTemplate(*std::move(compiled));
}

Result<json::value> JsonTemplate::render(const json::object& variables, double unix_seconds) const {
  auto segments = template_.render(variables, unix_seconds);
  if (!segments) return std::unexpected(renamed(segments.error()));
  std::string text;
  for (const text::Segment& segment : *segments) text += segment.text;
  auto value = parse_json(text);
  if (value) return value;
  return std::unexpected(value.error().at("what the template made"));
}

}  // namespace sluice::gateway
