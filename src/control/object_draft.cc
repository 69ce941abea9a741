#include "control/object_draft.h"

#include <fmt/format.h>

#include <array>

#include "base/rng.h"
#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

constexpr std::string_view kSuffixLetters = "bcdfghjklmnpqrstvwxz2456789";
constexpr size_t kSuffixLength = 5;
constexpr size_t kMaxPrefix = 58;

void put_back(const json::object* from, json::object& to, std::string_view key) {
  const json::value* value = from == nullptr ? nullptr : from->if_contains(key);
  if (value != nullptr) {
    to[key] = *value;
  } else {
    drop(to, key);
  }
}

bool same_specification(const json::object& a, const json::object& b) {
  const auto covered = [](const json::object& x, const json::object& y) {
    for (const auto& [key, value] : x) {
      if (key == "metadata" || key == "status") continue;
      const json::value* other = y.if_contains(key);
      if (other == nullptr || !same_json(value, *other)) return false;
    }
    return true;
  };
  return covered(a, b) && covered(b, a);
}

ApiOutcome check_stated(json::object& object, std::string_view key, std::string_view wanted,
                        std::string_view what) {
  const json::value* stated = object.if_contains(key);
  if (stated == nullptr || (stated->is_string() && stated->get_string().empty())) {
    object[key] = wanted;
    return {};
  }
  if (stated->is_string() && std::string_view(stated->get_string()) == wanted) return {};
  return bad_request(fmt::format("the {} in the data ({}) does not match the expected {} ({})",
                                 what, shown(*stated), what, wanted));
}

}  // namespace

ObjectName name_of(const ResourceType& type, std::string_view name) {
  return {std::string(type.group), std::string(type.plural), std::string(type.kind),
          std::string(name)};
}

std::string generated_name(std::string_view prefix) {
  std::string name(prefix.substr(0, kMaxPrefix));
  Rng rng(random_seed());
  for (size_t i = 0; i < kSuffixLength; ++i) {
    name += kSuffixLetters[rng.below(kSuffixLetters.size())];
  }
  return name;
}

std::string new_uid() {
  const uint64_t high = (random_seed() & ~0xF000ull) | 0x4000ull;  // version 4
  const uint64_t low = (random_seed() & 0x3FFFFFFFFFFFFFFFull) | 0x8000000000000000ull;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, high >> 16 & 0xFFFF,
                     high & 0xFFFF, low >> 48, low & 0xFFFFFFFFFFFFull);
}

void drop(json::object& object, std::string_view key) {
  const auto at = object.find(key);
  if (at != object.end()) object.stable_erase(at);
}

Manager manager_of(const ResourceType& type, Subresource subresource, Operation operation,
                   const std::string& name, std::string time) {
  return {.name = name,
          .operation = operation,
          .api_version = type.api_version(),
          .subresource = subresource == Subresource::kStatus  ? "status"
                         : subresource == Subresource::kScale ? "scale"
                                                              : "",
          .time = std::move(time),
          .fields = {}};
}

ApiOutcome check_identity(Draft& draft) {
  SLUICE_RETURN_IF_ERROR(
      check_stated(draft.object, "apiVersion", draft.type->api_version(), "API version"));
  SLUICE_RETURN_IF_ERROR(check_stated(draft.object, "kind", draft.type->kind, "kind"));
  if (const json::value* metadata = draft.object.if_contains("metadata");
      metadata != nullptr && !metadata->is_object()) {
    return bad_request(fmt::format("metadata: expected an object, found {}", shown(*metadata)));
  }
  json::object& metadata = object_of(draft.object, "metadata");
  if (draft.before == nullptr && draft.key.name.empty()) {
    return invalid_object(
        name_of(*draft.type, ""),
        {{"FieldValueRequired", "name or generateName is required", "metadata.name"}});
  }
  SLUICE_RETURN_IF_ERROR(check_stated(metadata, "name", draft.key.name, "name of the object"));
  if (!draft.type->namespaced) {
    drop(metadata, "namespace");
    return {};
  }
  return check_stated(metadata, "namespace", draft.key.ns, "namespace of the object");
}

void keep_system_fields(Draft& draft, const std::string& now) {
  json::object& metadata = object_of(draft.object, "metadata");
  if (draft.before == nullptr) {
    drop(metadata, "deletionTimestamp");
    drop(metadata, "deletionGracePeriodSeconds");
    metadata["uid"] = new_uid();
    metadata["creationTimestamp"] = now;
    if (draft.type->counts_generation) {
      metadata["generation"] = 1;
    } else {
      drop(metadata, "generation");
    }
    if (draft.type->kind == "Namespace") draft.object["status"] = json::object{{"phase", "Active"}};
    return;
  }
  const json::object& before = draft.before->body;
  const auto* old = object_at(before, "metadata");
  for (const std::string_view key :
       {"uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp",
        "deletionGracePeriodSeconds", "generateName"}) {
    put_back(old, metadata, key);
  }
  if (!draft.type->has_status || draft.subresource == Subresource::kScale) return;
  if (draft.subresource == Subresource::kNone) {
    put_back(&before, draft.object, "status");
    return;
  }
  // The status subresource reaches the status, and the ownership of its fields.
  json::object kept = before;
  put_back(&draft.object, kept, "status");
  if (const json::value* fields = metadata.if_contains("managedFields"); fields != nullptr) {
    object_of(kept, "metadata")["managedFields"] = *fields;
  }
  draft.object = std::move(kept);
}

void count_generation(Draft& draft) {
  if (!draft.before || !draft.type->counts_generation) return;
  if (same_specification(draft.before->body, draft.object)) return;
  const int64_t last = integer_at(draft.before->body, "metadata.generation").value_or(0);
  object_of(draft.object, "metadata")["generation"] = last + 1;
}

}  // namespace sluice::control
