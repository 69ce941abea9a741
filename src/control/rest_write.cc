// The routes that change something.

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "control/answer.h"
#include "control/json_util.h"
#include "control/listing.h"
#include "control/rest.h"
#include "control/rest_call.h"
#include "control/scalars.h"
#include "control/scale.h"

namespace sluice::control {
namespace {

constexpr size_t kMaxManagerBytes = 128;

ApiResult<FieldValidation> validation_of(std::string_view text) {
  if (text.empty() || text == "Warn") return FieldValidation::kWarn;
  if (text == "Strict") return FieldValidation::kStrict;
  if (text == "Ignore") return FieldValidation::kIgnore;
  return bad_request("fieldValidation: expected Strict, Warn or Ignore");
}

ApiResult<bool> dry_run_of(std::string_view text) {
  if (text.empty()) return false;
  if (text == "All") return true;
  return bad_request("dryRun: expected All");
}

ApiResult<PatchKind> patch_kind_of(std::string_view content_type) {
  const std::string type = media_type(content_type);
  if (type == "application/json-patch+json") return PatchKind::kJson;
  if (type == "application/merge-patch+json") return PatchKind::kMerge;
  if (type == "application/strategic-merge-patch+json") return PatchKind::kStrategic;
  if (type == "application/apply-patch+yaml") return PatchKind::kApply;
  return std::unexpected(ApiError(
      415, "UnsupportedMediaType",
      fmt::format("the patch type \"{}\" is not supported: use application/json-patch+json, "
                  "application/merge-patch+json, application/strategic-merge-patch+json or "
                  "application/apply-patch+yaml",
                  type.substr(0, 100))));
}

ApiResult<json::object> object_body(const net::HttpRequest& request) {
  SLUICE_ASSIGN_OR_RETURN(json::value body, parse_body(request));
  if (!body.is_object()) return bad_request("the body: expected an object");
  return std::move(body.get_object());
}

ApiResult<Propagation> propagation_of(std::string_view text) {
  if (text.empty() || text == "Background") return Propagation::kBackground;
  if (text == "Foreground") return Propagation::kForeground;
  if (text == "Orphan") return Propagation::kOrphan;
  return bad_request("propagationPolicy: expected Background, Foreground or Orphan");
}

ApiResult<DeleteOptions> delete_options(const net::HttpRequest& request, const Query& query) {
  DeleteOptions options;
  SLUICE_ASSIGN_OR_RETURN(options.dry_run, dry_run_of(query.get("dryRun")));
  std::string propagation(query.get("propagationPolicy"));
  bool orphan = query.flag("orphanDependents");
  if (!request.body.empty()) {
    SLUICE_ASSIGN_OR_RETURN(const json::object body, object_body(request));
    if (const auto policy = text_at(body, "propagationPolicy"); !policy.empty()) {
      propagation = policy;
    }
    orphan = orphan || true_at(body, "orphanDependents");
    options.uid = text_at(body, "preconditions.uid");
    options.resource_version = text_at(body, "preconditions.resourceVersion");
    if (const auto* dry = array_at(body, "dryRun"); dry != nullptr && !dry->empty()) {
      options.dry_run = true;
    }
  }
  SLUICE_ASSIGN_OR_RETURN(options.propagation, propagation_of(propagation));
  if (orphan) options.propagation = Propagation::kOrphan;
  return options;
}

net::HttpResponse success(const ResourceType& type, const StoredObject* object) {
  json::object details{{"kind", type.plural}};
  if (!type.group.empty()) details["group"] = type.group;
  if (object != nullptr) {
    details["name"] = object->name;
    details["uid"] = object->uid;
  }
  return json_answer(200, json::serialize(json::object{{"kind", "Status"},
                                                       {"apiVersion", "v1"},
                                                       {"metadata", json::object()},
                                                       {"status", "Success"},
                                                       {"details", std::move(details)}}));
}

}  // namespace

ApiResult<Subresource> Rest::Call::subresource() const {
  if (path.subresource.empty()) return Subresource::kNone;
  const bool reads_or_changes = verb == Verb::kGet || verb == Verb::kUpdate || verb == Verb::kPatch;
  if (reads_or_changes && path.subresource == "status" && path.type->has_status) {
    return Subresource::kStatus;
  }
  if (reads_or_changes && path.subresource == "scale" && path.type->scalable()) {
    return Subresource::kScale;
  }
  return std::unexpected(
      ApiError(404, "NotFound", "the server could not find the requested resource"));
}

std::string Rest::Call::manager() const {
  if (const std::string_view stated = query.get("fieldManager"); !stated.empty()) {
    return printable(stated, kMaxManagerBytes);
  }
  const std::string_view agent = request.header("user-agent");
  const std::string_view program = agent.substr(0, agent.find('/'));
  return program.empty() ? "unknown" : printable(program, kMaxManagerBytes);
}

ApiResult<WriteOptions> Rest::Call::write_options() const {
  WriteOptions options{.who = who, .manager = manager()};
  SLUICE_ASSIGN_OR_RETURN(options.dry_run, dry_run_of(query.get("dryRun")));
  SLUICE_ASSIGN_OR_RETURN(options.validation, validation_of(query.get("fieldValidation")));
  options.force = query.flag("force");
  return options;
}

net::HttpResponse Rest::written(const Call& call, const Written& written, Form form) const {
  call.created_name = written.object->name;
  call.version = std::to_string(written.object->version);
  const int status = written.created ? 201 : 200;
  if (call.path.subresource == "scale") {
    return json_answer(status, json::serialize(scale_of(*call.path.type, written.object->body)),
                       written.warnings);
  }
  return object_answer(status, *written.object, form, objects_.clock().unix_seconds(),
                       written.warnings);
}

ApiResult<net::HttpResponse> Rest::create(const Call& call) {
  SLUICE_ASSIGN_OR_RETURN(const Form form, form_of(call.request.header("accept")));
  SLUICE_ASSIGN_OR_RETURN(const WriteOptions options, call.write_options());
  SLUICE_ASSIGN_OR_RETURN(json::object body, object_body(call.request));
  if (call.path.type->namespaced && call.path.ns.empty()) {
    return bad_request(fmt::format("{} are made in a namespace: POST to …/namespaces/NAME/{}",
                                   call.path.type->plural, call.path.type->plural));
  }
  SLUICE_ASSIGN_OR_RETURN(const Written done,
                          objects_.create(*call.path.type, call.path.ns, std::move(body), options));
  return written(call, done, form);
}

ApiResult<net::HttpResponse> Rest::update(const Call& call) {
  SLUICE_ASSIGN_OR_RETURN(const Form form, form_of(call.request.header("accept")));
  SLUICE_ASSIGN_OR_RETURN(const WriteOptions options, call.write_options());
  SLUICE_ASSIGN_OR_RETURN(json::object body, object_body(call.request));
  SLUICE_ASSIGN_OR_RETURN(const Subresource part, call.subresource());
  SLUICE_ASSIGN_OR_RETURN(const Written done,
                          objects_.update(call.key(), part, std::move(body), options));
  return written(call, done, form);
}

ApiResult<net::HttpResponse> Rest::patch(const Call& call) {
  SLUICE_ASSIGN_OR_RETURN(const Form form, form_of(call.request.header("accept")));
  SLUICE_ASSIGN_OR_RETURN(const WriteOptions options, call.write_options());
  SLUICE_ASSIGN_OR_RETURN(const PatchKind kind, patch_kind_of(call.request.header("content-type")));
  SLUICE_ASSIGN_OR_RETURN(const Subresource part, call.subresource());
  if (kind == PatchKind::kApply && call.query.get("fieldManager").empty()) {
    return bad_request(
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is "
        "required for apply patch");
  }
  if (options.force && kind != PatchKind::kApply) {
    return bad_request("force is for server-side apply only");
  }
  SLUICE_ASSIGN_OR_RETURN(const json::value change, parse_body(call.request));
  SLUICE_ASSIGN_OR_RETURN(const Written done,
                          objects_.patch(call.key(), part, kind, change, options));
  return written(call, done, form);
}

ApiResult<net::HttpResponse> Rest::remove(const Call& call) {
  SLUICE_ASSIGN_OR_RETURN(const Form form, form_of(call.request.header("accept")));
  SLUICE_ASSIGN_OR_RETURN(const DeleteOptions options, delete_options(call.request, call.query));
  SLUICE_ASSIGN_OR_RETURN(const Deleted deleted, objects_.remove(call.key(), options));
  if (deleted.gone) return success(*call.path.type, deleted.object.get());
  return object_answer(200, *deleted.object, form, objects_.clock().unix_seconds());
}

ApiResult<net::HttpResponse> Rest::remove_collection(const Call& call) {
  SLUICE_ASSIGN_OR_RETURN(const DeleteOptions options, delete_options(call.request, call.query));
  SLUICE_ASSIGN_OR_RETURN(
      const Selector selector,
      Selector::parse(call.query.get("labelSelector"), call.query.get("fieldSelector")));
  if (call.path.type->namespaced && call.path.ns.empty()) {
    return bad_request("a collection is deleted in one namespace at a time");
  }
  for (const ObjectPtr& object : objects_.store().list(*call.path.type, call.path.ns).objects) {
    if (!selector.matches(object->body)) continue;
    const auto deleted = objects_.remove(key_of(*object), options);
    // One that has gone meanwhile is as good; one that may not go is left.
    if (!deleted && deleted.error().code != 404 && deleted.error().code != 403) {
      return std::unexpected(deleted.error());
    }
  }
  return success(*call.path.type, nullptr);
}

}  // namespace sluice::control
