// Conditions of graphs: a path and the JSON that it is asked of, a line break between them. No
// crash, no endless loop.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json.h"
#include "plan/gjson.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = text.find('\n');
  const auto path = sluice::plan::GjsonPath::parse(text.substr(0, line));
  if (!path) {
    if (path.error().message().empty()) std::abort();
    return 0;
  }
  if (line == std::string_view::npos) return 0;
  const auto value = sluice::parse_json(text.substr(line + 1), {.max_bytes = 4096});
  if (value) static_cast<void>(path->exists(*value));
  return 0;
}
