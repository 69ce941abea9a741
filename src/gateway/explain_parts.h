// What an explanation is made of: the parts of a prompt, prompts without one of them, and what was
// found out, as JSON and as a page. Pure functions on foreign JSON, with limits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "plan/plan.h"

namespace sluice::gateway {

// A part of one message's text (bytes), or of the only text.
struct PromptPart {
  size_t message = 0;
  size_t begin = 0;
  size_t end = 0;
};

// What is to be explained.
struct ExplainQuestion {
  std::string model;
  json::array messages;  // empty: `text` is a plain prompt
  std::string text;
  plan::ExplainPlan::Segments segments = plan::ExplainPlan::Segments::kSentence;
  int max_segments = 0;
  int max_tokens = 0;
  std::string answer;  // that is explained; empty: the model's own

  bool chat() const { return !messages.empty(); }
};

// {"instances": [X]} or X, where X is a text or has "prompt" or "messages"; options stand in
// "parameters". No option passes what the plan allows.
Result<ExplainQuestion> read_question(std::string_view body, std::string_view model,
                                      const plan::ExplainPlan& plan);

// In their order, all of the text in some part, none of blanks alone. More than `max_segments` are
// joined with their neighbours of the same message; there are more all the same where there are
// more messages.
std::vector<PromptPart> prompt_parts(const ExplainQuestion& question);

// The fields "prompt" or "messages" of a request, without the part (null: whole).
json::object prompt_without(const ExplainQuestion& question, const PromptPart* part);

struct Explanation {
  const ExplainQuestion& question;
  const std::vector<PromptPart>& parts;
  std::string answer;
  std::vector<std::string> tokens;           // of the answer
  std::vector<double> whole;                 // log-probabilities of the answer's tokens
  std::vector<std::vector<double>> without;  // the same, for each part
};

// What the answer's tokens lose in log-probability (nats) without the part, all together.
double score(const Explanation& explanation, size_t part);

std::string explanation_json(const Explanation& explanation);
std::string explanation_page(const Explanation& explanation);

}  // namespace sluice::gateway
