// ModelCache: models on this machine by name, their bytes stored once under their digest.
//
//   blobs/sha256-<hex>            a file's bytes, read-only
//   blobs/partial/<key>           on the way in (see partial_blob.h)
//   names/<name>.json             Manifest; '/' in the name is written %2F
//   snapshots/<hex>/<file path>   links to the blobs, laid out as the model's formats want it
//   lock                          held while a name is written
//
// Any number of threads and processes may use one cache. Readers take no lock: a name is replaced
// in one step, and blobs and snapshots never change once they are there. Instances are values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "registry/manifest.h"
#include "registry/partial_blob.h"

namespace sluice::registry {

class ModelCache {
 public:
  explicit ModelCache(std::filesystem::path root) : root_(std::move(root)) {}

  // At $SLUICE_CACHE, else $XDG_CACHE_HOME/sluice, else $HOME/.cache/sluice.
  static Result<ModelCache> of_environment();

  const std::filesystem::path& root() const { return root_; }

  // The GGUF (of several shards the first) or the folder that `name` stands for. kNotFound when
  // nothing has that name; kDataLoss when files are missing or of another size (bytes are not
  // hashed again).
  Result<std::filesystem::path> resolve(std::string_view name) const;

  // By name. Manifests that cannot be read are left out and logged.
  std::vector<Manifest> list() const;

  // The size of the file's blob; nothing when it is not there, is not of `file.bytes` (unless
  // that is 0), or the file has no digest.
  std::optional<uint64_t> blob_bytes(const ModelFile& file) const;

  // The partial blob of `key` (a file name), locked. Creates the cache's folders.
  Result<PartialBlob> begin_blob(const std::string& key,
                                 const std::function<void()>& on_wait) const;

  // What lies there already of `key`, whoever holds it.
  uint64_t partial_bytes(const std::string& key) const;

  // Hashes the bytes and stores them. They are thrown away, and it is kDataLoss, when they are not
  // those that `expected` says (as far as it says); its path is for the message.
  Result<ModelFile> finish_blob(PartialBlob blob, const ModelFile& expected) const;

  // Makes `manifest.name` stand for those files, whose blobs are stored.
  Outcome commit(const Manifest& manifest) const;

  // Of the file system that holds the cache, for this user.
  Result<uint64_t> free_bytes() const;

 private:
  std::filesystem::path blob_path(const std::string& digest) const;
  std::filesystem::path name_path(std::string_view name) const;
  std::filesystem::path snapshot_path(const Manifest& manifest) const;
  Outcome create_folders() const;
  Outcome check_snapshot(const Manifest& manifest) const;
  Outcome make_snapshot(const Manifest& manifest) const;
  Result<Manifest> read_manifest(const std::filesystem::path& path) const;

  std::filesystem::path root_;
};

}  // namespace sluice::registry
