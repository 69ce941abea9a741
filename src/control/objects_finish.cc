// The last part of every change: identity, validation, ownership of fields, the commit.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "control/json_util.h"
#include "control/limits.h"
#include "control/object_draft.h"
#include "control/objects.h"
#include "control/removal.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

ApiOutcome refuse_kind(const Draft& draft) {
  ApiError error(400, "BadRequest",
                 fmt::format("{} is not served here: an InferenceService does the same. Use:\n{}",
                             draft.type->kind, equivalent_inference_service(draft.object)));
  error.group = draft.type->group;
  error.kind = draft.type->kind;
  error.name = draft.key.name;
  return std::unexpected(std::move(error));
}

ApiOutcome check_name(const Draft& draft) {
  if (draft.before) return {};
  std::string problem;
  if (draft.type->kind == "Namespace") {
    problem = label_name_problem(draft.key.name);
  } else if (draft.type->host_names) {
    problem = host_name_problem(draft.key.name);
  } else {
    problem = name_problem(draft.key.name);
  }
  if (problem.empty()) return {};
  return invalid_object(
      name_of(*draft.type, draft.key.name),
      {{"FieldValueInvalid", fmt::format("\"{}\": {}", draft.key.name.substr(0, 260), problem),
        "metadata.name"}});
}

ApiOutcome report_unknown(const Draft& draft, FieldValidation validation,
                          std::vector<std::string>& warnings) {
  if (draft.report.unknown.empty() || validation == FieldValidation::kIgnore) return {};
  std::vector<std::string> texts;
  texts.reserve(draft.report.unknown.size());
  for (const std::string& field : draft.report.unknown) {
    texts.push_back(fmt::format("unknown field \"{}\"", field));
  }
  if (validation == FieldValidation::kStrict) {
    return bad_request(fmt::format("strict decoding error: {}", fmt::join(texts, ", ")));
  }
  warnings.insert(warnings.end(), texts.begin(), texts.end());
  return {};
}

// A user who sends managedFields changes them, as kubectl does when it migrates to server-side
// apply; who sends none leaves them alone.
ApiResult<std::vector<Manager>> stated_managers(const Draft& draft) {
  if (!draft.before) return std::vector<Manager>();
  if (find_path(draft.object, "metadata.managedFields") == nullptr) {
    return read_managers(draft.before->body);
  }
  return read_managers(draft.object);
}

bool same_spec(const json::object& a, const json::object& b) {
  const json::value* x = a.if_contains("spec");
  const json::value* y = b.if_contains("spec");
  return x == nullptr || y == nullptr ? x == y : same_json(*x, *y);
}

json::object without_managers(const json::object& object) {
  json::object bare = object;
  if (auto* metadata = bare.if_contains("metadata"); metadata != nullptr && metadata->is_object()) {
    drop(metadata->get_object(), "managedFields");
  }
  return bare;
}

}  // namespace

std::string Objects::now_text() const { return time_text(clock_.unix_seconds()); }

ApiResult<Written> Objects::finish(Draft& draft, const WriteOptions& options) {
  if (draft.type->refused) return std::unexpected(refuse_kind(draft).error());
  SLUICE_RETURN_IF_ERROR(check_identity(draft));
  SLUICE_RETURN_IF_ERROR(check_name(draft));
  const ObjectName name = name_of(*draft.type, draft.key.name);
  if (draft.before) {
    if (!draft.stated_version.empty() &&
        draft.stated_version != std::to_string(draft.before->version)) {
      return conflict(name,
                      "the object has been modified; please apply your changes to the "
                      "latest version and try again");
    }
    const std::string_view uid = text_at(draft.object, "metadata.uid");
    if (!uid.empty() && uid != draft.before->uid) {
      return conflict(name, fmt::format("the UID of the object ({}) is not the UID in record ({})",
                                        uid.substr(0, 64), draft.before->uid));
    }
  } else {
    SLUICE_RETURN_IF_ERROR(check_namespace(draft));
  }
  keep_system_fields(draft, now_text());
  SLUICE_RETURN_IF_ERROR(validate(draft, options));
  count_generation(draft);
  SLUICE_RETURN_IF_ERROR(own_fields(draft, options));
  return store_draft(draft, options);
}

ApiOutcome Objects::check_namespace(const Draft& draft) const {
  if (!draft.type->namespaced) return {};
  static const ResourceType& namespaces = *find_kind("v1", "Namespace");
  const ObjectPtr ns = store_.get({&namespaces, "", draft.key.ns});
  if (!ns) return not_found(name_of(namespaces, draft.key.ns));
  if (!ns->deleting()) return {};
  return forbidden(name_of(*draft.type, draft.key.name),
                   fmt::format("unable to create new content in namespace {} because it is being "
                               "terminated",
                               draft.key.ns));
}

