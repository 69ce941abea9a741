#include "cli/pull.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "base/json.h"
#include "base/log.h"
#include "base/sizes.h"
#include "cli/progress_line.h"
#include "registry/model_cache.h"
#include "registry/pull.h"

namespace sluice::cli {
namespace {

using registry::Manifest;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

registry::PullOptions pull_options(const PullCliOptions& options, ProgressLine& line) {
  registry::PullOptions out;
  out.name = options.name;
  out.checksum = options.checksum;
  if (options.allow_http) out.plain_http = registry::PlainHttp::kAllowed;
  if (const std::string endpoint = variable("HF_ENDPOINT"); !endpoint.empty()) {
    out.hub.endpoint = endpoint;
  }
  out.hub.token = variable("HF_TOKEN");
  out.on_note = [&line](const std::string& text) { line.note(text); };
  out.on_progress = [&line](const registry::PullProgress& progress) {
    line.show(progress.file, progress.done, progress.total);
    return true;
  };
  return out;
}

json::object described(const Manifest& manifest) {
  json::array files;
  for (const registry::ModelFile& file : manifest.files) {
    files.push_back({{"path", file.path}, {"digest", file.digest}, {"bytes", file.bytes}});
  }
  return {{"name", manifest.name},
          {"source", manifest.source},
          {"revision", manifest.revision},
          {"bytes", manifest.bytes()},
          {"files", std::move(files)}};
}

Outcome list(const registry::ModelCache& cache, const PullCliOptions& options) {
  json::array all;
  for (const Manifest& manifest : cache.list()) {
    if (options.output == "json") {
      all.push_back(described(manifest));
    } else {
      std::cout << fmt::format("{:<40} {:>10}  {}\n", manifest.name,
                               show_size(static_cast<int64_t>(manifest.bytes())), manifest.source);
    }
  }
  if (options.output == "json") std::cout << to_json(all) << "\n";
  return {};
}

Outcome pull(const PullCliOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto cache, registry::ModelCache::of_environment());
  if (options.list) return list(cache, options);
  if (options.source.empty()) {
    return invalid("pull: SOURCE is expected: a path, https://…, hf://owner/model; or --list");
  }
  ProgressLine line;
  const auto result = registry::pull(cache, options.source, pull_options(options, line));
  line.clear();
  if (!result) return std::unexpected(result.error());
  const Manifest& manifest = result->manifest;
  if (options.output == "json") {
    json::object out = described(manifest);
    out["path"] = result->path.string();
    out["fetched_bytes"] = result->fetched_bytes;
    std::cout << to_json(out) << "\n";
    return {};
  }
  for (const registry::ModelFile& file : manifest.files) {
    std::cout << fmt::format("{:<40} {:>10}  {}\n", file.path,
                             show_size(static_cast<int64_t>(file.bytes)), file.digest);
  }
  std::cout << fmt::format("{} is cached ({} fetched). To serve it: sluice serve {}\n",
                           manifest.name, show_size(static_cast<int64_t>(result->fetched_bytes)),
                           manifest.name);
  return {};
}

}  // namespace

int run_pull(const PullCliOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  const Outcome outcome = pull(options);
  if (outcome) return 0;
  log_error("{}", outcome.error().message());
  return 1;
}

}  // namespace sluice::cli
