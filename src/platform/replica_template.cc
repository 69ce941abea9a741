#include "platform/replica_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/secret.h"
#include "control/json_util.h"
#include "control/scalars.h"
#include "platform/placeholders.h"
#include "platform/replica_environment.h"
#include "platform/replica_probes.h"
#include "platform/revision_spec.h"

namespace sluice::platform {
namespace {

using control::object_at;
using control::text_at;

constexpr std::string_view kModelMount = "/mnt/models";
constexpr std::string_view kPort = "$(PORT)";
constexpr int64_t kMaxGraceSeconds = 86'400;
constexpr double kMaxMemory = 1e18;
constexpr double kMaxCpus = 1e6;

// Of `sluice serve`, given by the platform.
constexpr std::array<std::string_view, 5> kOwnOptions = {"--host", "--port", "--api-key",
                                                         "--internal-token", "--admin-key"};

std::unexpected<Status> never(std::string message) {
  return fail(Code::kInvalidArgument, std::move(message), {}, "InvalidPredictorSpec");
}

std::vector<std::string> words_at(const json::object& container, std::string_view field) {
  std::vector<std::string> words;
  const auto* list = control::array_at(container, field);
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    if (const auto* word = (*list)[i].if_string()) words.emplace_back(*word);
  }
  return words;
}

// KServe puts a model, be it one file, into the folder /mnt/models. Here it stays where it is: the
// folder's name alone stands for the model, and what is named in it for the file's neighbours.
std::string with_model_path(std::string text, const std::string& path) {
  if (path.empty()) return text;
  std::error_code error;
  const bool folder = std::filesystem::is_directory(path, error);
  const std::string parent = folder ? path : std::filesystem::path(path).parent_path().string();
  size_t at = 0;
  while ((at = text.find(kModelMount, at)) != std::string::npos) {
    const size_t end = at + kModelMount.size();
    const char next = end < text.size() ? text[end] : '\0';
    const bool inside = next == '/' && end + 1 < text.size();
    const bool whole = std::string_view("/\0 ,;:\"'=", 9).contains(next);
    const std::string& with = inside ? parent : path;
    if (!whole) {
      at = end;
      continue;
    }
    text.replace(at, next == '/' && !inside ? kModelMount.size() + 1 : kModelMount.size(), with);
    at += with.size();
  }
  return text;
}

double quantity_at(const json::object& container, std::string_view list, std::string_view key,
                   double most) {
  const json::value* value =
      control::find_path(container, fmt::format("resources.{}.{}", list, key));
  if (value == nullptr) return 0;
  std::optional<double> quantity;
  if (const auto* text = value->if_string()) quantity = control::parse_quantity(*text);
  if (const auto* number = value->if_int64()) quantity = static_cast<double>(*number);
  if (const auto* number = value->if_double()) quantity = *number;
  if (!quantity || !std::isfinite(*quantity) || *quantity <= 0) return 0;
  return std::min(*quantity, most);
}

// The port that is written into the arguments of a container, as images have it, becomes the one
// that the replica is given.
void free_port(std::vector<std::string>& command, Environment& environment, int64_t port) {
  const auto names_port = [](const std::string& text) { return text.contains(kPort); };
  if (std::ranges::any_of(command, names_port)) return;
  const std::string digits = fmt::format("{}", port);
  for (size_t i = 1; i < command.size(); ++i) {
    std::string& word = command[i];
    const bool at_end = word.ends_with("=" + digits) || word.ends_with(":" + digits);
    if (word == digits || at_end) word.replace(word.size() - digits.size(), digits.size(), kPort);
  }
  for (auto& [name, value] : environment) {
    if (name.contains("PORT") && value == digits) value = kPort;
  }
}

// Hashed twice with the master on both levels, as HMAC does: no value can be lengthened into
// another's.
std::string derived(std::string_view master, std::string_view purpose, std::string_view ns,
                    std::string_view name) {
  const std::string inner =
      SecretDigest(fmt::format("{}\n{}\n{}\n{}", master, purpose, ns, name)).hex();
  return SecretDigest(fmt::format("{}\n{}", master, inner)).hex();
}

class TemplateMaker {
 public:
  TemplateMaker(const json::object& revision, const json::object& container,
                const ReplicaPlace& place)
      : revision_(revision),
        container_(container),
        place_(place),
        sluice_(is_sluice_serve(revision)) {}

  Result<process::ReplicaSpec> make() {
    spec_.id = place_.id;
    SLUICE_ASSIGN_OR_RETURN(environment_, replica_environment(container_, place_.find));
    SLUICE_RETURN_IF_ERROR(make_command());
    for (auto& [name, value] : environment_) {
      value = with_model_path(std::move(value), place_.model_path);
    }
    if (const auto port = main_port(container_)) free_port(spec_.command, environment_, *port);
    spec_.working_folder = text_at(container_, "workingDir");
    set_bounds();
    SLUICE_ASSIGN_OR_RETURN(spec_.startup, replica_probe(container_, "startupProbe"));
    SLUICE_ASSIGN_OR_RETURN(spec_.readiness, replica_probe(container_, "readinessProbe"));
    SLUICE_ASSIGN_OR_RETURN(spec_.liveness, replica_probe(container_, "livenessProbe"));
    if (sluice_) SLUICE_RETURN_IF_ERROR(set_up_sluice());
    environment_.erase("PORT");
    for (auto& [name, value] : environment_) spec_.environment.emplace_back(name, value);
    return std::move(spec_);
  }

