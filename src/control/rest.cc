#include "control/rest.h"

#include <fmt/format.h>

#include <utility>

#include "control/answer.h"
#include "control/discovery.h"
#include "control/json_util.h"
#include "control/listing.h"
#include "control/openapi.h"
#include "control/rest_call.h"
#include "control/scalars.h"
#include "control/scale.h"
#include "control/watch_stream.h"

namespace sluice::control {
namespace {

constexpr std::string_view kGnostic = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
constexpr size_t kShownAgent = 200;
constexpr std::string_view kV3 = "/openapi/v3/";

std::optional<Verb> verb_of(const net::HttpRequest& request, const ApiPath& path,
                            const Query& query) {
  const bool collection = path.name.empty();
  if (request.method == "GET") {
    if (!collection) return Verb::kGet;
    return query.flag("watch") ? Verb::kWatch : Verb::kList;
  }
  if (request.method == "POST" && collection) return Verb::kCreate;
  if (request.method == "PUT" && !collection) return Verb::kUpdate;
  if (request.method == "PATCH" && !collection) return Verb::kPatch;
  if (request.method == "DELETE") return collection ? Verb::kDeleteCollection : Verb::kDelete;
  return std::nullopt;
}

// What a replica is asked for itself.
bool is_page(const ApiPath& path) {
  return path.type->kind == "Replica" &&
         (path.subresource == "log" || path.subresource == "metrics");
}

net::HttpResponse no_such_page() {
  return error_answer(
      ApiError(404, "NotFound", "the server could not find the requested resource"));
}

net::HttpResponse openapi_v2_answer(const net::HttpRequest& request) {
  if (!request.header("accept").contains("com.github.proto-openapi.spec.v2")) {
    return json_answer(200, openapi_v2_text());
  }
  net::HttpResponse response = json_answer(200, openapi_v2_protobuf());
  response.headers.front().second = kGnostic;
  return response;
}

net::HttpResponse discovery_answer(const net::HttpRequest& request, bool core) {
  const std::string_view version = aggregated_version(request.header("accept"));
  if (version.empty())
    return json_answer(200, json::serialize(core ? api_versions() : api_groups()));
  net::HttpResponse response =
      json_answer(200, json::serialize(aggregated_discovery(core, version)));
  response.headers.front().second =
      fmt::format("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", version);
  return response;
}

}  // namespace

// Pages that are about the API, not about objects.
std::optional<net::HttpResponse> Rest::page(const net::HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") return std::nullopt;
  const std::string_view path = request.path;
  if (path == "/version") return json_answer(200, json::serialize(version_page()));
  if (path == "/api" || path == "/api/") return discovery_answer(request, true);
  if (path == "/apis" || path == "/apis/") return discovery_answer(request, false);
  if (path == "/openapi/v2") return openapi_v2_answer(request);
  if (path == "/openapi/v3") return json_answer(200, openapi_v3_index());
  if (path.starts_with(kV3)) {
    const std::string* document = openapi_v3(path.substr(kV3.size()));
    return document == nullptr ? no_such_page() : json_answer(200, *document);
  }
  if (path.starts_with("/apis/") && !path.substr(6).contains('/')) {
    const json::object group = api_group(path.substr(6));
    return group.empty() ? no_such_page() : json_answer(200, json::serialize(group));
  }
  const auto parsed = parse_api_path(path);
  if (!parsed || parsed->type != nullptr) return std::nullopt;
  const json::object resources = api_resources(parsed->group, parsed->version);
  return resources.empty() ? no_such_page() : json_answer(200, json::serialize(resources));
}

void Rest::answer(const net::HttpRequest& request, const Identity& who,
                  const std::shared_ptr<net::Responder>& responder) {
  if (auto found = page(request)) return responder->send(*std::move(found));
  const auto path = parse_api_path(request.path);
  if (!path || path->type == nullptr) return responder->send(no_such_page());
  Call call{.request = request, .who = who, .path = *path, .query = Query(request.query)};
  const auto verb = verb_of(request, *path, call.query);
  if (!verb) {
    return responder->send(error_answer(ApiError(
        405, "MethodNotAllowed",
        fmt::format("{} is not possible here: the server does not allow this method on the "
                    "requested resource",
                    request.method))));
  }
  call.verb = *verb;
  ApiResult<net::HttpResponse> done;
  ApiOutcome may = Access::authorize(who, call.verb, *path->type, path->ns, path->name);
  if (!may) {
    done = std::unexpected(std::move(may).error());
  } else if (call.verb == Verb::kWatch) {
    auto form = form_of(request.header("accept"));
    ApiOutcome started = form ? WatchStream::start(objects_.store(), *path, call.query, *form,
                                                   objects_.clock(), responder)
                              : ApiOutcome(std::unexpected(std::move(form).error()));
    if (started) return;
    done = std::unexpected(std::move(started).error());
  } else if (call.verb == Verb::kGet && is_page(*path)) {
    ApiOutcome told = path->subresource == "log" ? log(call, responder) : metrics(call, responder);
    if (told) return;
    done = std::unexpected(std::move(told).error());
  } else {
    done = dispatch(call);
  }
  std::string why;
  if (!done) why = done.error().reason;
  net::HttpResponse response = done ? *std::move(done) : error_answer(done.error());
  note(call, response, why);
  answered_(verb_name(call.verb), response.status);
  responder->send(std::move(response));
}

ApiResult<net::HttpResponse> Rest::dispatch(const Call& call) {
  SLUICE_RETURN_IF_ERROR(call.subresource());
  switch (call.verb) {
    case Verb::kGet:
      return get(call);
    case Verb::kList: {
      SLUICE_ASSIGN_OR_RETURN(const Form form, form_of(call.request.header("accept")));
      return list_objects(objects_.store(), call.path, call.query, form,
                          objects_.clock().unix_seconds());
    }
    case Verb::kCreate:
      return create(call);
    case Verb::kUpdate:
      return update(call);
    case Verb::kPatch:
      return patch(call);
    case Verb::kDelete:
      return remove(call);
    case Verb::kDeleteCollection:
      return remove_collection(call);
    case Verb::kWatch:
      break;
  }
  return std::unexpected(ApiError(405, "MethodNotAllowed", "this method is not possible here"));
}

ApiOutcome Rest::log(const Call& call, const std::shared_ptr<net::Responder>& responder) {
  SLUICE_RETURN_IF_ERROR(objects_.get(call.key()));
  SLUICE_RETURN_IF_ERROR(logs_.answer(call.key(), call.query, responder));
  answered_("log", 200);
  return {};
}

void Rest::set_replica_metrics(ReplicaCall call) {
  const std::lock_guard lock(replica_metrics_mutex_);
  replica_metrics_ = std::move(call);
}

ApiOutcome Rest::metrics(const Call& call, const std::shared_ptr<net::Responder>& responder) {
  SLUICE_ASSIGN_OR_RETURN(const ObjectPtr replica, objects_.get(call.key()));
  {
    const std::lock_guard lock(replica_metrics_mutex_);
    if (!replica_metrics_) {
      return std::unexpected(ApiError(503, "ServiceUnavailable",
                                      "this controller runs no replicas: they tell nothing"));
    }
    replica_metrics_(replica, responder);
  }
  answered_("metrics", 200);
  return {};
}

ApiResult<net::HttpResponse> Rest::get(const Call& call) {
  SLUICE_ASSIGN_OR_RETURN(const ObjectPtr object, objects_.get(call.key()));
  SLUICE_ASSIGN_OR_RETURN(const Form form, form_of(call.request.header("accept")));
  if (call.path.subresource == "scale") {
    return json_answer(200, json::serialize(scale_of(*call.path.type, object->body)));
  }
  return object_answer(200, *object, form, objects_.clock().unix_seconds());
}

void Rest::note(const Call& call, const net::HttpResponse& response, std::string_view reason) {
  const bool secret_read = call.path.type->secret && response.status == 200;
  if (!is_write(call.verb) && !secret_read && response.status != 403) return;
  AuditEntry entry{.user = call.who.name,
                   .role = std::string(role_name(call.who.role)),
                   .verb = std::string(verb_name(call.verb)),
                   .resource = call.path.type->qualified_plural(),
                   .subresource = call.path.subresource,
                   .ns = call.path.ns,
                   .name = call.path.name.empty() ? call.created_name : call.path.name,
                   .peer = call.request.peer,
                   .agent = printable(call.request.header("user-agent"), kShownAgent),
                   .manager = call.manager(),
                   .reason = std::string(reason),
                   .version = call.version,
                   .code = response.status,
                   .dry_run = !call.query.get("dryRun").empty()};
  audit_.write(entry);
}

void Rest::note_refusal(const net::HttpRequest& head, const Identity& who, int code,
                        std::string_view reason) {
  audit_.write({.user = who.name,
                .role = {},
                .verb = head.method,
                .resource = printable(head.path, kShownAgent),
                .subresource = {},
                .ns = {},
                .name = {},
                .peer = head.peer,
                .agent = printable(head.header("user-agent"), kShownAgent),
                .manager = {},
                .reason = std::string(reason),
                .version = {},
                .code = code});
}

}  // namespace sluice::control
