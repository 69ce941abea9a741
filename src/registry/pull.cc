#include "registry/pull.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "net/url.h"
#include "registry/digest.h"
#include "registry/names.h"
#include "registry/transfer.h"

namespace sluice::registry {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFolderEntries = 10'000;

// Where each file of the model comes from.
struct Plan {
  ModelUri uri;
  Manifest manifest;              // name, source, revision
  std::vector<ModelFile> files;   // as far as they are known
  std::vector<std::string> from;  // for each file: URL, or path when local
  net::Headers headers;
};

// A folder's files; links count when they stay inside.
Result<std::vector<ModelFile>> list_folder(const fs::path& folder) {
  std::vector<ModelFile> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (files.size() == kMaxFolderEntries) {
      return fail(Code::kTooLarge,
                  fmt::format("{} has more than {} files", folder.string(), kMaxFolderEntries));
    }
    std::error_code ignored;
    if (!it->is_regular_file(ignored)) continue;
    files.push_back({.path = it->path().filename().string(),
                     .bytes = static_cast<uint64_t>(it->file_size(ignored))});
  }
  if (error) {
    return fail(Code::kNotFound,
                fmt::format("cannot read {}: {}", folder.string(), error.message()));
  }
  return files;
}

// A file of `folder` that is really there, and not a link to somewhere else.
Outcome check_inside(const fs::path& folder, const std::string& name) {
  std::error_code error;
  const fs::path home = fs::canonical(folder, error);
  const fs::path real = error ? fs::path() : fs::canonical(folder / name, error);
  if (!error && real.parent_path() == home) return {};
  return fail(Code::kPermissionDenied,
              fmt::format("{} is a link out of its folder; name the file itself, or copy the "
                          "folder with its links followed (cp -rL)",
                          (folder / name).string()),
              "source");
}

Outcome plan_local(Plan& plan) {
  const fs::path given(plan.uri.path);
  std::error_code error;
  if (!fs::exists(given, error)) {
    return fail(Code::kNotFound, fmt::format("there is no file or folder {}", given.string()),
                "source");
  }
  const bool is_folder = fs::is_directory(given, error);
  const fs::path folder = is_folder                     ? given
                          : given.parent_path().empty() ? "."
                                                        : given.parent_path();
  const std::string asked = is_folder ? "" : given.filename().string();
  if (is_folder || gguf_shards(asked).size() > 1) {
    SLUICE_ASSIGN_OR_RETURN(const auto all, list_folder(folder));
    SLUICE_ASSIGN_OR_RETURN(plan.files, choose_files(all, asked));
  } else {
    if (!asked.ends_with(".gguf")) {
      return invalid(
          fmt::format("{}: a .gguf file or a Hugging Face folder is expected", given.string()),
          "source");
    }
    SLUICE_ASSIGN_OR_RETURN(
        plan.files, choose_files({{.path = asked, .bytes = fs::file_size(given, error)}}, asked));
  }
  for (const ModelFile& file : plan.files) {
    // The one that was named may be a link: whoever named it meant it.
    if (file.path != asked) SLUICE_RETURN_IF_ERROR(check_inside(folder, file.path));
    plan.from.push_back((folder / file.path).string());
  }
  plan.manifest.source = shown(fs::absolute(given, error).lexically_normal().string());
  return {};
}

void plan_url(Plan& plan) {
  plan.files = {{.path = plan.uri.file}};
  plan.from = {plan.uri.url};
  plan.manifest.source = plan.uri.url.substr(0, plan.uri.url.find('?'));  // queries hold keys
}

Result<net::HttpResponse> fetch_document(const PullOptions& options, const net::Headers& headers,
                                         const std::string& url) {
  net::DownloadOptions transfer;
  transfer.headers = headers;
  transfer.allow_http = options.plain_http == PlainHttp::kAllowed;
  for (int attempt = 1;; ++attempt) {
    auto answer = net::fetch_url(url, transfer);
    const bool busy = answer && (answer->status >= 500 || answer->status == 429);
    if (answer && !busy) return answer;
    const Status failure =
        busy ? Status(Code::kUnavailable, fmt::format("the hub answered {}", answer->status))
             : answer.error();
    if (!try_again(options, failure, attempt)) return std::unexpected(failure);
  }
}

