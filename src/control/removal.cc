#include "control/removal.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

constexpr std::string_view kForegroundFinalizer = "foregroundDeletion";
constexpr std::string_view kOrphanFinalizer = "orphan";

// The object as it waits for its end; nothing when it does so already.
std::optional<json::object> marked(const StoredObject& object, json::array finalizers, double now) {
  json::object body = object.body;
  json::object& metadata = object_of(body, "metadata");
  if (!object.deleting()) {
    metadata["deletionTimestamp"] = time_text(now);
    metadata["deletionGracePeriodSeconds"] = 0;
  }
  if (finalizers.empty()) {
    metadata.erase("finalizers");
  } else {
    metadata["finalizers"] = std::move(finalizers);
  }
  if (object.type->kind == "Namespace") object_of(body, "status")["phase"] = "Terminating";
  if (same_json(body, object.body)) return std::nullopt;
  return body;
}

// Finalizers but those that this server takes care of by itself.
json::array foreign_finalizers(const StoredObject& object) {
  json::array kept;
  const auto* all = array_at(object.body, "metadata.finalizers");
  if (all == nullptr) return kept;
  for (const json::value& finalizer : *all) {
    const std::string_view name =
        finalizer.is_string() ? std::string_view(finalizer.get_string()) : "";
    if (name != kForegroundFinalizer && name != kOrphanFinalizer) kept.push_back(finalizer);
  }
  return kept;
}

class Planner {
 public:
  Planner(const ObjectStore& store, double now) : store_(store), now_(now) {}

  // True: the object goes.
  bool remove(const ObjectPtr& object, Propagation propagation) {
    if (!seen_.insert(object->uid).second) return gone_.contains(object->uid);
    const bool foreground = propagation == Propagation::kForeground;
    json::array finalizers = foreign_finalizers(*object);
    if (object->type->kind == "Namespace") return remove_namespace(object, std::move(finalizers));
    bool waits = false;
    if (foreground) waits = !release_dependents(*object, Propagation::kBackground);
    if (waits) finalizers.emplace_back(kForegroundFinalizer);
    if (!finalizers.empty()) {
      mark(object, std::move(finalizers));
      return false;
    }
    gone_.insert(object->uid);
    plan_.writes.push_back({key_of(*object), std::nullopt});
    if (!foreground) release_dependents(*object, propagation);
    return true;
  }

  Removal take(bool gone) {
    plan_.gone = gone;
    return std::move(plan_);
  }

 private:
  bool remove_namespace(const ObjectPtr& ns, json::array finalizers) {
    bool empty = true;
    for (const ObjectPtr& object : store_.in_namespace(ns->name)) {
      if (!remove(object, Propagation::kBackground)) empty = false;
    }
    if (empty && finalizers.empty()) {
      plan_.writes.push_back({key_of(*ns), std::nullopt});
      return true;
    }
    mark(ns, std::move(finalizers));
    return false;
  }

  // True: nothing that depends on the object stays.
  bool release_dependents(const StoredObject& owner, Propagation propagation) {
    bool none = true;
    for (const ObjectPtr& dependent : store_.dependents(owner.uid)) {
      if (propagation == Propagation::kOrphan || has_other_owner(*dependent, owner.uid)) {
        disown(dependent, owner.uid);
      } else if (!remove(dependent, propagation)) {
        none = false;
      }
    }
    return none;
  }

  bool has_other_owner(const StoredObject& object, const std::string& uid) const {
    const auto* owners = array_at(object.body, "metadata.ownerReferences");
    if (owners == nullptr) return false;
    return std::ranges::any_of(*owners, [&](const json::value& owner) {
      const auto* fields = owner.if_object();
      if (fields == nullptr) return false;
      const std::string other(text_at(*fields, "uid"));
      return other != uid && !gone_.contains(other) && store_.has_uid(other);
    });
  }

  void disown(const ObjectPtr& object, const std::string& uid) {
    // Several of its owners may go at once.
    const auto [at, first] = disowned_.emplace(object->uid, plan_.writes.size());
    if (first) plan_.writes.push_back({key_of(*object), object->body});
    json::object& body = *plan_.writes[at->second].body;
    json::array kept;
    const auto* owners = array_at(body, "metadata.ownerReferences");
    for (size_t i = 0; owners != nullptr && i < owners->size(); ++i) {
      const json::value& owner = (*owners)[i];
      const auto* fields = owner.if_object();
      if (fields == nullptr || text_at(*fields, "uid") != uid) kept.push_back(owner);
    }
    json::object& metadata = object_of(body, "metadata");
    if (kept.empty()) {
      metadata.erase("ownerReferences");
    } else {
      metadata["ownerReferences"] = std::move(kept);
    }
  }

  void mark(const ObjectPtr& object, json::array finalizers) {
    if (auto body = marked(*object, std::move(finalizers), now_)) {
      plan_.writes.push_back({key_of(*object), std::move(body)});
    }
  }

  const ObjectStore& store_;
  const double now_;
  Removal plan_;
  std::set<std::string> seen_;  // uids
  std::set<std::string> gone_;
  std::map<std::string, size_t> disowned_;  // by uid: which write
};

bool waits_for_dependents(const StoredObject& object) {
  const auto* finalizers = array_at(object.body, "metadata.finalizers");
  if (!object.deleting() || finalizers == nullptr) return false;
  return std::ranges::any_of(*finalizers, [](const json::value& finalizer) {
    return finalizer.is_string() && finalizer.get_string() == kForegroundFinalizer;
  });
}

}  // namespace

Removal plan_removal(const ObjectStore& store, const ObjectPtr& object, Propagation propagation,
                     double now) {
  Planner planner(store, now);
  const bool gone = planner.remove(object, propagation);
  return planner.take(gone);
}

Removal plan_namespace_end(const ObjectPtr& ns, double now) {
  Removal removal;
  if (auto body = marked(*ns, foreign_finalizers(*ns), now)) {
    removal.writes.push_back({key_of(*ns), std::move(body)});
  }
  return removal;
}

std::vector<ObjectPtr> waiting_for(const ObjectStore& store, const StoredObject& removed) {
  std::vector<ObjectPtr> waiting;
  const auto* owners = array_at(removed.body, "metadata.ownerReferences");
  for (size_t i = 0; owners != nullptr && i < owners->size(); ++i) {
    const auto* fields = (*owners)[i].if_object();
    if (fields == nullptr) continue;
    const ResourceType* type = find_kind(text_at(*fields, "apiVersion"), text_at(*fields, "kind"));
    if (type == nullptr) continue;
    const ObjectPtr owner = store.get({type, type->namespaced ? removed.ns : std::string(),
                                       std::string(text_at(*fields, "name"))});
    if (owner && owner->uid == text_at(*fields, "uid") && waits_for_dependents(*owner) &&
        store.dependents(owner->uid).empty()) {
      waiting.push_back(owner);
    }
  }
  if (!removed.type->namespaced) return waiting;
  const ObjectPtr ns = store.get({find_kind("v1", "Namespace"), "", removed.ns});
  if (ns && ns->deleting() && store.in_namespace(ns->name).empty()) waiting.push_back(ns);
  return waiting;
}

}  // namespace sluice::control
