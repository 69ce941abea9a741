#include "control/stored_object.h"

#include <utility>

#include "control/json_util.h"
#include "control/packed_json.h"

namespace sluice::control {
namespace {

constexpr JsonLimits kOwnText = {.max_bytes = 16u << 20};

ObjectPtr made_of(const ResourceType& type, const json::object& body,
                  std::shared_ptr<const std::string> text, uint64_t version) {
  auto object = std::make_shared<StoredObject>(
      StoredObject{.type = &type,
                   .ns = std::string(text_at(body, "metadata.namespace")),
                   .name = std::string(text_at(body, "metadata.name")),
                   .uid = std::string(text_at(body, "metadata.uid")),
                   .version = version,
                   .body = packed(body),
                   .text = std::move(text)});
  return object;
}

}  // namespace

bool StoredObject::deleting() const { return !text_at(body, "metadata.deletionTimestamp").empty(); }

ObjectPtr make_object(const ResourceType& type, json::object body, uint64_t version) {
  object_of(body, "metadata")["resourceVersion"] = std::to_string(version);
  std::string text = json::serialize(body);
  text.shrink_to_fit();
  return made_of(type, body, std::make_shared<const std::string>(std::move(text)), version);
}

ObjectPtr read_object(const ResourceType& type, std::shared_ptr<const std::string> text,
                      uint64_t version) {
  const auto body = parse_json(*text, kOwnText);
  if (!body || !body->is_object()) return nullptr;
  return made_of(type, body->get_object(), std::move(text), version);
}

ObjectKey key_of(const StoredObject& object) { return {object.type, object.ns, object.name}; }

}  // namespace sluice::control
