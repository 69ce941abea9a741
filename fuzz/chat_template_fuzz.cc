// A chat template of foreign bytes, parsed and rendered with a fixed request; and, as its
// provenance must not depend on what the caller writes: trusted text never holds the caller's
// marker.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "text/chat_template.h"

namespace {

constexpr std::string_view kMarker = "\xE2\x9F\xA6";  // a character that templates do not hold

const sluice::json::object& request() {
  static const sluice::json::object inputs =
      sluice::parse_json(
          R"({"messages": [{"role": "system", "content": "⟦Be brief.⟦"},
                           {"role": "user", "content": "⟦ Hi\n%s {x} ⟦", "name": "⟦"},
                           {"role": "assistant", "content": null, "tool_calls": [
                             {"id": "⟦1", "type": "function", "function":
                              {"name": "⟦f", "arguments": {"a⟦": [1, 2.5, null, true]}}}]},
                           {"role": "tool", "content": "⟦21"}],
              "tools": [{"type": "function", "function": {"name": "f⟦", "parameters": {"⟦": {}}}}],
              "c": "⟦ß1", "n": 7, "f": 0.5, "l": [3, "⟦b", 1], "d": {"k⟦": "v⟦"},
              "add_generation_prompt": true, "enable_thinking": false,
              "bos_token": "<s>", "eos_token": "</s>"})")
          .value()
          .as_object();
  return inputs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto parsed = sluice::text::ChatTemplate::parse(source);
  if (!parsed) return 0;
  const auto segments = parsed->render(request(), 1721952000.0);
  // A template can spell the marker itself, as the character or by an escape.
  const bool spelled = source.contains('\\') || source.contains(kMarker);
  if (!segments || spelled) return 0;
  for (const auto& segment : *segments) {
    SLUICE_CHECK(!segment.trusted || !segment.text.contains(kMarker),
                 "the caller's text became the template's");
  }
  return 0;
}
