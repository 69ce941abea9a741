// StoredObject: an object as the store keeps it, and what a change of one is.
//
// Immutable once made; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/json.h"
#include "control/resource_types.h"

namespace sluice::control {

struct StoredObject {
  const ResourceType* type = nullptr;
  std::string ns;  // empty: no namespace
  std::string name;
  std::string uid;
  uint64_t version = 0;
  json::object body;                        // packed()
  std::shared_ptr<const std::string> text;  // of the body; never null

  bool deleting() const;
};
using ObjectPtr = std::shared_ptr<const StoredObject>;

// Fills the rest from the body's metadata.
ObjectPtr make_object(const ResourceType& type, json::object body, uint64_t version);
// From the text of one that was made; null where it is none.
ObjectPtr read_object(const ResourceType& type, std::shared_ptr<const std::string> text,
                      uint64_t version);

struct ObjectKey {
  const ResourceType* type = nullptr;
  std::string ns;
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
};
ObjectKey key_of(const StoredObject& object);

enum class ChangeKind { kAdded, kModified, kDeleted };

struct Change {
  ChangeKind kind = ChangeKind::kAdded;
  uint64_t version = 0;
  ObjectPtr object;  // of a deletion: the last state, with the version of the deletion
  ObjectPtr before;  // null for kAdded
};

// Told of changes. False: no more of them.
using Watcher = std::function<bool(const Change& change)>;

}  // namespace sluice::control
