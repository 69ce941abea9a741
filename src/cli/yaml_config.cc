#include "cli/yaml_config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "base/files.h"

namespace sluice::cli {
namespace {

constexpr size_t kMaxConfigBytes = 1u << 20;

YAML::Node load(const std::string& path) {
  const auto text = read_file(path, kMaxConfigBytes);
  if (!text) throw CLI::FileError(text.error().message());
  try {
    return YAML::Load(*text);
  } catch (const YAML::Exception& e) {
    throw CLI::FileError(fmt::format("{}, line {}: {}", path, e.mark.line + 1, e.msg));
  }
}

std::vector<std::string> scalars(const YAML::Node& node, const std::string& place) {
  if (node.IsScalar()) return {node.Scalar()};
  std::vector<std::string> values;
  if (!node.IsSequence()) throw CLI::FileError(place + ": expected a scalar or a list");
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) throw CLI::FileError(place + ": the list's entries must be scalars");
    values.push_back(item.Scalar());
  }
  return values;
}

}  // namespace

void apply_yaml(CLI::App& app, const std::string& path) {
  const YAML::Node root = load(path);
  if (root.IsNull()) return;
  if (!root.IsMap()) {
    throw CLI::FileError(path + ": expected a mapping of option names to values");
  }
  for (const auto& entry : root) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
    const std::string place =
        fmt::format("{}, line {}, '{}'", path, entry.first.Mark().line + 1, key);
    CLI::Option* option = app.get_option_no_throw("--" + key);
    if (option == nullptr || key == "config" || key == "help") {
      throw CLI::FileError(place + ": there is no such option");
    }
    const std::vector<std::string> values = scalars(entry.second, place);
    if (option->count() > 0) continue;
    for (const std::string& value : values) option->add_result(value);
    option->run_callback();
  }
}

}  // namespace sluice::cli
