#include "cli/model_path.h"

#include <fmt/format.h>

#include <filesystem>

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

std::string name_of(const fs::path& path) {
  const fs::path last = path.has_filename() ? path : path.parent_path();
  return last.extension() == ".gguf" ? last.stem().string() : last.filename().string();
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
    return fail(
        Code::kNotFound,
        fmt::format("'{}' is neither a file or folder nor a cached model; give a .gguf file, "
                    "a Hugging Face folder, or a name that `sluice pull` has cached",
                    path));
  }
  if (name.empty()) name = name_of(fs::absolute(path, error));
  return serving::ModelPath{.path = path, .names = {name}};
}

}  // namespace sluice::cli
