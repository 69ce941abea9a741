#include "cli/doctor/setup_checks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/memory_info.h"
#include "base/sizes.h"
#include "cli/client/api_client.h"
#include "cli/client/manifests.h"
#include "cli/model_path.h"
#include "control/json_util.h"
#include "formats/model_source.h"
#include "net/socket.h"
#include "plan/parse.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFileUri = "file://";

// Where the manifest says that a model lies, with where it says so.
void local_models(const json::value& value, const std::string& place,
                  std::vector<std::pair<std::string, std::string>>& out) {
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      if (key == "storageUri" && member.is_string()) {
        out.emplace_back(place, std::string(member.get_string()));
      }
      local_models(member, place, out);
    }
  } else if (const auto* array = value.if_array()) {
    for (const json::value& item : *array) local_models(item, place, out);
  }
}

}  // namespace

Finding check_kubeconfig(const fs::path& file) {
  Finding out{.subject = "kubeconfig", .found = file.string()};
  struct stat status{};
  if (::stat(file.c_str(), &status) != 0) {
    out.found += ": not there yet; `sluice up` writes it";
    return out;
  }
  if ((status.st_mode & 077) != 0) {
    out.health = Health::kBad;
    out.found += fmt::format(": mode {:o}: others can read the token", status.st_mode & 0777);
    out.advice =
        fmt::format("chmod 600 {}; then remove it and start anew for a new token", file.string());
    return out;
  }
  const auto address = find_api({.kubeconfig = file.string()});
  if (!address) {
    out.health = Health::kBad;
    out.found += ": " + address.error().message();
    out.advice = "remove it: the next start writes a new one";
  }
  return out;
}

Finding check_controller(const fs::path& data) {
  Finding out{.subject = "control plane"};
  const fs::path path = data / "lock";
  const net::Fd lock(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!lock.valid() || ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) {
    out.found = "not running";
    return out;
  }
  const auto api = ApiClient::open({.kubeconfig = (data / "kubeconfig").string()});
  const auto version =
      api ? (*api)->get("/version") : Result<ApiAnswer>(std::unexpected(api.error()));
  if (version) {
    out.found = fmt::format("running at {}", (*api)->address().server);
  } else {
    out.health = Health::kBad;
    out.found = "it holds its folder and does not answer: " + version.error().message();
    out.advice = "its log says why; kill it and start it again";
  }
  return out;
}

Findings check_plan(const fs::path& file, bool asked) {
  std::error_code error;
  if (!asked && !fs::exists(file, error)) return {};
  const auto plan = plan::load_plan(file);
  if (plan) {
    return {{.subject = "gateway's plan",
             .found = fmt::format("{}: {} routes, {} upstreams, {} tenants", file.string(),
                                  (*plan)->routes.size(), (*plan)->upstreams.size(),
                                  (*plan)->tenants.size())}};
  }
  return {{.subject = "gateway's plan",
           .health = Health::kBad,
           .found = plan.error().message(),
           .advice = asked
                         ? "mend the field that it names; `sluice gateway --check` looks again"
                         : "the controller writes this file: stop it, remove the file, start it"}};
}

Findings check_manifests(const std::vector<std::string>& files) {
  Findings out;
  if (files.empty()) return out;
  const auto manifests = load_manifests(files, false);
  if (!manifests) {
    out.push_back({.subject = "manifests",
                   .health = Health::kBad,
                   .found = manifests.error().message(),
                   .advice = "mend the file that it names"});
    return out;
  }
  out.push_back({.subject = "manifests", .found = fmt::format("{} objects", manifests->size())});
  std::vector<std::pair<std::string, std::string>> models;
  for (const Manifest& each : *manifests) {
    local_models(json::value(each.object), each.place, models);
  }
  for (const auto& [place, uri] : models) {
    if (!uri.starts_with(kFileUri)) continue;
    const fs::path path(uri.substr(kFileUri.size()));
    std::error_code error;
    if (fs::exists(path, error)) {
      out.push_back(check_model(path.string()));
    } else {
      out.push_back({.subject = "model",
                     .health = Health::kBad,
                     .found = fmt::format("{}: {} is not there", place, path.string()),
                     .advice = "mend storageUri, or put the file there"});
    }
  }
  return out;
}

Finding check_model(const std::string& model) {
  Finding out{.subject = "model"};
  const auto path = resolve_model(model);
  auto source = path ? formats::open_model(path->path)
                     : Result<std::unique_ptr<formats::ModelSource>>(std::unexpected(path.error()));
  if (!source) {
    out.health = Health::kBad;
    out.found = source.error().message();
    out.advice =
        "name a GGUF file, a Hugging Face folder, or a model that `sluice pull --list` "
        "lists";
    return out;
  }
  const auto bytes = static_cast<int64_t>((*source)->file_bytes());
  const int64_t room = available_memory_bytes();
  out.found = fmt::format("{}: {}, {} of {} available memory", model,
                          (*source)->config().architecture, show_size(bytes), show_size(room));
  // Repacked weights stand beside the file's pages, which can be dropped.
  if (bytes > room) {
    out.health = Health::kBad;
    out.advice = "it does not fit: a smaller type (sluice quantize), or a machine with more memory";
  } else if (bytes > room / 2) {
    out.health = Health::kNote;
    out.advice = "little is left for K and V: take a smaller type, or --kv-cache-dtype int8";
  }
  return out;
}

}  // namespace sluice::cli
