#include "cli/client/kube_config.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/files.h"
#include "control/api_request.h"
#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;
using control::object_at;
using control::text_at;

constexpr size_t kMaxFileBytes = 4u << 20;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// An entry of a kubeconfig, with the file that it stands in: paths are relative to that.
struct Entry {
  json::object fields;
  std::string file;
};

struct Merged {
  std::vector<std::pair<std::string, json::object>> files;

  // The member `inner` of the entry of that name in the list `list`.
  Result<Entry> find(std::string_view list, std::string_view inner, std::string_view name) const {
    for (const auto& [file, root] : files) {
      const json::array* entries = control::array_at(root, list);
      if (entries == nullptr) continue;
      for (const json::value& entry : *entries) {
        const json::object* fields = entry.if_object();
        if (fields == nullptr || text_at(*fields, "name") != name) continue;
        const json::object* body = object_at(*fields, inner);
        return Entry{body == nullptr ? json::object() : *body, file};
      }
    }
    return fail(Code::kNotFound,
                fmt::format("{}: there is no entry \"{}\" in {}", files.front().first, name, list));
  }
};

Result<std::string> file_beside(const Entry& entry, std::string_view named) {
  const fs::path path = fs::path(entry.file).parent_path() / fs::path(named);
  return read_file(path, kMaxFileBytes);
}

Outcome read_cluster(const Entry& cluster, ApiAddress& out) {
  const json::object& fields = cluster.fields;
  out.server = text_at(fields, "server");
  while (out.server.ends_with('/')) out.server.pop_back();
  out.tls_name = text_at(fields, "tls-server-name");
  if (!out.server.starts_with("https://") && !out.server.starts_with("http://")) {
    return invalid(fmt::format("{}: the cluster's server must be an http(s) URL, found \"{}\"",
                               cluster.file, out.server));
  }
  if (control::true_at(fields, "insecure-skip-tls-verify")) {
    return invalid(
        fmt::format("{}: insecure-skip-tls-verify is not taken: give the server's "
                    "certificate as certificate-authority",
                    cluster.file));
  }
  if (const auto data = text_at(fields, "certificate-authority-data"); !data.empty()) {
    auto pem = control::base64_decode(data);
    if (!pem) {
      return invalid(fmt::format("{}: certificate-authority-data is no base64", cluster.file));
    }
    out.ca_pem = *std::move(pem);
  } else if (const auto named = text_at(fields, "certificate-authority"); !named.empty()) {
    SLUICE_ASSIGN_OR_RETURN(out.ca_pem, file_beside(cluster, named));
  }
  return {};
}

Outcome read_user(const Entry& user, ApiAddress& out) {
  const json::object& fields = user.fields;
  out.token = text_at(fields, "token");
  if (const auto named = text_at(fields, "tokenFile"); out.token.empty() && !named.empty()) {
    SLUICE_ASSIGN_OR_RETURN(out.token, file_beside(user, named));
    while (out.token.ends_with('\n') || out.token.ends_with('\r')) out.token.pop_back();
  }
  if (!out.token.empty()) return {};
  for (const char* other :
       {"client-certificate", "client-certificate-data", "exec", "auth-provider", "username"}) {
    if (!fields.contains(other)) continue;
    return fail(Code::kUnimplemented,
                fmt::format("{}: the user logs in by {}; sluice knows token and tokenFile",
                            user.file, other));
  }
  return {};
}

fs::path home_folder() { return environment("HOME"); }

std::vector<std::string> split_list(const std::string& list) {
  std::vector<std::string> out;
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(':', at), list.size());
    if (end > at) out.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// In the order in which they are looked for; those that must be there alone.
std::vector<std::string> candidates(const ApiOptions& options) {
  if (!options.kubeconfig.empty()) return {options.kubeconfig};
  if (const std::string list = environment("KUBECONFIG"); !list.empty()) return split_list(list);
  std::error_code error;
  const fs::path ours = fs::path(default_data_folder()) / "kubeconfig";
  if (fs::exists(ours, error)) return {ours.string()};
  const fs::path theirs = home_folder() / ".kube" / "config";
  if (fs::exists(theirs, error)) return {theirs.string()};
  return {};
}

}  // namespace

std::string default_data_folder() {
  if (const auto state = environment("XDG_STATE_HOME"); !state.empty()) {
    return (fs::path(state) / "sluice" / "control").string();
  }
  const fs::path home = home_folder();
  return ((home.empty() ? fs::path("/var/lib") : home) / ".local" / "state" / "sluice" / "control")
      .string();
}

Result<ApiAddress> read_kube_configs(const std::vector<KubeConfigText>& files,
                                     const std::string& context) {
  Merged merged;
  for (const KubeConfigText& each : files) {
    auto root = control::parse_yaml_body(each.text);
    if (!root) return invalid(fmt::format("{}: {}", each.file, root.error().message));
    const json::object* fields = root->if_object();
    if (fields == nullptr) {
      return invalid(each.file +
                     ": expected a kubeconfig: a mapping with clusters, users, "
                     "contexts");
    }
    merged.files.emplace_back(each.file, *fields);
  }
  if (merged.files.empty()) return invalid("no kubeconfig was given");
  ApiAddress out;
  out.source = merged.files.front().first;
  out.context = context;
  for (const auto& [file, root] : merged.files) {
    if (out.context.empty()) out.context = text_at(root, "current-context");
  }
  if (out.context.empty()) {
    return invalid(out.source + ": there is no current-context; name one with --context");
  }
  SLUICE_ASSIGN_OR_RETURN(const Entry chosen, merged.find("contexts", "context", out.context));
  SLUICE_ASSIGN_OR_RETURN(const Entry cluster,
                          merged.find("clusters", "cluster", text_at(chosen.fields, "cluster")));
  SLUICE_RETURN_IF_ERROR(read_cluster(cluster, out));
  if (const auto name = text_at(chosen.fields, "user"); !name.empty()) {
    SLUICE_ASSIGN_OR_RETURN(const Entry user, merged.find("users", "user", name));
    SLUICE_RETURN_IF_ERROR(read_user(user, out));
  }
  if (const auto ns = text_at(chosen.fields, "namespace"); !ns.empty()) out.ns = ns;
  return out;
}

Result<ApiAddress> find_api(const ApiOptions& options) {
  std::vector<KubeConfigText> files;
  const std::vector<std::string> paths = candidates(options);
  if (paths.empty()) {
    return fail(Code::kNotFound,
                fmt::format("no kubeconfig: `sluice up` writes one to {}; name another with "
                            "--kubeconfig or KUBECONFIG",
                            (fs::path(default_data_folder()) / "kubeconfig").string()));
  }
  for (const std::string& path : paths) {
    auto text = read_file(path, kMaxFileBytes);
    // Of several files, those that are missing are passed over.
    if (!text && paths.size() > 1 && text.error().code() == Code::kNotFound) continue;
    if (!text) return std::unexpected(std::move(text).error());
    files.push_back({path, *std::move(text)});
  }
  SLUICE_ASSIGN_OR_RETURN(ApiAddress address, read_kube_configs(files, options.context));
  if (!options.ns.empty()) address.ns = options.ns;
  return address;
}

}  // namespace sluice::cli
