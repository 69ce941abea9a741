// Bodies of the control plane's API: YAML and protocol buffers → JSON, and JSON against the
// schemas. No crash, no endless loop; what was pruned and checked once holds when checked again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "control/api_request.h"
#include "control/field_set.h"
#include "control/json_util.h"
#include "control/protobuf_body.h"
#include "control/resource_types.h"
#include "control/schema_check.h"

namespace {

namespace control = sluice::control;
namespace json = sluice::json;

void check(json::object object) {
  const auto* type =
      control::find_kind(control::text_at(object, "apiVersion"), control::text_at(object, "kind"));
  if (type == nullptr) type = &control::resource_types()[5];
  control::SchemaReport first;
  control::prune(*type->schema, object, first);
  control::fill_defaults(*type->schema, object);
  control::check(*type->schema, object, first);
  control::SchemaReport second;
  const json::object before = object;
  control::prune(*type->schema, object, second);
  control::fill_defaults(*type->schema, object);
  if (!second.unknown.empty() || !control::same_json(before, object)) std::abort();
  if (!first.causes.empty()) return;
  const control::FieldSet fields = control::fields_of(type->schema, object);
  const auto again = control::FieldSet::from_json(fields.to_json());
  if (!again) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto body = control::parse_yaml_body(text); body && body->is_object()) {
    check(std::move(body->get_object()));
  }
  if (auto body = control::parse_protobuf_body(text); body && body->is_object()) {
    check(std::move(body->get_object()));
  }
  if (auto body = sluice::parse_json(text); body && body->is_object()) {
    check(std::move(body->get_object()));
  }
  return 0;
}
