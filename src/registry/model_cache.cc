#include "registry/model_cache.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "base/files.h"
#include "base/log.h"
#include "registry/digest.h"
#include "registry/names.h"

namespace sluice::registry {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxManifestBytes = 1u << 20;
constexpr size_t kMaxListed = 10'000;
constexpr std::string_view kJson = ".json";

std::string_view hex_of(const std::string& digest) {
  return std::string_view(digest).substr(std::string_view("sha256:").size());
}

std::unexpected<Status> os_failure(std::string_view what, const fs::path& path,
                                   const std::error_code& error) {
  return fail(Code::kFailedPrecondition,
              fmt::format("{} {}: {}", what, path.string(), error.message()));
}

// "../../blobs/sha256-<hex>", as seen from where the file lies.
fs::path link_target(const ModelFile& file) {
  std::string target = "../../";
  for (const char c : file.path) {
    if (c == '/') target += "../";
  }
  return target + "blobs/sha256-" + std::string(hex_of(file.digest));
}

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

}  // namespace

Result<ModelCache> ModelCache::of_environment() {
  if (const char* own = variable("SLUICE_CACHE")) return ModelCache(fs::path(own));
  if (const char* xdg = variable("XDG_CACHE_HOME")) return ModelCache(fs::path(xdg) / "sluice");
  if (const char* home = variable("HOME")) return ModelCache(fs::path(home) / ".cache" / "sluice");
  return fail(Code::kFailedPrecondition,
              "where is the model cache? Set SLUICE_CACHE (XDG_CACHE_HOME and HOME are unset too)");
}

fs::path ModelCache::blob_path(const std::string& digest) const {
  return root_ / "blobs" / fmt::format("sha256-{}", hex_of(digest));
}

fs::path ModelCache::name_path(std::string_view name) const {
  std::string file;
  for (const char c : name) {
    if (c == '/') {
      file += "%2F";
    } else {
      file += c;
    }
  }
  return root_ / "names" / (file + std::string(kJson));
}

fs::path ModelCache::snapshot_path(const Manifest& manifest) const {
  return root_ / "snapshots" / hex_of(manifest.content_digest());
}

Outcome ModelCache::create_folders() const {
  for (const char* folder : {"blobs/partial", "names", "snapshots"}) {
    std::error_code error;
    fs::create_directories(root_ / folder, error);
    if (error) return os_failure("cannot create", root_ / folder, error);
  }
  return {};
}

std::optional<uint64_t> ModelCache::blob_bytes(const ModelFile& file) const {
  if (file.digest.empty()) return std::nullopt;
  const fs::path path = blob_path(file.digest);
  std::error_code error;
  // A link in place of a blob could lead anywhere.
  if (!fs::is_regular_file(fs::symlink_status(path, error)) || error) return std::nullopt;
  const uint64_t bytes = fs::file_size(path, error);
  if (error || (file.bytes != 0 && bytes != file.bytes)) return std::nullopt;
  return bytes;
}

Result<PartialBlob> ModelCache::begin_blob(const std::string& key,
                                           const std::function<void()>& on_wait) const {
  SLUICE_RETURN_IF_ERROR(check_file_path(key));
  SLUICE_RETURN_IF_ERROR(create_folders());
  return PartialBlob::open(root_ / "blobs" / "partial" / key, on_wait);
}

uint64_t ModelCache::partial_bytes(const std::string& key) const {
  std::error_code none;
  const auto bytes = std::filesystem::file_size(root_ / "blobs" / "partial" / key, none);
  return none ? 0 : bytes;
}

Result<ModelFile> ModelCache::finish_blob(PartialBlob blob, const ModelFile& expected) const {
  const auto mismatch = [&](std::string_view what, auto wanted, auto found) {
    return fail(Code::kDataLoss,
                fmt::format("{}: {} {} expected, {} found; what came was thrown away",
                            shown(expected.path), what, wanted, found));
  };
  ModelFile stored{.path = expected.path, .bytes = blob.bytes()};
  if (expected.bytes != 0 && stored.bytes != expected.bytes) {
    SLUICE_RETURN_IF_ERROR(blob.discard());
    return mismatch("size", expected.bytes, stored.bytes);
  }
  SLUICE_ASSIGN_OR_RETURN(stored.digest, sha256_file(blob.path()));
  if (!expected.digest.empty() && stored.digest != expected.digest) {
    SLUICE_RETURN_IF_ERROR(blob.discard());
    return mismatch("checksum", expected.digest, stored.digest);
  }
  SLUICE_RETURN_IF_ERROR(blob.publish(blob_path(stored.digest)));
  return stored;
}

