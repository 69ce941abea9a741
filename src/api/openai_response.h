// completion:: answers → OpenAI response bodies and stream chunks.
//
// The role stands in the first content chunk, never in one of its own before the first token.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/openai_request.h"
#include "completion/backend.h"
#include "completion/request.h"

namespace sluice::api {

enum class OpenAiKind { kChat, kCompletion };

// What every body of one answer repeats.
struct AnswerHead {
  OpenAiKind kind = OpenAiKind::kChat;
  std::string id;
  int64_t created = 0;  // Unix seconds
  std::string model;
  std::string fingerprint;
};

// A whole choice, collected from its deltas.
struct CollectedChoice {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<completion::LogprobEntry> logprobs;
  completion::FinishReason finish = completion::FinishReason::kStop;
  std::variant<std::monostate, std::string, int32_t> stop_reason;
};

struct CollectedPrompt {
  std::string text;  // when echoed
  std::vector<int32_t> tokens;
  std::vector<completion::LogprobEntry> logprobs;  // of tokens 1 …; empty when not asked for
};

// The body of a non-streamed answer. Choices are ordered by prompt, then by n.
std::string answer_body(const AnswerHead& head, const GenerateCall& call,
                        const std::vector<CollectedPrompt>& prompts,
                        const std::vector<CollectedChoice>& choices,
                        const completion::Usage& usage);

// Writes the chunks of one streamed answer. One thread.
class ChunkWriter {
 public:
  ChunkWriter(AnswerHead head, const GenerateCall& call);

  // What must be told of the prompt before its first delta (echo, prompt_token_ids).
  void set_prompts(std::vector<CollectedPrompt> prompts) { prompts_ = std::move(prompts); }

  // Where it was not known before. Ahead of the first chunk.
  void set_fingerprint(std::string fingerprint);

  // JSON of one chunk; `usage` is added when the caller wants it in every chunk.
  std::string delta(const completion::Delta& delta, const completion::Usage* usage);
  // The last chunk: no choices, only the usage.
  std::string usage(const completion::Usage& usage) const;

 private:
  AnswerHead head_;
  std::string prefix_;
  bool logprobs_;
  bool token_ids_;
  bool echo_;
  int choices_per_prompt_;
  std::vector<CollectedPrompt> prompts_;
  std::vector<bool> started_;        // per choice
  std::vector<size_t> text_offset_;  // per choice, for completions' logprobs
};

// {"object":"list","data":[…]} and one model.
std::string models_body(const std::vector<completion::ModelCard>& cards);
std::string model_body(const completion::ModelCard& card, bool ready);

std::string tokenize_body(const completion::TokenizeResult& result, bool with_pieces);
std::string detokenize_body(const std::string& text);

// {"error":{"message","type","param","code"}}. `type` follows the HTTP status as OpenAI names it.
std::string error_body(const Status& status);
std::string error_body(int http_status, std::string_view message);

}  // namespace sluice::api
