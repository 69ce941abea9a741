#include "cli/yaml_config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <iterator>

namespace sluice::cli {
namespace {

constexpr size_t kMaxConfigBytes = 1u << 20;

std::vector<std::string> scalars(const YAML::Node& node, const std::string& key) {
  if (node.IsScalar()) return {node.Scalar()};
  if (!node.IsSequence()) {
    throw CLI::FileError(fmt::format("the value of '{}' must be a scalar or a list", key));
  }
  std::vector<std::string> values;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) {
      throw CLI::FileError(fmt::format("the entries of '{}' must be scalars", key));
    }
    values.push_back(item.Scalar());
  }
  return values;
}

}  // namespace

// CLI11 reports failures by its own exceptions, which its parse() hands to our caller.
std::vector<CLI::ConfigItem> YamlConfig::from_config(std::istream& input) const {
  std::string text(std::istreambuf_iterator<char>(input), {});
  if (text.size() > kMaxConfigBytes) {
    throw CLI::FileError(fmt::format("the file has more than {} bytes", kMaxConfigBytes));
  }
  YAML::Node root;
  try {
    root = YAML::Load(text);
  } catch (const YAML::Exception& e) {
    throw CLI::FileError(fmt::format("line {}: {}", e.mark.line + 1, e.msg));
  }
  std::vector<CLI::ConfigItem> items;
  if (root.IsNull()) return items;
  if (!root.IsMap()) throw CLI::FileError("the file must be a mapping of option names to values");
  for (const auto& entry : root) {
    const std::string key = entry.first.Scalar();
    const CLI::Option* option = app_->get_option_no_throw("--" + key);
    if (option == nullptr || key == "config" || key == "help") {
      throw CLI::FileError(
          fmt::format("line {}: there is no option '{}'", entry.first.Mark().line + 1, key));
    }
    if (!option->get_envname().empty() && std::getenv(option->get_envname().c_str()) != nullptr) {
      continue;
    }
    CLI::ConfigItem item;
    item.name = key;
    item.inputs = scalars(entry.second, key);
    items.push_back(std::move(item));
  }
  return items;
}

std::string YamlConfig::to_config(const CLI::App*, bool, bool, std::string) const { return {}; }

}  // namespace sluice::cli
