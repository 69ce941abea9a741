#include "control/objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "control/json_util.h"
#include "control/limits.h"
#include "control/object_draft.h"
#include "control/patch.h"
#include "control/removal.h"
#include "control/scalars.h"
#include "control/scale.h"
#include "control/schema_check.h"

namespace sluice::control {
namespace {

const ResourceType& namespaces() {
  static const ResourceType& type = *find_kind("v1", "Namespace");
  return type;
}

// A manifest that begins with its namespace deletes the rest by name before it is swept.
constexpr double kNamespaceGrace = 2;

ApiError missing(const ObjectKey& key) { return not_found(name_of(*key.type, key.name)).error(); }

ApiResult<Draft> patch_draft(const ObjectKey& key, const ObjectPtr& before, Subresource subresource,
                             PatchKind kind, const json::value& patch) {
  Draft draft{.type = key.type, .key = key, .before = before, .object = {}};
  draft.subresource = subresource;
  const bool scale = subresource == Subresource::kScale;
  json::value target = scale ? scale_of(*key.type, before->body) : before->body;
  switch (kind) {
    case PatchKind::kJson:
      SLUICE_RETURN_IF_ERROR(apply_json_patch(target, patch));
      break;
    case PatchKind::kMerge:
      if (!patch.is_object()) return bad_request("a merge patch is an object");
      apply_merge_patch(target, patch);
      break;
    case PatchKind::kStrategic:
      if (!patch.is_object()) return bad_request("a strategic merge patch is an object");
      if (key.type->group == kServingGroup || key.type->group == kSluiceGroup) {
        return std::unexpected(
            ApiError(415, "UnsupportedMediaType",
                     "strategic merge patches are for the core kinds: use --type merge, --type "
                     "json or server-side apply"));
      }
      SLUICE_RETURN_IF_ERROR(
          apply_strategic_patch(*key.type->schema, target.get_object(), patch.get_object()));
      break;
    case PatchKind::kApply:
      break;
  }
  if (!target.is_object()) return bad_request("the patch leaves no object");
  draft.stated_version = text_at(target.get_object(), "metadata.resourceVersion");
  if (scale) {
    draft.object = before->body;
    SLUICE_RETURN_IF_ERROR(set_scale(*key.type, draft.object, target.get_object()));
  } else {
    draft.object = std::move(target.get_object());
  }
  return draft;
}

}  // namespace

ApiOutcome Objects::bootstrap() {
  if (store_.get({&namespaces(), "", "default"})) return {};
  WriteOptions options{.who = {"system:controller", Role::kAdmin}, .manager = "sluice"};
  json::object body{
      {"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", json::object{{"name", "default"}}}};
  SLUICE_RETURN_IF_ERROR(create(namespaces(), "", std::move(body), options));
  return {};
}

ApiResult<ObjectPtr> Objects::get(const ObjectKey& key) const {
  ObjectPtr object = store_.get(key);
  if (!object) return std::unexpected(missing(key));
  return object;
}

ApiResult<Written> Objects::create(const ResourceType& type, std::string_view ns, json::object body,
                                   const WriteOptions& options) {
  const std::lock_guard lock(mutex_);
  return create_locked(type, ns, std::move(body), options);
}

ApiResult<Written> Objects::create_locked(const ResourceType& type, std::string_view ns,
                                          json::object body, const WriteOptions& options) {
  Draft draft{.type = &type, .object = std::move(body)};
  json::object& metadata = object_of(draft.object, "metadata");
  std::string name(text_at(metadata, "name"));
  if (name.empty() && !text_at(metadata, "generateName").empty()) {
    name = generated_name(text_at(metadata, "generateName"));
    metadata["name"] = name;
  }
  draft.key = {&type, std::string(ns), name};
  if (!text_at(metadata, "resourceVersion").empty()) {
    return bad_request("resourceVersion should not be set on objects to be created");
  }
  if (!name.empty() && store_.get(draft.key)) return already_exists(name_of(type, name));
  if (type.has_status) drop(draft.object, "status");
  return finish(draft, options);
}

ApiResult<Written> Objects::update(const ObjectKey& key, Subresource subresource, json::object body,
                                   const WriteOptions& options) {
  const std::lock_guard lock(mutex_);
  Draft draft{.type = key.type, .key = key, .before = store_.get(key), .object = {}};
  if (!draft.before) return std::unexpected(missing(key));
  draft.subresource = subresource;
  if (subresource == Subresource::kScale) {
    draft.object = draft.before->body;
    draft.stated_version = text_at(body, "metadata.resourceVersion");
    SLUICE_RETURN_IF_ERROR(set_scale(*key.type, draft.object, body));
  } else {
    draft.stated_version = text_at(body, "metadata.resourceVersion");
    draft.object = std::move(body);
  }
  return finish(draft, options);
}

ApiResult<Written> Objects::patch(const ObjectKey& key, Subresource subresource, PatchKind kind,
                                  const json::value& patch, const WriteOptions& options) {
  const std::lock_guard lock(mutex_);
  const ObjectPtr before = store_.get(key);
  if (!before && (kind != PatchKind::kApply || subresource != Subresource::kNone)) {
    return std::unexpected(missing(key));
  }
  auto draft = kind == PatchKind::kApply ? apply_draft(key, before, subresource, patch, options)
                                         : patch_draft(key, before, subresource, kind, patch);
  if (!draft) return std::unexpected(std::move(draft).error());
  return finish(*draft, options);
}

ApiResult<Draft> Objects::apply_draft(const ObjectKey& key, const ObjectPtr& before,
                                      Subresource subresource, const json::value& patch,
                                      const WriteOptions& options) const {
  if (!patch.is_object()) return bad_request("server-side apply: the body is an object");
  if (subresource == Subresource::kScale) {
    return bad_request("server-side apply: the scale subresource takes merge and JSON patches");
  }
  Draft draft{.type = key.type, .key = key, .before = before, .object = {}};
  draft.subresource = subresource;
  json::object config = patch.get_object();
  if (text_at(config, "apiVersion").empty() || text_at(config, "kind").empty()) {
    return bad_request("server-side apply: apiVersion and kind are required in the body");
  }
  json::object& metadata = object_of(config, "metadata");
  if (metadata.contains("managedFields")) {
    return bad_request("metadata.managedFields must be nil: apply states the wanted fields only");
  }
  if (text_at(metadata, "name").empty()) metadata["name"] = key.name;
  if (key.type->namespaced && text_at(metadata, "namespace").empty()) {
    metadata["namespace"] = key.ns;
  }
  draft.stated_version = text_at(metadata, "resourceVersion");
  // What the user wrote decides about unknown fields and ownership; defaults come later.
  prune(*key.type->schema, config, draft.report);
  if (key.type->has_status && subresource == Subresource::kNone) drop(config, "status");
  SchemaReport wrong;
  check_part(*key.type->schema, config, wrong);
  if (!wrong.causes.empty()) {
    return invalid_object(name_of(*key.type, key.name), std::move(wrong.causes));
  }
  if (key.type->kind == "Secret") fold_string_data(config);
  const json::object empty;
  const json::object& live = before ? before->body : empty;
  SLUICE_ASSIGN_OR_RETURN(std::vector<Manager> managers, read_managers(live));
  json::object bare = live;
  if (auto* old = bare.if_contains("metadata"); old != nullptr && old->is_object()) {
    drop(old->get_object(), "managedFields");
  }
  SLUICE_ASSIGN_OR_RETURN(Applied applied,
                          apply_config(*key.type->schema, bare, std::move(managers), config,
                                       manager_of(*key.type, subresource, Operation::kApply,
                                                  options.manager, now_text()),
                                       options.force));
  draft.applied = true;
  draft.object = std::move(applied.object);
  draft.managers = std::move(applied.managers);
  return draft;
}

ApiResult<Written> Objects::update_status(const ObjectPtr& seen, json::object status,
                                          const WriteOptions& options) {
  const std::lock_guard lock(mutex_);
  Draft draft{.type = seen->type,
              .key = key_of(*seen),
              .before = store_.get(key_of(*seen)),
              .object = seen->body};
  if (!draft.before || draft.before->uid != seen->uid) {
    return std::unexpected(missing(draft.key));
  }
  draft.subresource = Subresource::kStatus;
  draft.stated_version = std::to_string(seen->version);
  draft.object["status"] = std::move(status);
  return finish(draft, options);
}

ApiResult<Deleted> Objects::remove(const ObjectKey& key, const DeleteOptions& options) {
  const std::lock_guard lock(mutex_);
  const ObjectPtr object = store_.get(key);
  if (!object) return std::unexpected(missing(key));
  const ObjectName name = name_of(*key.type, key.name);
  if (!options.uid.empty() && options.uid != object->uid) {
    return conflict(name, fmt::format("the UID in the precondition ({}) is not the UID in record "
                                      "({})",
                                      options.uid.substr(0, 64), object->uid));
  }
  if (!options.resource_version.empty() &&
      options.resource_version != std::to_string(object->version)) {
    return conflict(name, "the ResourceVersion in the precondition is not the one in record");
  }
  if (key.type == &namespaces() && key.name == "default") {
    return forbidden(name, "this namespace may not be deleted");
  }
  const double now = clock_.unix_seconds();
  Removal removal = key.type == &namespaces()
                        ? plan_namespace_end(object, now)
                        : plan_removal(store_, object, options.propagation, now);
  if (options.dry_run || removal.writes.empty()) return Deleted{object, removal.gone};
  SLUICE_ASSIGN_OR_RETURN(std::vector<ObjectPtr> done, store_.commit(std::move(removal.writes)));
  Deleted deleted{object, removal.gone};
  if (const ObjectPtr left = store_.get(key)) deleted.object = left;
  settle(std::move(done));
  deleted.gone = store_.get(key) == nullptr;
  return deleted;
}

void Objects::sweep() {
  const std::lock_guard lock(mutex_);
  const double now = clock_.unix_seconds();
  for (const ObjectPtr& ns : store_.list(namespaces(), {}).objects) {
    const auto since = parse_time(text_at(ns->body, "metadata.deletionTimestamp"));
    if (!since || now < *since + kNamespaceGrace) continue;
    Removal removal = plan_removal(store_, ns, Propagation::kBackground, now);
    auto done = store_.commit(std::move(removal.writes));
    if (done) settle(*std::move(done));
  }
}

// Owners that wait for what they own, and namespaces that wait for what is in them, may go once it
// has gone.
void Objects::settle(std::vector<ObjectPtr> removed) {
  while (!removed.empty()) {
    const ObjectPtr last = removed.back();
    removed.pop_back();
    if (store_.get(key_of(*last))) continue;
    for (const ObjectPtr& waiting : waiting_for(store_, *last)) {
      const Removal removal =
          plan_removal(store_, waiting, Propagation::kBackground, clock_.unix_seconds());
      auto done = store_.commit(removal.writes);
      if (!done) return;
      removed.insert(removed.end(), done->begin(), done->end());
    }
  }
}

}  // namespace sluice::control
