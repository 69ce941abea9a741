#include "api/openai_response.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "api/json_text.h"

namespace sluice::api {
namespace {

using completion::FinishReason;
using completion::LogprobEntry;
using completion::TokenLogprob;
using completion::Usage;

// JSON has no infinities; the least log-probability that is written.
constexpr float kLeastLogprob = -9999.0f;

void append_number(std::string& out, double value) {
  fmt::format_to(std::back_inserter(out), "{}", value);
}

void append_ids(std::string& out, const std::vector<int32_t>& ids) {
  fmt::format_to(std::back_inserter(out), "[{}]", fmt::join(ids, ","));
}

std::string_view finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kAbort:
      return "abort";
    case FinishReason::kError:
      break;
  }
  return "error";
}

void append_stop_reason(std::string& out,
                        const std::variant<std::monostate, std::string, int32_t>& reason) {
  if (const auto* text = std::get_if<std::string>(&reason)) {
    append_json_string(out, *text);
  } else if (const auto* id = std::get_if<int32_t>(&reason)) {
    append_number(out, *id);
  } else {
    out += "null";
  }
}

void append_usage(std::string& out, const Usage& usage) {
  fmt::format_to(std::back_inserter(out),
                 R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
                 R"("prompt_tokens_details":{{"cached_tokens":{}}}}})",
                 usage.prompt_tokens, usage.completion_tokens,
                 usage.prompt_tokens + usage.completion_tokens, usage.cached_tokens);
}

// "token", "logprob" and "bytes" of a chat logprob entry, without the closing brace.
void append_token(std::string& out, const TokenLogprob& token) {
  out += R"({"token":)";
  append_json_string(out, lossy_utf8(token.text));
  out += R"(,"logprob":)";
  append_number(out, std::max(token.logprob, kLeastLogprob));
  out += R"(,"bytes":[)";
  for (size_t i = 0; i < token.text.size(); ++i) {
    if (i > 0) out += ',';
    append_number(out, static_cast<unsigned char>(token.text[i]));
  }
  out += ']';
}

void append_chat_logprobs(std::string& out, const std::vector<LogprobEntry>& entries) {
  out += R"({"content":[)";
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) out += ',';
    append_token(out, entries[i].chosen);
    out += R"(,"top_logprobs":[)";
    for (size_t k = 0; k < entries[i].top.size(); ++k) {
      if (k > 0) out += ',';
      append_token(out, entries[i].top[k]);
      out += '}';
    }
    out += "]}";
  }
  out += "]}";
}

// Completions' four parallel arrays. A first prompt token has no log-probability: `lead` names it.
void append_completion_logprobs(std::string& out, const std::vector<LogprobEntry>& entries,
                                const std::optional<std::string>& lead, size_t& offset) {
  std::string tokens, values, tops, offsets;
  const auto comma = [&] {
    if (tokens.empty()) return;
    for (std::string* list : {&tokens, &values, &tops, &offsets}) *list += ',';
  };
  const auto add_token = [&](const std::string& bytes) {
    const std::string text = lossy_utf8(bytes);
    append_json_string(tokens, text);
    append_number(offsets, static_cast<double>(offset));
    offset += text.size();
  };
  if (lead) {
    add_token(*lead);
    values += "null";
    tops += "null";
  }
  for (const LogprobEntry& entry : entries) {
    comma();
    add_token(entry.chosen.text);
    append_number(values, std::max(entry.chosen.logprob, kLeastLogprob));
    tops += '{';
    bool first = true;
    const auto add_top = [&](const TokenLogprob& top) {
      if (!first) tops += ',';
      first = false;
      append_json_string(tops, lossy_utf8(top.text));
      tops += ':';
      append_number(tops, std::max(top.logprob, kLeastLogprob));
    };
    for (const TokenLogprob& top : entry.top) add_top(top);
    tops += '}';
  }
  out += R"({"tokens":[)" + tokens + R"(],"token_logprobs":[)" + values + R"(],"top_logprobs":[)" +
         tops + R"(],"text_offset":[)" + offsets + "]}";
}

std::string head_text(const AnswerHead& head, std::string_view object) {
  std::string out = R"({"id":)";
  append_json_string(out, head.id);
  out += R"(,"object":")";
  out += object;
  fmt::format_to(std::back_inserter(out), R"(","created":{},"model":)", head.created);
  append_json_string(out, head.model);
  out += R"(,"system_fingerprint":)";
  append_json_string(out, head.fingerprint);
  return out;
}

