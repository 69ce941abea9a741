#include "api/openai_fields.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>

#include "base/limits.h"

namespace sluice::api {
namespace {

// Present and asking for something: not null, false, "none", "auto" with nothing to choose from, or
// empty.
bool asks(const json::value* value) {
  if (value == nullptr) return false;
  if (value->is_bool()) return value->get_bool();
  if (value->is_array()) return !value->get_array().empty();
  if (value->is_string()) return value->get_string() != "none" && !value->get_string().empty();
  return true;
}

Outcome refuse_tools(const Fields& fields) {
  const json::value* choice = fields.find("tool_choice");
  const bool none = choice != nullptr && choice->is_string() && choice->get_string() == "none";
  if (asks(fields.find("tools")) && !none) {
    return fail(Code::kInvalidArgument,
                "'tools' is not offered by this server yet; leave it out or set 'tool_choice' to "
                "\"none\"",
                "tools", "unsupported_parameter");
  }
  return {};
}

Outcome refuse_response_format(const Fields& fields) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* format, fields.object("response_format"));
  if (format == nullptr) return {};
  const json::value* type = format->if_contains("type");
  if (type != nullptr && type->is_string() && type->get_string() == "text") return {};
  return fail(Code::kInvalidArgument,
              "'response_format' must be {\"type\":\"text\"}: structured output is not offered by "
              "this server yet",
              "response_format", "unsupported_parameter");
}

Outcome read_logit_bias(const Fields& fields, completion::Sampling& sampling) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* biases, fields.object("logit_bias"));
  if (biases == nullptr) return {};
  if (biases->size() > limits::kMaxLogitBias) {
    return invalid(fmt::format("'logit_bias' must have at most {} entries, not {}",
                               limits::kMaxLogitBias, biases->size()),
                   "logit_bias");
  }
  for (const auto& [key, value] : *biases) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0) {
      return invalid(
          "the keys of 'logit_bias' must be token ids written as strings, like \"50256\"",
          "logit_bias");
    }
    if (!value.is_number() || std::abs(value.to_number<double>()) > 100.0) {
      return invalid(
          fmt::format("'logit_bias.{}' must be a number from -100 to 100, not {}", id,
                      value.is_number() ? to_json(value) : std::string(json_kind(value))),
          "logit_bias");
    }
    sampling.logit_bias.emplace_back(id, value.to_number<float>());
  }
  return {};
}

Outcome read_numbers(const Fields& fields, completion::Sampling& sampling) {
  SLUICE_ASSIGN_OR_RETURN(sampling.temperature, fields.number("temperature", {0, 100}));
  SLUICE_ASSIGN_OR_RETURN(sampling.top_p, fields.number("top_p", {0, 1, true}));
  SLUICE_ASSIGN_OR_RETURN(sampling.min_p, fields.number("min_p", {0, 1}));
  SLUICE_ASSIGN_OR_RETURN(sampling.typical_p, fields.number("typical_p", {0, 1, true}));
  SLUICE_ASSIGN_OR_RETURN(sampling.repetition_penalty,
                          fields.number("repetition_penalty", {0, 100, true}));
  SLUICE_ASSIGN_OR_RETURN(const auto presence, fields.number("presence_penalty", {-2, 2}));
  SLUICE_ASSIGN_OR_RETURN(const auto frequency, fields.number("frequency_penalty", {-2, 2}));
  sampling.presence_penalty = presence.value_or(0);
  sampling.frequency_penalty = frequency.value_or(0);
  SLUICE_ASSIGN_OR_RETURN(const auto top_k, fields.integer("top_k", {-1, 0x7FFFFFFF}));
  if (top_k) sampling.top_k = static_cast<int>(std::max<int64_t>(*top_k, 0));
  SLUICE_ASSIGN_OR_RETURN(const auto seed,
                          fields.integer("seed", {std::numeric_limits<int64_t>::min(),
                                                  std::numeric_limits<int64_t>::max()}));
  if (seed) sampling.seed = static_cast<uint64_t>(*seed);
  return {};
}

Outcome read_ends(const Fields& fields, completion::Sampling& sampling) {
  SLUICE_ASSIGN_OR_RETURN(const auto max_tokens, fields.integer("max_tokens", kTokenCount));
  if (max_tokens) sampling.max_tokens = static_cast<int>(*max_tokens);
  SLUICE_ASSIGN_OR_RETURN(const auto min_tokens, fields.integer("min_tokens", {0, 0x7FFFFFFF}));
  sampling.min_tokens = static_cast<int>(min_tokens.value_or(0));
  SLUICE_ASSIGN_OR_RETURN(const auto ignore_eos, fields.boolean("ignore_eos"));
  sampling.ignore_eos = ignore_eos.value_or(false);
  SLUICE_ASSIGN_OR_RETURN(sampling.stop,
                          fields.strings("stop", limits::kMaxStopStrings, limits::kMaxStopBytes));
  SLUICE_ASSIGN_OR_RETURN(sampling.stop_tokens,
                          fields.token_ids("stop_token_ids", limits::kMaxStopTokens));
  SLUICE_ASSIGN_OR_RETURN(sampling.bad_words,
                          fields.strings("bad_words", limits::kMaxBadWords, limits::kMaxStopBytes));
  SLUICE_ASSIGN_OR_RETURN(sampling.allowed_tokens,
                          fields.token_ids("allowed_token_ids", limits::kMaxVocabulary));
  SLUICE_ASSIGN_OR_RETURN(const auto include, fields.boolean("include_stop_str_in_output"));
  sampling.include_stop_text = include.value_or(false);
  SLUICE_ASSIGN_OR_RETURN(const auto skip, fields.boolean("skip_special_tokens"));
  sampling.skip_special_tokens = skip.value_or(true);
  SLUICE_ASSIGN_OR_RETURN(const auto prompt_logprobs,
                          fields.integer("prompt_logprobs", {0, limits::kMaxTopLogprobs}));
  if (prompt_logprobs) sampling.prompt_logprobs = static_cast<int>(*prompt_logprobs);
  return {};
}

