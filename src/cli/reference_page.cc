#include "cli/reference_page.h"

#include <fmt/format.h>

namespace sluice::cli {
namespace {

constexpr std::string_view kIntroduction =
    "# Configuration\n\n"
    "Every option of every command. A value is taken from the command line, else from the "
    "environment "
    "variable, else from\nthe YAML file that `--config` names (`serve` only; keys are option names "
    "without dashes), else it is the default.\n\n"
    "This page is the output of `sluice reference`.\n";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string cell(const std::string& text) { return text.empty() ? "" : "`" + text + "`"; }

std::string option_row(const CLI::Option& option) {
  return fmt::format("| {} | {} | {} | {} |\n", cell(escaped(option.get_name(false, true))),
                     cell(option.get_envname()), cell(escaped(option.get_default_str())),
                     escaped(option.get_description()));
}

}  // namespace

std::string reference_page(const CLI::App& app) {
  std::string out(kIntroduction);
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    out +=
        fmt::format("\n## sluice {}\n\n{}.\n\n", command->get_name(), command->get_description());
    out += "| option | environment | default | meaning |\n| --- | --- | --- | --- |\n";
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_name() != "--help") out += option_row(*option);
    }
  }
  return out;
}

}  // namespace sluice::cli