// vLLM's form of prompt_logprobs: null, then one object a position, keyed by token id.
void append_prompt_logprobs(std::string& out, const std::vector<LogprobEntry>& entries) {
  out += "[null";
  for (const LogprobEntry& entry : entries) {
    out += ",{";
    std::vector<TokenLogprob> all = entry.top;
    const bool listed = std::ranges::any_of(
        all, [&](const TokenLogprob& t) { return t.token == entry.chosen.token; });
    if (!listed) all.push_back(entry.chosen);
    for (size_t i = 0; i < all.size(); ++i) {
      if (i > 0) out += ',';
      fmt::format_to(std::back_inserter(out), R"("{}":{{"logprob":{},"rank":{},"decoded_token":)",
                     all[i].token, std::max(all[i].logprob, kLeastLogprob), all[i].rank);
      append_json_string(out, lossy_utf8(all[i].text));
      out += '}';
    }
    out += '}';
  }
  out += ']';
}

void append_chat_choice(std::string& out, const GenerateCall& call, const CollectedChoice& choice) {
  out += R"("message":{"role":"assistant","content":)";
  append_json_string(out, choice.text);
  out += R"(},"logprobs":)";
  if (call.logprobs) {
    append_chat_logprobs(out, choice.logprobs);
  } else {
    out += "null";
  }
}

// Puts an echoed prompt's entries in front of a choice's; what no entry covers is the lead's text.
std::optional<std::string> echo_entries(const CollectedPrompt& prompt,
                                        std::vector<LogprobEntry>& entries) {
  entries.insert(entries.begin(), prompt.logprobs.begin(), prompt.logprobs.end());
  size_t rest = 0;
  for (const LogprobEntry& entry : prompt.logprobs) rest += lossy_utf8(entry.chosen.text).size();
  return prompt.text.size() >= rest ? prompt.text.substr(0, prompt.text.size() - rest) : "";
}

void append_completion_choice(std::string& out, const GenerateCall& call,
                              const CollectedPrompt& prompt, const CollectedChoice& choice) {
  out += R"("text":)";
  append_json_string(out, prompt.text + choice.text);
  out += R"(,"logprobs":)";
  if (!call.logprobs) {
    out += "null";
    return;
  }
  std::vector<LogprobEntry> entries = choice.logprobs;
  std::optional<std::string> lead;
  if (call.request.echo) lead = echo_entries(prompt, entries);
  size_t offset = 0;
  append_completion_logprobs(out, entries, lead, offset);
}

void append_card(std::string& out, const completion::ModelCard& card, bool ready = true) {
  out += R"({"id":)";
  append_json_string(out, card.id);
  fmt::format_to(std::back_inserter(out), R"(,"object":"model","created":{},"owned_by":"sluice",)",
                 static_cast<int64_t>(card.created));
  out += R"("root":)";
  append_json_string(out, card.root);
  fmt::format_to(std::back_inserter(out), R"(,"parent":null,"max_model_len":{},"name":)",
                 card.max_model_len);
  append_json_string(out, card.id);
  fmt::format_to(std::back_inserter(out), R"(,"ready":{}}})", ready);
}

std::string_view error_type(int status) {
  switch (status) {
    case 400:
    case 411:
    case 413:
    case 414:
    case 415:
    case 417:
    case 422:
    case 431:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
    case 405:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
    case 504:
      return "service_unavailable_error";
    default:
      return "server_error";
  }
}

std::string error_text(int status, std::string_view message, std::string_view param,
                       std::string_view code) {
  std::string out = R"({"error":{"message":)";
  append_json_string(out, lossy_utf8(message));
  out += R"(,"type":")";
  out += error_type(status);
  out += R"(","param":)";
  if (param.empty()) {
    out += "null";
  } else {
    append_json_string(out, lossy_utf8(param));
  }
  out += R"(,"code":)";
  if (code.empty()) {
    append_number(out, status);
  } else {
    append_json_string(out, code);
  }
  out += "}}";
  return out;
}

}  // namespace

std::string answer_body(const AnswerHead& head, const GenerateCall& call,
                        const std::vector<CollectedPrompt>& prompts,
                        const std::vector<CollectedChoice>& choices, const Usage& usage) {
  const bool chat = head.kind == OpenAiKind::kChat;
  std::string out = head_text(head, chat ? "chat.completion" : "text_completion");
  out += R"(,"choices":[)";
  for (size_t i = 0; i < choices.size(); ++i) {
    const CollectedPrompt& prompt =
        prompts[i / static_cast<size_t>(call.request.choices_per_prompt)];
    if (i > 0) out += ',';
    fmt::format_to(std::back_inserter(out), R"({{"index":{},)", i);
    if (chat) {
      append_chat_choice(out, call, choices[i]);
    } else {
      append_completion_choice(out, call, prompt, choices[i]);
    }
    fmt::format_to(std::back_inserter(out), R"(,"finish_reason":"{}","stop_reason":)",
                   finish_name(choices[i].finish));
    append_stop_reason(out, choices[i].stop_reason);
    if (call.return_token_ids) {
      out += R"(,"token_ids":)";
      append_ids(out, choices[i].tokens);
      out += R"(,"prompt_token_ids":)";
      append_ids(out, prompt.tokens);
    }
    if (!chat && call.request.sampling.prompt_logprobs >= 0) {
      out += R"(,"prompt_logprobs":)";
      append_prompt_logprobs(out, prompt.logprobs);
    }
    out += '}';
  }
  out += ']';
  if (chat && call.request.sampling.prompt_logprobs >= 0) {
    out += R"(,"prompt_logprobs":)";
    append_prompt_logprobs(out, prompts[0].logprobs);
  }
  out += R"(,"usage":)";
  append_usage(out, usage);
  out += '}';
  return out;
}

