#include "cli/speculative_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>
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

// The method's own keys; both methods know the common ones.
constexpr std::array<std::string_view, 3> kCommon = {"method", "num_speculative_tokens",
                                                     "disable_by_batch_size"};
constexpr std::array<std::string_view, 2> kNgram = {"prompt_lookup_min", "prompt_lookup_max"};
constexpr std::array<std::string_view, 1> kDraftModel = {"model"};

Outcome check_keys(const json::object& config, std::string_view method,
                   std::span<const std::string_view> own) {
  for (const auto& member : config) {
    const std::string_view key = member.key();
    if (std::ranges::find(kCommon, key) != kCommon.end()) continue;
    if (std::ranges::find(own, key) != own.end()) continue;
    return std::unexpected(wrong(fmt::format("method {} has no key '{}'; expected {} or {}", method,
                                             key, fmt::join(kCommon, ", "), fmt::join(own, ", "))));
  }
  return {};
}

Outcome read_lookup(const json::object& config, engine::SpeculationOptions& options) {
  SLUICE_RETURN_IF_ERROR(read_count(config, "prompt_lookup_max", 1, 64, options.lookup_max));
  options.lookup_min = std::min(options.lookup_min, options.lookup_max);
  SLUICE_RETURN_IF_ERROR(read_count(config, "prompt_lookup_min", 1, 64, options.lookup_min));
  options.lookup_max = config.contains("prompt_lookup_max")
                           ? options.lookup_max
                           : std::max(options.lookup_min, options.lookup_max);
  if (options.lookup_min > options.lookup_max) {
    return std::unexpected(wrong(fmt::format("prompt_lookup_min {} is above prompt_lookup_max {}",
                                             options.lookup_min, options.lookup_max)));
  }
  return {};
}

Outcome read_draft_model(const json::object& config, SpeculativeConfig& out) {
  const json::value* model = config.if_contains("model");
  const json::string* name = model == nullptr ? nullptr : model->if_string();
  if (name == nullptr || name->empty()) {
    return std::unexpected(wrong("method draft_model needs a model: the small model's file"));
  }
  out.draft_model = std::string(*name);
  out.options.method = engine::DraftMethod::kModel;
  return {};
}

}  // namespace

Result<SpeculativeConfig> parse_speculative_config(std::string_view text) {
  SpeculativeConfig result;
  if (text == "none") return result;
  const auto parsed = parse_json(text, kLimits);
  if (!parsed) return std::unexpected(wrong(parsed.error().message()));
  const json::object* config = parsed->if_object();
  if (config == nullptr) {
    return std::unexpected(wrong("expected none or a JSON object with a method"));
  }
  const json::value* method = config->if_contains("method");
  const bool ngram = method != nullptr && *method == "ngram";
  if (!ngram && (method == nullptr || *method != "draft_model")) {
    return std::unexpected(wrong(fmt::format(R"(method must be "ngram" or "draft_model"; found {})",
                                             method == nullptr ? "none" : to_json(*method))));
  }
  engine::SpeculationOptions& options = result.options;
  options.max_draft = limits::kMaxDraft;
  if (ngram) {
    SLUICE_RETURN_IF_ERROR(check_keys(*config, "ngram", kNgram));
    SLUICE_RETURN_IF_ERROR(read_lookup(*config, options));
  } else {
    SLUICE_RETURN_IF_ERROR(check_keys(*config, "draft_model", kDraftModel));
    SLUICE_RETURN_IF_ERROR(read_draft_model(*config, result));
  }
  SLUICE_RETURN_IF_ERROR(read_count(*config, "num_speculative_tokens", 1, 64, options.max_draft));
  SLUICE_RETURN_IF_ERROR(
      read_count(*config, "disable_by_batch_size", 1, 1 << 16, options.max_streams));
  return result;
}

}  // namespace sluice::cli
