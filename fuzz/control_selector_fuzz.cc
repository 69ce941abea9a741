// Selectors, paths and queries of the control plane's API. The input is two lines: a label selector
// and a field selector.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "control/api_request.h"
#include "control/listing.h"
#include "control/scalars.h"
#include "control/selector.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace control = sluice::control;
  namespace json = sluice::json;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = text.find('\n');
  const std::string_view first = text.substr(0, line);
  const std::string_view second =
      line == std::string_view::npos ? std::string_view() : text.substr(line + 1);
  const auto selector = control::Selector::parse(first, second);
  const json::object object{
      {"metadata", json::object{{"name", "a"}, {"labels", json::object{{"app", "x"}}}}}};
  if (selector) {
    static_cast<void>(selector->matches(object));
    if (selector->all() && !selector->matches(object)) std::abort();
  } else if (selector.error().message.empty()) {
    std::abort();
  }
  static_cast<void>(control::parse_api_path(first));
  static_cast<void>(control::Query(first).number("limit"));
  static_cast<void>(control::form_of(first));
  static_cast<void>(control::decode_token(first));
  static_cast<void>(control::parse_quantity(first));
  if (const auto time = control::parse_time(first); time && *time > 0 && *time < 4e9) {
    if (!control::parse_time(control::time_text(*time))) std::abort();
  }
  return 0;
}