namespace {

std::string chunk_head(const AnswerHead& head) {
  return head_text(head,
                   head.kind == OpenAiKind::kChat ? "chat.completion.chunk" : "text_completion");
}

}  // namespace

ChunkWriter::ChunkWriter(AnswerHead head, const GenerateCall& call)
    : head_(std::move(head)),
      prefix_(chunk_head(head_)),
      logprobs_(call.logprobs),
      token_ids_(call.return_token_ids),
      echo_(call.request.echo),
      choices_per_prompt_(call.request.choices_per_prompt),
      started_(call.request.prompts.size() * static_cast<size_t>(choices_per_prompt_)),
      text_offset_(started_.size()) {}

void ChunkWriter::set_fingerprint(std::string fingerprint) {
  head_.fingerprint = std::move(fingerprint);
  prefix_ = chunk_head(head_);
}

std::string ChunkWriter::delta(const completion::Delta& delta, const Usage* usage) {
  const auto index = static_cast<size_t>(delta.choice);
  const bool first = !started_[index];
  started_[index] = true;
  const CollectedPrompt* prompt = nullptr;
  const size_t prompt_index = index / static_cast<size_t>(choices_per_prompt_);
  if (first && prompt_index < prompts_.size()) prompt = &prompts_[prompt_index];

  std::string out = prefix_;
  fmt::format_to(std::back_inserter(out), R"(,"choices":[{{"index":{},)", index);
  const bool echoes = prompt != nullptr && echo_;
  if (head_.kind == OpenAiKind::kChat) {
    out += first ? R"("delta":{"role":"assistant","content":)" : R"("delta":{"content":)";
    append_json_string(out, delta.text);
    out += '}';
  } else {
    out += R"("text":)";
    append_json_string(out, echoes ? prompt->text + delta.text : delta.text);
  }
  out += R"(,"logprobs":)";
  if (!logprobs_ || delta.logprobs.empty()) {
    out += "null";
  } else if (head_.kind == OpenAiKind::kChat) {
    append_chat_logprobs(out, delta.logprobs);
  } else {
    std::vector<LogprobEntry> entries = delta.logprobs;
    std::optional<std::string> lead;
    if (echoes) lead = echo_entries(*prompt, entries);
    append_completion_logprobs(out, entries, lead, text_offset_[index]);
  }
  out += R"(,"finish_reason":)";
  if (delta.finish) {
    fmt::format_to(std::back_inserter(out), R"("{}","stop_reason":)", finish_name(*delta.finish));
    append_stop_reason(out, delta.stop_reason);
  } else {
    out += "null";
  }
  if (token_ids_) {
    out += R"(,"token_ids":)";
    append_ids(out, delta.tokens);
    if (prompt != nullptr) {
      out += R"(,"prompt_token_ids":)";
      append_ids(out, prompt->tokens);
    }
  }
  out += "}]";
  if (usage != nullptr) {
    out += R"(,"usage":)";
    append_usage(out, *usage);
  }
  out += '}';
  return out;
}

std::string ChunkWriter::usage(const Usage& usage) const {
  std::string out = prefix_ + R"(,"choices":[],"usage":)";
  append_usage(out, usage);
  out += '}';
  return out;
}

std::string models_body(const std::vector<completion::ModelCard>& cards) {
  std::string out = R"({"object":"list","data":[)";
  for (size_t i = 0; i < cards.size(); ++i) {
    if (i > 0) out += ',';
    append_card(out, cards[i]);
  }
  out += "]}";
  return out;
}

std::string model_body(const completion::ModelCard& card, bool ready) {
  std::string out;
  append_card(out, card, ready);
  return out;
}

std::string tokenize_body(const completion::TokenizeResult& result, bool with_pieces) {
  std::string out = fmt::format(R"({{"count":{},"max_model_len":{},"tokens":)",
                                result.tokens.size(), result.max_model_len);
  append_ids(out, result.tokens);
  if (with_pieces) {
    out += R"(,"token_strs":[)";
    for (size_t i = 0; i < result.pieces.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, lossy_utf8(result.pieces[i]));
    }
    out += ']';
  }
  out += '}';
  return out;
}

std::string detokenize_body(const std::string& text) {
  std::string out = R"({"prompt":)";
  append_json_string(out, text);
  out += '}';
  return out;
}

std::string error_body(const Status& status) {
  return error_text(http_status(status.code()), status.message(), status.param(), status.reason());
}

std::string error_body(int http_status, std::string_view message) {
  return error_text(http_status, message, {}, {});
}

}  // namespace sluice::api
