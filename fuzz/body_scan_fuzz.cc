// The gateway's look at JSON bodies: whatever the strict parser takes for an object is taken here
// too (duplicate keys are refused by both), with the same model; and the model can be replaced.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/json.h"
#include "gateway/body_scan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const auto fields = sluice::gateway::scan_body(body);
  const auto value = sluice::parse_json(body);
  if (!value || !value->is_object()) {
    return 0;
  }
  const auto& object = value->get_object();
  const auto* model = object.if_contains("model");
  if (!fields) {
    // The bounds of the scan are tighter, a model must be a string and a count a whole number.
    bool excused = (model != nullptr && !model->is_string()) || object.size() > 500 || size > 200;
    for (const char* name : {"max_tokens", "max_completion_tokens", "n", "best_of"}) {
      const auto* count = object.if_contains(name);
      const bool whole =
          count == nullptr || count->is_null() ||
          (count->is_int64() && count->get_int64() >= 0 && count->get_int64() <= 1 << 30);
      excused = excused || !whole;
    }
    if (!excused) std::abort();
    return 0;
  }
  if (fields->model.has_value() != (model != nullptr)) std::abort();
  if (model == nullptr) return 0;
  if (*fields->model != std::string_view(model->get_string())) std::abort();
  const std::string other = sluice::gateway::with_model(body, *fields, "other \" name");
  const auto replaced = sluice::parse_json(other);
  if (!replaced || replaced->get_object().at("model").get_string() != "other \" name") std::abort();
  return 0;
}