Outcome plan_hub(const PullOptions& options, Plan& plan) {
  HubOptions hub = options.hub;
  hub.plain_http = options.plain_http;
  while (hub.endpoint.ends_with('/')) hub.endpoint.pop_back();
  SLUICE_RETURN_IF_ERROR(check_hub(hub));
  plan.headers = hub_headers(hub);
  SLUICE_ASSIGN_OR_RETURN(const HubListing listing,
                          list_hub_files(hub, plan.uri, [&](const std::string& url) {
                            return fetch_document(options, plan.headers, url);
                          }));
  SLUICE_ASSIGN_OR_RETURN(plan.files, choose_files(listing.files, plan.uri.file));
  for (const ModelFile& file : plan.files) {
    plan.from.push_back(hub_file_url(hub, plan.uri, listing.commit, file.path));
  }
  plan.manifest.revision = listing.commit;
  plan.manifest.source = fmt::format("hf://{}:{}", plan.uri.repository, plan.uri.revision);
  if (!plan.uri.file.empty()) plan.manifest.source += "/" + plan.uri.file;
  return {};
}

Result<std::string> choose_name(const ModelUri& uri, const PullOptions& options) {
  const std::string& name = options.name.empty() ? uri.name : options.name;
  if (name.empty()) return invalid("this source suggests no name; give one by --name", "name");
  SLUICE_RETURN_IF_ERROR(check_model_name(name));
  return name;
}

Outcome apply_checksum(const PullOptions& options, Plan& plan) {
  if (options.checksum.empty()) return {};
  SLUICE_ASSIGN_OR_RETURN(const std::string digest, parse_digest(options.checksum));
  if (plan.files.size() != 1) {
    return invalid(fmt::format("--checksum is of one file; this model has {}", plan.files.size()),
                   "checksum");
  }
  std::string& known = plan.files.front().digest;
  if (!known.empty() && known != digest) {
    return fail(Code::kDataLoss,
                fmt::format("{}: checksum {} expected, the hub lists {}",
                            shown(plan.files.front().path), digest, known),
                "checksum");
  }
  known = digest;
  return {};
}

Outcome check_room(const ModelCache& cache, const Plan& plan) {
  uint64_t wanted = 0;  // no overflow: choose_files() bounds sizes and their number
  for (size_t i = 0; i < plan.files.size(); ++i) {
    const ModelFile& file = plan.files[i];
    if (cache.blob_bytes(file)) continue;
    wanted +=
        file.bytes - std::min(file.bytes, cache.partial_bytes(partial_key(file, plan.from[i])));
  }
  SLUICE_ASSIGN_OR_RETURN(const uint64_t free, cache.free_bytes());
  if (wanted <= free) return {};
  return fail(Code::kFailedPrecondition,
              fmt::format("the disk is too full: {} bytes are to be fetched, {} are free in {}; "
                          "make room, or set SLUICE_CACHE to a folder elsewhere",
                          wanted, free, cache.root().string()));
}

Status hub_hint(const Status& failure) {
  if (failure.code() != Code::kUnauthenticated && failure.code() != Code::kPermissionDenied) {
    return failure;
  }
  return {
      failure.code(),
      failure.message() + "; set HF_TOKEN to one that may read it, and accept the model's terms"};
}