Outcome ModelCache::check_snapshot(const Manifest& manifest) const {
  const fs::path folder = snapshot_path(manifest);
  for (const ModelFile& file : manifest.files) {
    std::error_code error;
    const fs::path target = fs::read_symlink(folder / file.path, error);
    if (error || target != link_target(file) || !blob_bytes(file)) {
      return fail(Code::kDataLoss,
                  fmt::format("the cached model \"{}\" is damaged: its {} is missing or not of {} "
                              "bytes; pull it again from {}",
                              manifest.name, file.path, file.bytes, shown(manifest.source)));
    }
  }
  return {};
}

Outcome ModelCache::make_snapshot(const Manifest& manifest) const {
  const fs::path folder = snapshot_path(manifest);
  const fs::path building = folder.string() + ".new";
  std::error_code error;
  fs::remove_all(building, error);
  for (const ModelFile& file : manifest.files) {
    const fs::path link = building / file.path;
    fs::create_directories(link.parent_path(), error);
    if (!error) fs::create_symlink(link_target(file), link, error);
    if (error) return os_failure("cannot create", link, error);
  }
  fs::remove_all(folder, error);  // a damaged one
  fs::rename(building, folder, error);
  if (error) return os_failure("cannot create", folder, error);
  return {};
}

Outcome ModelCache::commit(const Manifest& manifest) const {
  SLUICE_RETURN_IF_ERROR(check_model_name(manifest.name));
  SLUICE_RETURN_IF_ERROR(create_folders());
  SLUICE_ASSIGN_OR_RETURN(const net::Fd lock, lock_file(root_ / "lock", {}));
  if (!check_snapshot(manifest)) SLUICE_RETURN_IF_ERROR(make_snapshot(manifest));
  SLUICE_RETURN_IF_ERROR(check_snapshot(manifest));
  return write_file_atomically(name_path(manifest.name), manifest_text(manifest));
}

Result<Manifest> ModelCache::read_manifest(const fs::path& path) const {
  SLUICE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxManifestBytes));
  auto manifest = parse_manifest(text);
  if (!manifest) return std::unexpected(manifest.error().at(path.string()));
  return manifest;
}

Result<fs::path> ModelCache::resolve(std::string_view name) const {
  if (!check_model_name(name)) {
    return fail(Code::kNotFound, fmt::format("no cached model is called \"{}\"", shown(name)));
  }
  std::error_code ignored;
  const fs::path path = name_path(name);
  if (!fs::exists(path, ignored)) {
    return fail(Code::kNotFound, fmt::format("no cached model is called \"{}\"", name));
  }
  SLUICE_ASSIGN_OR_RETURN(const Manifest manifest, read_manifest(path));
  SLUICE_RETURN_IF_ERROR(check_snapshot(manifest));
  const std::string& first = manifest.files.front().path;
  const fs::path folder = snapshot_path(manifest);
  return first.ends_with(".gguf") ? folder / first : folder;
}

std::vector<Manifest> ModelCache::list() const {
  std::vector<Manifest> found;
  std::error_code error;
  for (fs::directory_iterator it(root_ / "names", error), end;
       !error && it != end && found.size() < kMaxListed; it.increment(error)) {
    if (it->path().extension() != kJson) continue;
    auto manifest = read_manifest(it->path());
    if (manifest && name_path(manifest->name) == it->path()) {
      found.push_back(std::move(*manifest));
    } else {
      log_warn("cached model left out: {}",
               manifest ? it->path().string() + " has another name" : manifest.error().message());
    }
  }
  std::ranges::sort(found, {}, &Manifest::name);
  return found;
}

Result<uint64_t> ModelCache::free_bytes() const {
  SLUICE_RETURN_IF_ERROR(create_folders());
  struct statvfs info{};
  if (::statvfs(root_.c_str(), &info) != 0) {
    return fail(Code::kFailedPrecondition,
                net::errno_text("cannot look at " + root_.string(), errno));
  }
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace sluice::registry
