// The one internal form of a generation request and of its answer, whatever protocol it came by.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "telemetry/trace_context.h"

namespace sluice::completion {

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text, as the model or the caller wrote it
};

// One turn of a conversation.
struct Message {
  std::string role;
  std::optional<std::string> content;  // text parts joined
  std::string name;
  std::string tool_call_id;
  std::vector<ToolCall> tool_calls;
};

struct ChatPrompt {
  std::vector<Message> messages;
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  json::object template_arguments;  // chat_template_kwargs: further variables of the template
};

struct TextPrompt {
  std::string text;
  bool add_special_tokens = true;
};

struct TokenPrompt {
  std::vector<int32_t> tokens;
};

using Prompt = std::variant<ChatPrompt, TextPrompt, TokenPrompt>;

// What is not set takes the model's default (generation_config.json), then the protocol's.
struct Sampling {
  std::optional<double> temperature;
  std::optional<int> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> typical_p;
  std::optional<double> repetition_penalty;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<std::string> bad_words;
  std::vector<int32_t> allowed_tokens;
  std::optional<uint64_t> seed;
  std::optional<int> max_tokens;  // none = up to the end of the context
  int min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_tokens;
  bool include_stop_text = false;
  bool skip_special_tokens = true;
  int logprobs = -1;         // -1 = none; 0 = the chosen token's only; k = and the k likeliest
  int prompt_logprobs = -1;  // the same for the prompt's tokens
};

// How far one choice has come elsewhere.
struct ChoiceProgress {
  std::vector<int32_t> tokens{};     // of the answer; told to the client, text and all
  std::optional<int> ended_after{};  // set: the choice is over, after so many tokens
};

// An answer that another process began, and that goes on where it stands. The tokens told already
// are replayed in silence; the next one is sampled at the position behind them. Whoever resumes
// sends token prompts, a seed and every other field as they were at first.
struct Resume {
  std::vector<ChoiceProgress> choices{};     // by prompt, then n
  std::vector<bool> prompt_logprobs_told{};  // per prompt
  // Numerics id of where it began and the context there: refused where the id is another one or
  // the context less. Both unset: whoever asks takes an answer that goes on with other numbers.
  std::string fingerprint{};
  int max_model_len = 0;
};

struct Request {
  std::string id;
  std::string model;
  std::vector<Prompt> prompts;  // each yields `choices_per_prompt` choices
  int choices_per_prompt = 1;
  Sampling sampling;
  bool echo = false;                          // the prompt's text is put before the completion's
  std::optional<int> truncate_prompt_tokens;  // keep the last so many
  int priority = 0;
  std::string tenant;
  std::string cache_salt;
  std::optional<TimePoint> deadline;
  std::optional<Resume> resume;
  telemetry::SpanContext trace = {};  // of who asks; not valid: of nobody who traces
  // What the front that let the request in knows of it (net::HttpRequest::context), for the backend
  // that belongs to it. Stays in this process.
  std::shared_ptr<const void> context = {};
};

enum class FinishReason { kStop, kLength, kAbort, kError };

// One token with its text and log-probability, and the likeliest alternatives.
struct TokenLogprob {
  int32_t token = 0;
  std::string text;  // the token's own bytes, maybe not whole characters
  float logprob = 0.0f;
  int rank = 0;
};

struct LogprobEntry {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // likeliest first
};

// A piece of one choice. `text` is whole UTF-8 characters.
struct Delta {
  int choice = 0;
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<LogprobEntry> logprobs;  // when asked for
  std::optional<FinishReason> finish;
  // What ended it when finish is kStop and it was not the model's own end token.
  std::variant<std::monostate, std::string, int32_t> stop_reason;
};

// Known before the first token. One entry of each per prompt.
struct PromptInfo {
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::string> text;  // filled when echo is asked for
  // Numerics id of what answers; empty: as the model's card says. It may not have been known there.
  std::string fingerprint{};
};

struct Usage {
  int prompt_tokens = 0;
  int completion_tokens = 0;
  int cached_tokens = 0;
};

}  // namespace sluice::completion
