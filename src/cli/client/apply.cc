#include "cli/client/apply.h"

#include <fmt/format.h>

#include <iostream>
#include <optional>
#include <utility>

#include "cli/client/commands_kit.h"
#include "cli/client/wait.h"
#include "cli/client/yaml_text.h"
#include "control/json_util.h"

namespace sluice::cli {
namespace {

void print(const ApplyOptions& options, const Manifest& manifest, const AppliedObject& applied,
           bool& first) {
  const std::string name = shown_name(*manifest.type, manifest.name);
  if (options.output == "name") {
    std::cout << name << "\n";
  } else if (options.output == "json") {
    std::cout << pretty_json(applied.object);
  } else if (options.output == "yaml") {
    std::cout << (std::exchange(first, false) ? "" : "---\n") << yaml_text(applied.object);
  } else {
    std::cout << name << " " << applied_word(applied.how)
              << (options.dry_run == "server" ? " (server dry run)" : "") << "\n";
  }
  std::cout << std::flush;
}

// What changes without anybody's saying so: of a dry run nothing does.
void forget_versions(json::object& object) {
  json::object& metadata = control::object_of(object, "metadata");
  metadata.erase("managedFields");
  metadata.erase("resourceVersion");
  object.erase("status");
}

Status explained(const Status& status) {
  if (status.reason() != "Conflict") return status;
  return {status.code(),
          status.message() +
              "\nAnother manager owns the field. Leave it out, give it the same value, or take it "
              "with --force-conflicts.",
          {},
          status.reason()};
}

Outcome apply(ApiClient& api, const ApplyOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto manifests, load_manifests(options.files, options.recursive));
  Failures failures;
  std::vector<Place> places;
  bool first = true;
  for (const Manifest& manifest : manifests) {
    auto ns = namespace_of(manifest, api.address().ns, !options.api.ns.empty());
    if (!ns) {
      failures.note(ns.error());
      continue;
    }
    const auto applied = apply_manifest(api, manifest, *ns, options);
    if (!applied) {
      const Status why = explained(applied.error());
      failures.note(why.reason().empty()
                        ? why
                        : Status(why.code(), fmt::format("{} ({})", why.message(), manifest.place),
                                 {}, why.reason()));
      continue;
    }
    print(options, manifest, *applied, first);
    places.push_back({manifest.type, *std::move(ns), manifest.name});
  }
  SLUICE_RETURN_IF_ERROR(failures.outcome());
  if (!options.wait || options.dry_run == "server") return {};
  SLUICE_ASSIGN_OR_RETURN(const auto patience, parse_patience(options.timeout));
  return wait_until_ready(api, places, patience);
}

}  // namespace

std::string_view applied_word(Applied applied) {
  switch (applied) {
    case Applied::kCreated:
      return "created";
    case Applied::kConfigured:
      return "configured";
    case Applied::kUnchanged:
      return "unchanged";
  }
  return "unchanged";
}

Result<AppliedObject> apply_manifest(ApiClient& api, const Manifest& manifest,
                                     const std::string& ns, const ApplyOptions& options) {
  const std::string path = ApiClient::path_of(*manifest.type, ns, manifest.name);
  // What was there before tells created, configured and unchanged apart.
  std::optional<json::value> before;
  if (auto present = api.get(path)) {
    before = std::move(present->body);
  } else if (present.error().reason() != "NotFound") {
    return std::unexpected(std::move(present).error());
  }
  json::object object = manifest.object;
  if (manifest.type->namespaced) control::object_of(object, "metadata")["namespace"] = ns;
  // A manifest that was read from a server carries what only the server writes.
  for (const char* field :
       {"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"}) {
    control::object_of(object, "metadata").erase(field);
  }
  if (manifest.type->has_status) object.erase("status");
  QueryParts query{{"fieldManager", options.manager}, {"fieldValidation", "Strict"}};
  if (options.force_conflicts) query.emplace_back("force", "true");
  if (options.dry_run == "server") query.emplace_back("dryRun", "All");
  SLUICE_ASSIGN_OR_RETURN(ApiAnswer answer, api.send("PATCH", path, query, json::serialize(object),
                                                     "application/apply-patch+yaml"));
  AppliedObject out;
  if (answer.body.is_object()) forget_versions(answer.body.get_object());
  if (before && before->is_object()) forget_versions(before->get_object());
  out.how = !before                                    ? Applied::kCreated
            : control::same_json(*before, answer.body) ? Applied::kUnchanged
                                                       : Applied::kConfigured;
  out.object = std::move(answer.body);
  return out;
}

int run_apply(const ApplyOptions& options) {
  return with_api(options.api, [&](ApiClient& api) { return apply(api, options); });
}

}  // namespace sluice::cli
