// Patches of the control plane's API. The input is a JSON list [object, patch, config]: every kind
// of patch is tried on the object. No crash, and what the descriptions of the patch kinds promise:
// a merge patch done twice changes nothing more, and what was applied is there and owned.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "control/json_util.h"
#include "control/managed_fields.h"
#include "control/patch.h"
#include "control/resource_types.h"
#include "control/schema_check.h"
#include "control/selector.h"

namespace {

namespace control = sluice::control;
namespace json = sluice::json;

void patch_kinds(const json::value& object, const json::value& patch) {
  json::value target = object;
  static_cast<void>(control::apply_json_patch(target, patch));
  json::value once = object;
  control::apply_merge_patch(once, patch);
  json::value twice = once;
  control::apply_merge_patch(twice, patch);
  if (!control::same_json(once, twice)) std::abort();
  if (!object.is_object() || !patch.is_object()) return;
  json::object merged = object.get_object();
  const auto* type = control::find_kind("v1", "ServiceAccount");
  static_cast<void>(control::apply_strategic_patch(*type->schema, merged, patch.get_object()));
}

void apply(const json::value& object, const json::value& config) {
  if (!object.is_object() || !config.is_object()) return;
  const auto& type = *control::find_kind("serving.kserve.io/v1beta1", "InferenceService");
  json::object wanted = config.get_object();
  control::SchemaReport report;
  control::prune(*type.schema, wanted, report);
  control::check_part(*type.schema, wanted, report);
  if (!report.causes.empty()) return;
  auto managers = control::read_managers(object.get_object());
  if (!managers) return;
  const control::Manager who{.name = "fuzz",
                             .operation = control::Operation::kApply,
                             .api_version = type.api_version(),
                             .subresource = {},
                             .time = {},
                             .fields = {}};
  const auto applied =
      control::apply_config(*type.schema, object.get_object(), *managers, wanted, who, true);
  if (!applied) std::abort();
  const auto again =
      control::apply_config(*type.schema, applied->object, applied->managers, wanted, who, false);
  if (!again || !control::same_json(again->object, applied->object)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = sluice::parse_json(text, {.max_bytes = 64u << 10, .max_depth = 24});
  if (!parsed || !parsed->is_array() || parsed->get_array().size() < 2) return 0;
  const json::array& parts = parsed->get_array();
  patch_kinds(parts[0], parts[1]);
  apply(parts[0], parts.size() > 2 ? parts[2] : parts[1]);
  return 0;
}
