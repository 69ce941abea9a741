#include "control/resource_types.h"

#include <fmt/format.h>

#include "base/check.h"

namespace sluice::control {
namespace {

constexpr PrinterColumn kName{"Name", "string", "name"};
constexpr PrinterColumn kAge{"Age", "date", "age"};
constexpr PrinterColumn kReady{"Ready", "string", "conditions:Ready:status"};
constexpr PrinterColumn kReason{"Reason", "string", "conditions:Ready:reason", true};

std::vector<ResourceType> core_types() {
  return {
      {.group = "",
       .version = "v1",
       .kind = "Namespace",
       .plural = "namespaces",
       .singular = "namespace",
       .short_names = {"ns"},
       .categories = {},
       .namespaced = false,
       .has_status = true,
       .counts_generation = false,
       .admin_writes = true,
       .columns = {kName, {"Status", "string", "status.phase"}, kAge}},
      {.group = "",
       .version = "v1",
       .kind = "Secret",
       .plural = "secrets",
       .singular = "secret",
       .short_names = {},
       .categories = {},
       .counts_generation = false,
       .secret = true,
       .columns = {kName, {"Type", "string", "type"}, {"Data", "integer", "count:data"}, kAge}},
      {.group = "",
       .version = "v1",
       .kind = "ConfigMap",
       .plural = "configmaps",
       .singular = "configmap",
       .short_names = {"cm"},
       .categories = {},
       .counts_generation = false,
       .columns = {kName, {"Data", "integer", "count:data"}, kAge}},
      {.group = "",
       .version = "v1",
       .kind = "ServiceAccount",
       .plural = "serviceaccounts",
       .singular = "serviceaccount",
       .short_names = {"sa"},
       .categories = {},
       .counts_generation = false,
       .columns = {kName, {"Secrets", "integer", "count:secrets"}, kAge}},
      {.group = "",
       .version = "v1",
       .kind = "Event",
       .plural = "events",
       .singular = "event",
       .short_names = {"ev"},
       .categories = {},
       .counts_generation = false,
       .ephemeral = true,
       .columns = {{"Last Seen", "string", "since:lastTimestamp"},
                   {"Type", "string", "type"},
                   {"Reason", "string", "reason"},
                   {"Object", "string", "object:involvedObject"},
                   {"Source", "string", "source.component", true},
                   {"Message", "string", "message"},
                   {"Count", "integer", "count", true},
                   {"Name", "string", "name", true}}},
  };
}

std::vector<ResourceType> serving_types() {
  const std::vector<PrinterColumn> runtime_columns = {
      kName,
      {"Disabled", "boolean", "spec.disabled"},
      {"ModelType", "string", "spec.supportedModelFormats.0.name"},
      {"Containers", "string", "spec.containers.0.name"},
      {"Command", "string", "spec.containers.0.command.0", true},
      kAge};
  return {
      {.group = kServingGroup,
       .version = "v1beta1",
       .kind = "InferenceService",
       .plural = "inferenceservices",
       .singular = "inferenceservice",
       .short_names = {"isvc"},
       .categories = {"all", "kserve"},
       .has_status = true,
       .host_names = true,
       .columns = {kName,
                   {"URL", "string", "status.url"},
                   kReady,
                   {"Prev", "integer", "traffic:prev"},
                   {"Latest", "integer", "traffic:latest"},
                   {"PrevRolledoutRevision", "string",
                    "status.components.predictor.previousRolledoutRevision"},
                   {"LatestReadyRevision", "string",
                    "status.components.predictor.latestReadyRevision"},
                   {"Replicas", "integer", "status.components.predictor.replicas", true},
                   {"Runtime", "string", "runtime", true},
                   {"Storage", "string", "spec.predictor.model.storageUri", true},
                   {"ProcessOf", "string", "status.sluice.leader", true},
                   kReason,
                   kAge},
       .scale = {"spec.predictor.minReplicas", "spec.predictor.maxReplicas",
                 "status.components.predictor.replicas"}},
      {.group = kServingGroup,
       .version = "v1alpha1",
       .kind = "InferenceGraph",
       .plural = "inferencegraphs",
       .singular = "inferencegraph",
       .short_names = {"ig"},
       .categories = {"all", "kserve"},
       .has_status = true,
       .host_names = true,
       .columns = {kName,
                   {"URL", "string", "status.url"},
                   kReady,
                   {"Nodes", "integer", "count:spec.nodes", true},
                   kReason,
                   kAge}},
      {.group = kServingGroup,
       .version = "v1alpha1",
       .kind = "ServingRuntime",
       .plural = "servingruntimes",
       .singular = "servingruntime",
       .short_names = {},
       .categories = {"kserve"},
       .columns = runtime_columns},
      {.group = kServingGroup,
       .version = "v1alpha1",
       .kind = "ClusterServingRuntime",
       .plural = "clusterservingruntimes",
       .singular = "clusterservingruntime",
       .short_names = {},
       .categories = {"kserve"},
       .namespaced = false,
       .admin_writes = true,
       .columns = runtime_columns},
  };
}

// KServe's second track: refused with the InferenceService that does the same (admission_llm.cc).
ResourceType llm_type(std::string_view version) {
  return {.group = kServingGroup,
          .version = version,
          .kind = "LLMInferenceService",
          .plural = "llminferenceservices",
          .singular = "llminferenceservice",
          .short_names = {"llmisvc"},
          .categories = {},
          .refused = true,
          .columns = {kName, kAge}};
}

std::vector<ResourceType> sluice_types() {
  return {
      {.group = kSluiceGroup,
       .version = "v1alpha1",
       .kind = "Provider",
       .plural = "providers",
       .singular = "provider",
       .short_names = {},
       .categories = {"all", "sluice"},
       .has_status = true,
       .columns = {kName,
                   {"URL", "string", "spec.url"},
                   {"Protocol", "string", "spec.protocol"},
                   kReady,
                   {"Models", "integer", "count:spec.models", true},
                   kReason,
                   kAge}},
      {.group = kSluiceGroup,
       .version = "v1alpha1",
       .kind = "Tenant",
       .plural = "tenants",
       .singular = "tenant",
       .short_names = {},
       .categories = {"sluice"},
       .has_status = true,
       .columns = {kName,
                   {"Priority", "integer", "spec.priority"},
                   {"Weight", "number", "spec.weight"},
                   {"Requests/min", "integer", "spec.limits.requestsPerMinute", true},
                   {"Tokens/min", "integer", "spec.limits.tokensPerMinute", true},
                   kReady,
                   kAge}},
      {.group = kSluiceGroup,
       .version = "v1alpha1",
       .kind = "ApiKey",
       .plural = "apikeys",
       .singular = "apikey",
       .short_names = {},
       .categories = {"sluice"},
       .has_status = true,
       .secret = true,
       .columns = {kName,
                   {"Tenant", "string", "spec.tenant"},
                   {"Expires", "string", "spec.expires"},
                   {"Admin", "boolean", "spec.admin", true},
                   kReady,
                   kAge}},
  };
}

std::vector<ResourceType> platform_types() {
  return {
      {.group = kSluiceGroup,
       .version = "v1alpha1",
       .kind = "Revision",
       .plural = "revisions",
       .singular = "revision",
       .short_names = {"rev"},
       .categories = {"all", "sluice"},
       .has_status = true,
       .own_writes = true,
       .columns = {kName,
                   {"Service", "string", "spec.service"},
                   {"Traffic", "integer", "status.traffic"},
                   {"Desired", "integer", "status.desired"},
                   {"Replicas", "integer", "status.replicas"},
                   {"Available", "integer", "status.readyReplicas"},
                   kReady,
                   kReason,
                   {"Runtime", "string", "spec.runtime.name", true},
                   {"Storage", "string", "spec.storageUri", true},
                   kAge}},
      {.group = kSluiceGroup,
       .version = "v1alpha1",
       .kind = "Replica",
       .plural = "replicas",
       .singular = "replica",
       .short_names = {"rep"},
       .categories = {"all", "sluice"},
       .has_status = true,
       .own_writes = true,
       .users_delete = true,
       .columns = {kName,
                   kReady,
                   {"Status", "string", "status.phase"},
                   {"Restarts", "integer", "status.restarts"},
                   {"Revision", "string", "spec.revision", true},
                   {"URL", "string", "status.url", true},
                   {"PID", "integer", "status.pid", true},
                   {"Last Exit", "string", "status.lastExit.reason", true},
                   kReason,
                   kAge}},
  };
}

std::vector<ResourceType> make_types() {
  std::vector<ResourceType> types = core_types();
  for (ResourceType& type : serving_types()) types.push_back(std::move(type));
  for (ResourceType& type : sluice_types()) types.push_back(std::move(type));
  for (ResourceType& type : platform_types()) types.push_back(std::move(type));
  types.push_back(llm_type("v1alpha1"));
  types.push_back(llm_type("v1alpha2"));
  for (ResourceType& type : types) {
    type.schema = SchemaBook::ours().find(type.kind);
    SLUICE_CHECK(type.schema != nullptr, "a kind without a schema");
  }
  return types;
}

}  // namespace

std::string ResourceType::api_version() const {
  return group.empty() ? std::string(version) : fmt::format("{}/{}", group, version);
}

std::string ResourceType::qualified_plural() const {
  return group.empty() ? std::string(plural) : fmt::format("{}.{}", plural, group);
}

std::span<const ResourceType> resource_types() {
  static const std::vector<ResourceType> types = make_types();
  return types;
}

const ResourceType* find_resource(std::string_view group, std::string_view version,
                                  std::string_view plural) {
  for (const ResourceType& type : resource_types()) {
    if (type.group == group && type.version == version && type.plural == plural) return &type;
  }
  return nullptr;
}

const ResourceType* find_kind(std::string_view api_version, std::string_view kind) {
  for (const ResourceType& type : resource_types()) {
    if (type.kind == kind && type.api_version() == api_version) return &type;
  }
  return nullptr;
}

}  // namespace sluice::control
