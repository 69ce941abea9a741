#include "cli/speculative_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/json.h"
#include "base/limits.h"

namespace sluice::cli {
namespace {

constexpr std::string_view kOption = "--speculative-config";
constexpr JsonLimits kLimits{.max_bytes = 4096, .max_depth = 4, .max_nodes = 64};

Status wrong(const std::string& message) {
  return {Code::kInvalidArgument, fmt::format("{}: {}", kOption, message)};
}

// Leaves `out` alone where the key is missing.
Outcome read_count(const json::object& config, std::string_view key, int least, int most,
                   int& out) {
  const json::value* value = config.if_contains(key);
  if (value == nullptr || value->is_null()) return {};
  const int64_t* number = value->if_int64();
  if (number == nullptr || *number < least || *number > most) {
    return std::unexpected(wrong(fmt::format("{} must be an integer from {} to {}; found {}", key,
                                             least, most, to_json(*value))));
  }
  out = static_cast<int>(*number);
  return {};
}

Outcome check_keys(const json::object& config) {
  for (const auto& member : config) {
    const std::string_view key = member.key();
    if (key == "method" || key == "num_speculative_tokens" || key == "prompt_lookup_min" ||
        key == "prompt_lookup_max" || key == "disable_by_batch_size") {
      continue;
    }
    return std::unexpected(wrong(fmt::format(
        "there is no key '{}'; expected method, num_speculative_tokens, prompt_lookup_min, "
        "prompt_lookup_max or disable_by_batch_size",
        key)));
  }
  return {};
}

}  // namespace

Result<engine::SpeculationOptions> parse_speculative_config(std::string_view text) {
  engine::SpeculationOptions options;
  if (text == "none") return options;
  const auto parsed = parse_json(text, kLimits);
  if (!parsed) return std::unexpected(wrong(parsed.error().message()));
  const json::object* config = parsed->if_object();
  if (config == nullptr) {
    return std::unexpected(wrong("expected none or a JSON object with a method"));
  }
  SLUICE_RETURN_IF_ERROR(check_keys(*config));
  const json::value* method = config->if_contains("method");
  if (method == nullptr || *method != "ngram") {
    return std::unexpected(wrong(fmt::format("method must be \"ngram\"; found {}",
                                             method == nullptr ? "none" : to_json(*method))));
  }
  options.max_draft = limits::kMaxDraft;
  SLUICE_RETURN_IF_ERROR(read_count(*config, "num_speculative_tokens", 1, 64, options.max_draft));
  SLUICE_RETURN_IF_ERROR(read_count(*config, "prompt_lookup_max", 1, 64, options.lookup_max));
  options.lookup_min = std::min(options.lookup_min, options.lookup_max);
  SLUICE_RETURN_IF_ERROR(read_count(*config, "prompt_lookup_min", 1, 64, options.lookup_min));
  options.lookup_max = config->contains("prompt_lookup_max")
                           ? options.lookup_max
                           : std::max(options.lookup_min, options.lookup_max);
  if (options.lookup_min > options.lookup_max) {
    return std::unexpected(wrong(fmt::format("prompt_lookup_min {} is above prompt_lookup_max {}",
                                             options.lookup_min, options.lookup_max)));
  }
  SLUICE_RETURN_IF_ERROR(
      read_count(*config, "disable_by_batch_size", 1, 1 << 16, options.max_streams));
  return options;
}

}  // namespace sluice::cli
