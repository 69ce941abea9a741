// The kinds of sluice.dev, and the LLMInferenceService that is refused.

#include <fmt/format.h>

#include <string>

#include "base/secret.h"
#include "control/admission.h"
#include "control/json_util.h"

namespace sluice::control {
namespace {

const ResourceType& secrets() { return *find_kind("v1", "Secret"); }
const ResourceType& tenants() { return *find_kind("sluice.dev/v1alpha1", "Tenant"); }

void warn_missing_secret(Admission& admission, const json::object* reference,
                         std::string_view path) {
  if (reference == nullptr) return;
  const std::string_view name = text_at(*reference, "secretName");
  if (!name.empty() && !admission.exists(secrets(), admission.ns(), name)) {
    admission.warn(fmt::format("{}: there is no Secret \"{}\" in this namespace yet", path, name));
  }
}

std::string yaml_text(std::string_view text) { return json::serialize(json::value(text)); }

}  // namespace

void admit_provider(Admission& admission) {
  const std::string_view url = text_at(admission.object, "spec.url");
  if (!url.empty() && !url.starts_with("https://") && !url.starts_with("http://")) {
    admission.refuse(
        "FieldValueInvalid", "spec.url",
        fmt::format("\"{}\": expected https://host[:port][/path]", url.substr(0, 200)));
  }
  if (url.contains('@')) {
    admission.refuse("FieldValueInvalid", "spec.url",
                     "a URL holds no user or password: put the key into a Secret and name it in "
                     "spec.apiKey");
  }
  if (url.starts_with("http://") && object_at(admission.object, "spec.apiKey") != nullptr) {
    admission.warn("spec.apiKey is sent in the clear: spec.url is http");
  }
  warn_missing_secret(admission, object_at(admission.object, "spec.apiKey"), "spec.apiKey");
  const auto* headers = array_at(admission.object, "spec.headers");
  for (size_t i = 0; headers != nullptr && i < headers->size(); ++i) {
    const auto* header = (*headers)[i].if_object();
    if (header == nullptr) continue;
    const std::string field = fmt::format("spec.headers[{}]", i);
    if (header->contains("value") == header->contains("secret")) {
      admission.refuse("FieldValueInvalid", field, "exactly one of value and secret");
    }
    warn_missing_secret(admission, object_at(*header, "secret"), field + ".secret");
  }
}

void admit_tenant(Admission& admission) {
  const auto* models = array_at(admission.object, "spec.models");
  for (size_t i = 0; models != nullptr && i < models->size(); ++i) {
    const auto* model = (*models)[i].if_string();
    if (model == nullptr) continue;
    const size_t star = std::string_view(*model).find('*');
    if (model->empty() || (star != std::string_view::npos && star + 1 != model->size())) {
      admission.refuse("FieldValueInvalid", fmt::format("spec.models[{}]", i),
                       "expected a model's name, or a prefix with * at its end");
    }
  }
}

void admit_api_key(Admission& admission) {
  const std::string_view digest = text_at(admission.object, "spec.sha256");
  const bool has_secret = object_at(admission.object, "spec.secret") != nullptr;
  if (digest.empty() != has_secret) {
    admission.refuse("FieldValueRequired", "spec",
                     "exactly one of sha256 (printf %s KEY | sha256sum) and secret");
  }
  if (!digest.empty() && !SecretDigest::from_hex(digest)) {
    admission.refuse("FieldValueInvalid", "spec.sha256",
                     "expected the 64 hex digits of: printf %s KEY | sha256sum");
  }
  warn_missing_secret(admission, object_at(admission.object, "spec.secret"), "spec.secret");
  const std::string_view tenant = text_at(admission.object, "spec.tenant");
  if (!tenant.empty() && !admission.exists(tenants(), admission.ns(), tenant)) {
    admission.warn(
        fmt::format("spec.tenant: there is no Tenant \"{}\" in this namespace yet", tenant));
  }
}

std::string equivalent_inference_service(const json::object& service) {
  const auto text = [&](std::string_view path, std::string_view fallback) {
    const std::string_view found = text_at(service, path);
    return yaml_text(found.empty() ? fallback : found);
  };
  std::string yaml = fmt::format(
      "apiVersion: serving.kserve.io/v1beta1\n"
      "kind: InferenceService\n"
      "metadata:\n"
      "  name: {}\n",
      text("metadata.name", "my-model"));
  if (!text_at(service, "metadata.namespace").empty()) {
    yaml += fmt::format("  namespace: {}\n", text("metadata.namespace", "default"));
  }
  yaml += "spec:\n  predictor:\n";
  const auto fixed = integer_at(service, "spec.replicas");
  const auto least = fixed ? fixed : integer_at(service, "spec.scaling.minReplicas");
  const auto most = fixed ? fixed : integer_at(service, "spec.scaling.maxReplicas");
  if (least) yaml += fmt::format("    minReplicas: {}\n", *least);
  if (most) yaml += fmt::format("    maxReplicas: {}\n", *most);
  yaml += fmt::format(
      "    model:\n"
      "      modelFormat:\n"
      "        name: huggingface\n"
      "      storageUri: {}\n",
      text("spec.model.uri", "hf://owner/model"));
  if (!text_at(service, "spec.model.name").empty()) {
    yaml += fmt::format("      args: [\"--served-model-name\", {}]\n", text("spec.model.name", ""));
  }
  return yaml;
}

}  // namespace sluice::control