ApiOutcome Objects::check_owners(const Draft& draft) const {
  const auto* owners = array_at(draft.object, "metadata.ownerReferences");
  if (owners == nullptr || owners->empty()) return {};
  const json::value* before =
      draft.before ? find_path(draft.before->body, "metadata.ownerReferences") : nullptr;
  if (before != nullptr && same_json(*before, json::value(*owners))) return {};
  for (const json::value& owner : *owners) {
    const auto* fields = owner.if_object();
    if (fields != nullptr && store_.has_uid(std::string(text_at(*fields, "uid")))) return {};
  }
  return invalid_object(
      name_of(*draft.type, draft.key.name),
      {{"FieldValueInvalid", "none of these owners exists: the object would be deleted at once",
        "metadata.ownerReferences"}});
}

ApiOutcome Objects::validate(Draft& draft, const WriteOptions& options) {
  const Schema& schema = *draft.type->schema;
  prune(schema, draft.object, draft.report);
  SLUICE_RETURN_IF_ERROR(report_unknown(draft, options.validation, draft.warnings));
  fill_defaults(schema, draft.object);
  check(schema, draft.object, draft.report);
  const Lookup exists = [this](const ResourceType& type, std::string_view ns,
                               std::string_view name) {
    return store_.get({&type, type.namespaced ? std::string(ns) : std::string(),
                       std::string(name)}) != nullptr;
  };
  Admission admission{.type = *draft.type,
                      .who = options.who,
                      .policy = policy_,
                      .exists = exists,
                      .before = draft.before ? &draft.before->body : nullptr,
                      .object = draft.object};
  // What is of the wrong type is not looked into any further. A status is the controllers' own.
  if (draft.report.causes.empty() && draft.subresource != Subresource::kStatus) {
    SLUICE_RETURN_IF_ERROR(admit(admission));
    SLUICE_RETURN_IF_ERROR(check_owners(draft));
  }
  std::vector<Cause> causes = std::move(draft.report.causes);
  causes.insert(causes.end(), admission.causes.begin(), admission.causes.end());
  if (!causes.empty()) {
    return invalid_object(name_of(*draft.type, draft.key.name), std::move(causes));
  }
  std::vector<std::string> effects = std::move(draft.report.ignored);
  effects.insert(effects.end(), admission.warnings.begin(), admission.warnings.end());
  // A label on an old object is no reason to tell of its specification again.
  const bool touched = draft.subresource != Subresource::kStatus &&
                       (!draft.before || !same_spec(draft.before->body, draft.object));
  if (touched) draft.warnings.insert(draft.warnings.end(), effects.begin(), effects.end());
  return {};
}

ApiOutcome Objects::own_fields(Draft& draft, const WriteOptions& options) const {
  if (!draft.applied) {
    SLUICE_ASSIGN_OR_RETURN(draft.managers, stated_managers(draft));
    const json::object before =
        draft.before ? without_managers(draft.before->body) : json::object();
    note_update(
        *draft.type->schema, before, without_managers(draft.object),
        manager_of(*draft.type, draft.subresource, Operation::kUpdate, options.manager, now_text()),
        draft.managers);
  }
  write_managers(draft.object, draft.managers);
  return {};
}

ApiResult<Written> Objects::store_draft(Draft& draft, const WriteOptions& options) {
  Written written{.object = draft.before,
                  .created = !draft.before,
                  .changed = true,
                  .warnings = std::move(draft.warnings)};
  if (draft.before && same_json(draft.before->body, draft.object)) {
    written.changed = false;
    return written;
  }
  const size_t bytes = json::serialize(draft.object).size();
  if (bytes > limits::kMaxObjectBytes) {
    return std::unexpected(
        ApiError(413, "RequestEntityTooLarge",
                 fmt::format("an object may have at most {} bytes as JSON, this one has {}",
                             limits::kMaxObjectBytes, bytes)));
  }
  const auto as_wanted = [&] {
    const uint64_t version = draft.before ? draft.before->version : store_.version() + 1;
    return make_object(*draft.type, draft.object, version);
  };
  if (options.dry_run) {
    written.object = as_wanted();
    return written;
  }
  const auto* finalizers = array_at(draft.object, "metadata.finalizers");
  const bool deleting = !text_at(draft.object, "metadata.deletionTimestamp").empty();
  if (draft.before && deleting && (finalizers == nullptr || finalizers->empty())) {
    const ObjectPtr wanted = as_wanted();
    Removal removal = plan_removal(store_, wanted, Propagation::kBackground, clock_.unix_seconds());
    SLUICE_ASSIGN_OR_RETURN(std::vector<ObjectPtr> done, store_.commit(std::move(removal.writes)));
    written.object = wanted;
    settle(std::move(done));
    return written;
  }
  std::vector<Write> writes;
  writes.push_back({draft.key, std::move(draft.object)});
  SLUICE_ASSIGN_OR_RETURN(std::vector<ObjectPtr> done, store_.commit(std::move(writes)));
  written.object = done.front();
  return written;
}

}  // namespace sluice::control