// Whether these credentials may read the file: its bytes may have come here by others. False: that
// shows by fetching it only.
Result<bool> may_read(const PullOptions& options, const Plan& plan, size_t index) {
  if (!options.prove_access || plan.uri.kind != SourceKind::kHub) return true;
  net::Headers headers = plan.headers;
  headers.emplace_back("Range", "bytes=0-0");
  const auto answer = fetch_document(options, headers, plan.from[index]);
  if (!answer) {
    // A server that does not know ranges.
    if (answer.error().code() == Code::kTooLarge) return false;
    return std::unexpected(answer.error());
  }
  if (answer->status == 200 || answer->status == 206) return true;
  const bool refused = answer->status == 401 || answer->status == 403 || answer->status == 404;
  return std::unexpected(
      hub_hint({refused ? Code::kPermissionDenied : Code::kUnavailable,
                fmt::format("{}: asked whether it may be read, the hub answered {}",
                            shown(plan.files[index].path), answer->status)}));
}

Result<ModelFile> transfer_one(const ModelCache& cache, const PullOptions& options,
                               const Plan& plan, size_t index, uint64_t before, uint64_t total) {
  const ModelFile& file = plan.files[index];
  TransferOptions transfer{.cache = cache, .pull = options, .headers = plan.headers};
  if (options.on_progress) {
    transfer.on_progress = [&, before, total](uint64_t done, uint64_t size) {
      return options.on_progress({.file = file.path,
                                  .done = before + done,
                                  .total = plan.files.size() == 1 ? std::max(total, size) : total});
    };
  }
  if (plan.uri.kind == SourceKind::kLocal) return copy_file(transfer, plan.from[index], file);
  auto stored = fetch_file(transfer, plan.from[index], file);
  if (stored || plan.uri.kind != SourceKind::kHub) return stored;
  return std::unexpected(hub_hint(stored.error()));
}

Result<PullResult> carry_out(const ModelCache& cache, const PullOptions& options, Plan plan) {
  SLUICE_RETURN_IF_ERROR(check_room(cache, plan));
  PullResult result{.manifest = std::move(plan.manifest)};
  uint64_t total = 0;
  for (const ModelFile& file : plan.files) total += file.bytes;
  uint64_t done = 0;
  for (size_t i = 0; i < plan.files.size(); ++i) {
    const auto had = cache.blob_bytes(plan.files[i]);
    bool usable = had.has_value();
    if (usable) {
      SLUICE_ASSIGN_OR_RETURN(usable, may_read(options, plan, i));
    }
    Result<ModelFile> stored = plan.files[i];
    if (usable) {
      stored->bytes = *had;
    } else {
      stored = transfer_one(cache, options, plan, i, done, total);
      if (!stored) return std::unexpected(stored.error());
      result.fetched_bytes += stored->bytes;
    }
    done += stored->bytes;
    result.manifest.files.push_back(std::move(*stored));
    const bool go_on = !options.on_progress ||
                       options.on_progress({plan.files[i].path, done, std::max(total, done)});
    if (!go_on) return fail(Code::kCancelled, "the pull was stopped");
  }
  SLUICE_RETURN_IF_ERROR(cache.commit(result.manifest));
  SLUICE_ASSIGN_OR_RETURN(result.path, cache.resolve(result.manifest.name));
  return result;
}

}  // namespace

Result<PullResult> pull(const ModelCache& cache, std::string_view source,
                        const PullOptions& options) {
  Plan plan;
  SLUICE_ASSIGN_OR_RETURN(plan.uri, parse_model_uri(source, options.plain_http));
  SLUICE_ASSIGN_OR_RETURN(plan.manifest.name, choose_name(plan.uri, options));
  switch (plan.uri.kind) {
    case SourceKind::kLocal:
      SLUICE_RETURN_IF_ERROR(plan_local(plan));
      break;
    case SourceKind::kUrl:
      plan_url(plan);
      break;
    case SourceKind::kHub:
      SLUICE_RETURN_IF_ERROR(plan_hub(options, plan));
      break;
  }
  SLUICE_RETURN_IF_ERROR(apply_checksum(options, plan));
  return carry_out(cache, options, std::move(plan));
}

}  // namespace sluice::registry
