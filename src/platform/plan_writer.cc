#include "platform/plan_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "plan/parse.h"
#include "platform/plan_draft.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPlanBytes = 64u << 20;
constexpr size_t kSecretNameDigits = 32;

// One line for each member of a list: people read the file, and compare it.
std::string plan_text(const json::object& plan) {
  std::string out = "{";
  bool first = true;
  for (const auto& [key, value] : plan) {
    out += first ? "\n" : ",\n";
    first = false;
    out += json::serialize(json::value(key)) + ": ";
    const auto* list = value.if_array();
    if (list == nullptr || list->empty()) {
      out += json::serialize(value);
      continue;
    }
    out += "[";
    for (size_t i = 0; i < list->size(); ++i) {
      out += (i == 0 ? "\n  " : ",\n  ") + json::serialize((*list)[i]);
    }
    out += "\n]";
  }
  return out + "\n}\n";
}

bool is_secret_name(std::string_view name) {
  return name.size() == kSecretNameDigits &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// By rename, but not synced: a thousand of them at once would take as long as the disk needs to
// turn a thousand times. One that the machine's end has emptied is written anew with the next plan.
Outcome write_secret(const fs::path& folder, const SecretFile& secret) {
  const fs::path part = folder / (secret.name + ".part");
  const int fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const auto failed = [&] {
    return fail(Code::kUnavailable,
                fmt::format("{}: {}", part.string(), std::generic_category().message(errno)));
  };
  if (fd < 0) return failed();
  const ssize_t count = ::write(fd, secret.text.data(), secret.text.size());
  const bool written = count == static_cast<ssize_t>(secret.text.size());
  const bool closed = ::close(fd) == 0;
  if (!written || !closed) return failed();
  if (::rename(part.c_str(), (folder / secret.name).c_str()) != 0) return failed();
  return {};
}

Outcome write_secrets(const fs::path& folder, const std::vector<SecretFile>& secrets) {
  for (const SecretFile& each : secrets) {
    std::error_code error;
    if (fs::file_size(folder / each.name, error) == each.text.size() && !error) continue;
    SLUICE_RETURN_IF_ERROR(write_secret(folder, each));
  }
  return {};
}

// The gateway reads the plan before until it has taken the new one, so what that one names stays
// as well.
void remove_unused(const fs::path& folder, const PlanText& plan, std::string_view before) {
  std::set<std::string> used;
  for (const SecretFile& each : plan.secrets) used.insert(each.name);
  std::error_code error;
  for (auto entry = fs::directory_iterator(folder, error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!is_secret_name(name.substr(0, name.find('.'))) || used.contains(name) ||
        before.contains(name))
      continue;
    std::error_code ignored;
    fs::remove(entry->path(), ignored);
  }
}

// What is published is a plan that the gateway takes, read as it reads it: it would go on with the
// old one, and nobody would see why.
Outcome check(const PlanText& plan, const fs::path& secrets_folder) {
  std::unordered_map<std::string, std::string_view> files;
  const std::string folder = (secrets_folder / "").string();
  for (const SecretFile& each : plan.secrets) files.emplace(folder + each.name, each.text);
  const plan::SecretSource system = plan::system_secrets();
  const plan::SecretSource secrets{.environment = system.environment,
                                   .file = [&](const std::string& path) -> Result<std::string> {
                                     const auto found = files.find(path);
                                     if (found != files.end()) return std::string(found->second);
                                     return system.file(path);
                                   }};
  const auto taken = plan::plan_from_text(plan.text, "gateway.json", secrets);
  if (taken) return {};
  return fail(Code::kInternal, "the gateway would refuse the plan: " + taken.error().message());
}

}  // namespace

PlanText write_plan(const PlanInput& input, const PlanSettings& settings) {
  PlanDraft draft(input, settings);
  claim_services(draft);
  claim_graphs(draft);
  claim_providers(draft);
  add_services(draft);
  add_providers(draft);
  add_graphs(draft);
  add_tenants(draft);

  json::object plan = settings.base;
  json::array routes = std::move(draft.host_routes);
  routes.insert(routes.end(), draft.routes.begin(), draft.routes.end());
  plan["upstreams"] = std::move(draft.upstreams);
  plan["routes"] = std::move(routes);
  if (!draft.graphs.empty()) plan["graphs"] = std::move(draft.graphs);
  plan["tenants"] = std::move(draft.tenants);
  PlanText out{.text = plan_text(plan),
               .problems = std::move(draft.problems),
               .services = std::move(draft.services)};
  out.id = fmt::format("{:016x}", XXH3_64bits(out.text.data(), out.text.size()));
  if (!settings.control_url.empty()) {
    const json::object control{
        {"url", settings.control_url},
        {"token", json::object{{"file", settings.control_token_file.string()}}},
        {"plan_id", out.id}};
    out.text.insert(1, fmt::format("\n\"control\": {},", sluice::to_json(control)));
  }
  for (auto& [name, text] : draft.secrets) out.secrets.push_back({name, text});
  return out;
}

Result<bool> publish_plan(const PlanText& plan, const fs::path& file,
                          const fs::path& secrets_folder) {
  std::error_code error;
  fs::create_directories(secrets_folder, error);
  if (!error) fs::permissions(secrets_folder, fs::perms::owner_all, error);
  if (error) {
    return fail(Code::kUnavailable,
                fmt::format("{}: {}", secrets_folder.string(), error.message()));
  }
  SLUICE_RETURN_IF_ERROR(write_secrets(secrets_folder, plan.secrets));
  const auto before = read_file(file, kMaxPlanBytes);
  if (before && *before == plan.text) return false;
  SLUICE_RETURN_IF_ERROR(check(plan, secrets_folder));
  SLUICE_ASSIGN_OR_RETURN(auto out, AtomicFile::create(file, 0600));
  SLUICE_RETURN_IF_ERROR(out.write(plan.text));
  SLUICE_RETURN_IF_ERROR(out.commit());
  remove_unused(secrets_folder, plan, before ? *before : std::string());
  return true;
}

}  // namespace sluice::platform
