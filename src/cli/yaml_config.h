// YAML configuration files for CLI11: option names as keys, without their dashes.
#pragma once

#include <CLI/CLI.hpp>

namespace sluice::cli {

// One flat mapping of option names to scalars or lists:
//   host: 0.0.0.0
//   api-key: [first, second]
// A key that no option of `app` has is an error that names it. Environment variables win over the
// file.
class YamlConfig : public CLI::Config {
 public:
  explicit YamlConfig(const CLI::App* app) : app_(app) {}
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;
  std::string to_config(const CLI::App*, bool, bool, std::string) const override;

 private:
  const CLI::App* app_;
};

}  // namespace sluice::cli
