#include "cli/model_path.h"

#include <fmt/format.h>

#include <filesystem>

#include "registry/model_cache.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

std::string name_of(const fs::path& path) {
  const fs::path last = path.has_filename() ? path : path.parent_path();
  return last.extension() == ".gguf" ? last.stem().string() : last.filename().string();
}

Result<fs::path> find_cached(const std::string& name) {
  if (const auto cache = registry::ModelCache::of_environment()) {
    auto found = cache->resolve(name);
    if (found || found.error().code() != Code::kNotFound) return found;
  }
  return fail(Code::kNotFound,
              fmt::format("'{}' is neither a file or folder nor a cached model; give a .gguf file, "
                          "a Hugging Face folder, or a name that `sluice pull` has cached",
                          name));
}

}  // namespace

Result<serving::ModelPath> resolve_model(const std::string& given) {
  std::error_code error;
  std::string path = given;
  std::string name;
  const size_t at = given.rfind('=');
  if (at != std::string::npos && !fs::exists(given, error)) {
    path = given.substr(0, at);
    name = given.substr(at + 1);
    if (name.empty()) return invalid(fmt::format("'{}': the name behind '=' is empty", given));
  }
  if (!fs::exists(path, error)) {
    SLUICE_ASSIGN_OR_RETURN(const fs::path cached, find_cached(path));
    return serving::ModelPath{.path = cached, .names = {name.empty() ? path : name}};
  }
  if (name.empty()) name = name_of(fs::absolute(path, error));
  return serving::ModelPath{.path = path, .names = {name}};
}

}  // namespace sluice::cli
