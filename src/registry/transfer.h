// One file into the cache, from a URL or from this machine. Used by pull() only.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/status.h"
#include "net/download.h"
#include "registry/model_cache.h"
#include "registry/pull.h"

namespace sluice::registry {

struct TransferOptions {
  const ModelCache& cache;
  const PullOptions& pull;
  net::Headers headers = {};
  std::function<bool(uint64_t done, uint64_t total)> on_progress = {};  // of this file
};

// After the failure of attempt number `attempt` (from 1): false when another one is of no use or
// not allowed; else true, after a pause.
bool try_again(const PullOptions& options, const Status& failure, int attempt);

// The name of the partial blob that a file from `url` has on its way in.
std::string partial_key(const ModelFile& file, const std::string& url);

// `file` says what is known of it; the result says everything.
Result<ModelFile> fetch_file(const TransferOptions& options, const std::string& url,
                             const ModelFile& file);

// A clone where the file system can share blocks, else a copy; never a link, since a model that
// its owner overwrites in place would change the cache.
Result<ModelFile> copy_file(const TransferOptions& options, const std::filesystem::path& from,
                            const ModelFile& file);

}  // namespace sluice::registry