Outcome read_stream(const Fields& fields, StreamOptions& out) {
  SLUICE_ASSIGN_OR_RETURN(const auto stream, fields.boolean("stream"));
  out.stream = stream.value_or(false);
  SLUICE_ASSIGN_OR_RETURN(const json::object* options, fields.object("stream_options"));
  if (options == nullptr) return {};
  if (!out.stream) return invalid("'stream_options' needs 'stream': true", "stream_options");
  const Fields inner(*options, "stream_options.");
  SLUICE_ASSIGN_OR_RETURN(const auto usage, inner.boolean("include_usage"));
  SLUICE_ASSIGN_OR_RETURN(const auto continuous, inner.boolean("continuous_usage_stats"));
  out.include_usage = usage.value_or(false);
  out.continuous_usage = out.include_usage && continuous.value_or(false);
  return {};
}

}  // namespace

Outcome refuse_unoffered(const Fields& fields, Dialect dialect) {
  SLUICE_RETURN_IF_ERROR(refuse_tools(fields));
  SLUICE_RETURN_IF_ERROR(refuse_response_format(fields));
  constexpr std::array<std::string_view, 21> kRefused = {"functions",
                                                         "function_call",
                                                         "suffix",
                                                         "use_beam_search",
                                                         "guided_json",
                                                         "guided_regex",
                                                         "guided_choice",
                                                         "guided_grammar",
                                                         "structured_outputs",
                                                         "audio",
                                                         "prediction",
                                                         "web_search_options",
                                                         "documents",
                                                         "prompt_embeds",
                                                         "logits_processors",
                                                         "kv_transfer_params",
                                                         "echo_reasoning",
                                                         "chat_template",
                                                         "thinking_token_budget",
                                                         "n_discard",
                                                         "n_keep"};
  for (const std::string_view name : kRefused) {
    if (asks(fields.find(name))) {
      return fail(Code::kInvalidArgument,
                  fmt::format("'{}' is not offered by this server; leave it out", name),
                  std::string(name), "unsupported_parameter");
    }
  }
  if (dialect == Dialect::kCompletion) {
    SLUICE_ASSIGN_OR_RETURN(const auto best_of, fields.integer("best_of", {1, 1 << 20}));
    SLUICE_ASSIGN_OR_RETURN(const auto n, fields.integer("n", {1, limits::kMaxChoices}));
    if (best_of && *best_of != n.value_or(1)) {
      return fail(Code::kInvalidArgument, "'best_of' must equal 'n': ranking is not offered",
                  "best_of", "unsupported_parameter");
    }
  }
  return {};
}

Outcome read_common(const Fields& fields, GenerateCall& call) {
  completion::Request& request = call.request;
  SLUICE_ASSIGN_OR_RETURN(const auto model, fields.string("model", kMaxModelName));
  request.model = model.value_or("");
  SLUICE_RETURN_IF_ERROR(read_numbers(fields, request.sampling));
  SLUICE_RETURN_IF_ERROR(read_logit_bias(fields, request.sampling));
  SLUICE_RETURN_IF_ERROR(read_ends(fields, request.sampling));
  SLUICE_RETURN_IF_ERROR(read_stream(fields, call.stream));
  SLUICE_ASSIGN_OR_RETURN(const auto n, fields.integer("n", {1, limits::kMaxChoices}));
  request.choices_per_prompt = static_cast<int>(n.value_or(1));
  SLUICE_ASSIGN_OR_RETURN(const auto priority, fields.integer("priority", {-1000, 1000}));
  request.priority = static_cast<int>(priority.value_or(0));
  SLUICE_ASSIGN_OR_RETURN(const auto salt, fields.string("cache_salt", limits::kMaxUserBytes));
  request.cache_salt = salt.value_or("");
  SLUICE_ASSIGN_OR_RETURN(const auto truncate,
                          fields.integer("truncate_prompt_tokens", {1, 0x7FFFFFFF}));
  if (truncate) request.truncate_prompt_tokens = static_cast<int>(*truncate);
  SLUICE_ASSIGN_OR_RETURN(const auto ids, fields.boolean("return_token_ids"));
  call.return_token_ids = ids.value_or(false);
  SLUICE_RETURN_IF_ERROR(fields.string("user", limits::kMaxUserBytes));
  return {};
}

}  // namespace sluice::api