 private:
  Outcome make_command() {
    std::vector<std::string> words = words_at(container_, "command");
    for (std::string& word : words_at(container_, "args")) words.push_back(std::move(word));
    if (words.empty()) return never("the revision has no command");
    const auto value_of = [&](std::string_view name) -> std::optional<std::string> {
      if (name == "PORT") return std::string(kPort);
      if (name == "PREDICTOR_HOST") return place_.predictor_host;
      const auto found = environment_.find(name);
      return found == environment_.end() ? std::nullopt : std::optional(found->second);
    };
    size_t room = kMaxTextBytes;
    for (std::string& word : words) {
      auto expanded = expand_variables(word, value_of, room);
      if (!expanded) return never(expanded.error().message());
      word = with_model_path(*std::move(expanded), place_.model_path);
      if (word.contains('\0')) return never("an argument holds a NUL byte");
    }
    put_models(words);
    if (words.front() == "sluice") words.front() = place_.sluice_program;
    spec_.command = std::move(words);
    return {};
  }

  // As `sluice serve` takes several: PATH=NAME.
  void put_models(std::vector<std::string>& words) const {
    const auto mount = std::ranges::find(words, kModelMount);
    if (place_.models.empty() || mount == words.end()) return;
    std::vector<std::string> models;
    models.reserve(place_.models.size());
    for (const PlacedModel& each : place_.models) {
      models.push_back(fmt::format("{}={}", each.path, each.name));
    }
    words.insert(words.erase(mount), models.begin(), models.end());
  }

  void set_bounds() {
    spec_.memory_bytes =
        static_cast<uint64_t>(quantity_at(container_, "limits", "memory", kMaxMemory));
    spec_.cpus = quantity_at(container_, "limits", "cpu", kMaxCpus);
    if (const auto grace = control::integer_at(revision_, "terminationGracePeriodSeconds")) {
      spec_.grace = std::chrono::seconds(std::clamp<int64_t>(*grace, 0, kMaxGraceSeconds));
    }
  }

  Outcome set_up_sluice() {
    for (const std::string& word : spec_.command) {
      const std::string_view option = std::string_view(word).substr(0, word.find('='));
      if (std::ranges::find(kOwnOptions, option) == kOwnOptions.end()) continue;
      return never(
          fmt::format("the argument {} is given by the control plane: leave it out", option));
    }
    spec_.takes_socket = true;
    environment_["SLUICE_HOST"] = "127.0.0.1";
    environment_["SLUICE_INTERNAL_TOKEN"] = place_.secrets.internal_token;
    environment_["SLUICE_API_KEY"] = place_.secrets.api_key;
    environment_.erase("SLUICE_ADMIN_KEY");
    environment_.erase("SLUICE_PORT");
    environment_.erase("SLUICE_GRPC_PORT");
    // It cuts what has not ended by then itself, with a word to the client.
    const int64_t grace = std::chrono::duration_cast<std::chrono::seconds>(spec_.grace).count();
    environment_.emplace("SLUICE_SHUTDOWN_TIMEOUT",
                         fmt::format("{}", std::max<int64_t>(0, grace - 1)));
    add_sluice_probes(spec_);
    return {};
  }

  const json::object& revision_;
  const json::object& container_;
  const ReplicaPlace& place_;
  const bool sluice_;
  Environment environment_;
  process::ReplicaSpec spec_;
};

}  // namespace

DeploymentSecrets deployment_secrets(std::string_view master, std::string_view ns,
                                     std::string_view revision) {
  return {.internal_token = derived(master, "internal-token", ns, revision),
          .api_key = derived(master, "api-key", ns, revision)};
}

std::string predictor_path(std::string_view master, std::string_view ns, std::string_view service) {
  constexpr size_t kDigits = 32;
  return "/predictors/" + derived(master, "predictor", ns, service).substr(0, kDigits);
}

Result<process::ReplicaSpec> replica_template(const json::object& revision_spec,
                                              const ReplicaPlace& place) {
  const auto* container = object_at(revision_spec, "container");
  if (container == nullptr) return never("the revision has no container");
  if (!text_at(revision_spec, "storageUri").empty() && place.model_path.empty()) {
    return fail(Code::kFailedPrecondition, "the model is not here yet", {}, "ModelNotReady");
  }
  return TemplateMaker(revision_spec, *container, place).make();
}

ReplicaNeeds replica_needs(const json::object& revision_spec) {
  const auto* container = object_at(revision_spec, "container");
  if (container == nullptr) return {};
  const auto need = [&](std::string_view key, double most) {
    const double asked = quantity_at(*container, "requests", key, most);
    return asked > 0 ? asked : quantity_at(*container, "limits", key, most);
  };
  return {.memory_bytes = static_cast<uint64_t>(need("memory", kMaxMemory)),
          .cpus = need("cpu", kMaxCpus)};
}

std::string storage_token(const json::object& revision_spec, const FindCore& find) {
  const std::string_view account_name = text_at(revision_spec, "serviceAccountName");
  if (account_name.empty() || !find) return {};
  const control::ObjectPtr account = find("ServiceAccount", account_name);
  const auto* secrets = account == nullptr ? nullptr : control::array_at(account->body, "secrets");
  for (size_t i = 0; secrets != nullptr && i < secrets->size(); ++i) {
    const auto* reference = (*secrets)[i].if_object();
    if (reference == nullptr) continue;
    const control::ObjectPtr secret = find("Secret", text_at(*reference, "name"));
    if (secret == nullptr) continue;
    if (auto token = value_of_key(secret->body, "HF_TOKEN"); token && !token->empty()) {
      return *std::move(token);
    }
  }
  return {};
}

}  // namespace sluice::platform
