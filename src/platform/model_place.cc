#include "platform/model_place.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "registry/model_files.h"
#include "registry/model_uri.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFolderEntries = 10'000;

Result<std::string> existing(const fs::path& path, std::string_view uri) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return fail(Code::kNotFound, fmt::format("{}: there is nothing at {}", uri, path.string()));
  }
  if (!fs::is_directory(status) && !fs::is_regular_file(status)) {
    return invalid(fmt::format("{}: {} is neither a file nor a folder", uri, path.string()));
  }
  return model_in(path);
}

// Whether `path` is `folder` or below it; both canonical.
bool is_within(const fs::path& path, const fs::path& folder) {
  const auto [at, ignored] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return at == folder.end();
}

}  // namespace

std::string model_in(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error) || fs::exists(path / "config.json", error)) {
    return path.string();
  }
  std::vector<std::string> files;
  size_t seen = 0;
  for (auto entry = fs::directory_iterator(path, error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (++seen > kMaxFolderEntries) return path.string();
    if (entry->path().extension() == ".gguf") files.push_back(entry->path().filename().string());
  }
  if (files.empty()) return path.string();
  std::ranges::sort(files);
  if (registry::gguf_shards(files.front()).size() != files.size()) return path.string();
  return (path / files.front()).string();
}

Result<std::string> file_model(std::string_view uri) {
  SLUICE_ASSIGN_OR_RETURN(const registry::ModelUri parsed,
                          registry::parse_model_uri(uri, registry::PlainHttp::kRefused));
  if (!parsed.path.starts_with('/')) {
    return invalid(fmt::format("{}: expected an absolute path", uri));
  }
  return existing(fs::path(parsed.path).lexically_normal(), uri);
}

Result<std::string> pvc_model(std::string_view uri, const Volumes& volumes) {
  const std::string_view rest = uri.substr(kPvcScheme.size());
  const std::string_view name = rest.substr(0, rest.find('/'));
  const auto volume = volumes.find(std::string(name));
  if (volume == volumes.end()) {
    std::vector<std::string_view> known;
    for (const auto& each : volumes) known.push_back(each.first);
    return invalid(fmt::format(
        "{}: no folder is mapped for the claim \"{}\" (mapped are: {}); map one by --volume "
        "{}=PATH",
        uri, name, known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", ")), name));
  }
  std::error_code error;
  const fs::path folder = fs::canonical(volume->second, error);
  if (error) {
    return fail(Code::kNotFound, fmt::format("{}: the folder {} of the claim \"{}\" is not there",
                                             uri, volume->second.string(), name));
  }
  const std::string_view inside = rest.substr(std::min(rest.size(), name.size() + 1));
  const fs::path path = fs::weakly_canonical(folder / fs::path(inside), error);
  if (error || !is_within(path, folder)) {
    return invalid(fmt::format("{}: the path leads out of the claim's folder", uri));
  }
  return existing(path, uri);
}

}  // namespace sluice::platform
