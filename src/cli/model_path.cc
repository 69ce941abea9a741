#include "cli/model_path.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "registry/model_cache.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

std::string name_of(const fs::path& path) {
  const fs::path last = path.has_filename() ? path : path.parent_path();
  return last.extension() == ".gguf" ? last.stem().string() : last.filename().string();
}

// "…-00002-of-00003.gguf": it comes with the first.
bool is_further_part(std::string_view stem) {
  constexpr std::string_view kForm = "-00000-of-00000";
  if (stem.size() <= kForm.size()) return false;
  const std::string_view end = stem.substr(stem.size() - kForm.size());
  for (size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = end[i] >= '0' && end[i] <= '9';
    if (kForm[i] == '0' ? !digit : end[i] != kForm[i]) return false;
  }
  return end.substr(1, 5) != "00001";
}

bool is_model(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return fs::exists(path / "config.json", error);
  return path.extension() == ".gguf" && fs::is_regular_file(path, error) &&
         !is_further_part(path.stem().string());
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

Result<std::vector<serving::ModelPath>> models_in(const fs::path& folder) {
  std::vector<serving::ModelPath> models;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const fs::path& path = entries->path();
    if (!is_model(path)) continue;
    if (models.size() >= kMaxRepositoryModels) {
      return invalid(
          fmt::format("{} holds more than {} models", folder.string(), kMaxRepositoryModels),
          "model-repository");
    }
    models.push_back({.path = path, .names = {name_of(path)}});
  }
  if (error) {
    return fail(Code::kNotFound,
                fmt::format("--model-repository {}: {}", folder.string(), error.message()));
  }
  if (models.empty()) {
    return fail(Code::kNotFound,
                fmt::format("--model-repository {} holds no model: a .gguf file, or a folder with "
                            "a config.json",
                            folder.string()));
  }
  std::ranges::sort(models, {},
                    [](const serving::ModelPath& model) { return model.names.front(); });
  return models;
}

}  // namespace sluice::cli
