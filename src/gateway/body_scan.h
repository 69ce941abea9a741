// What routing needs of a JSON body, found without building a tree: where the model's name stands,
// whether a stream is asked for, and the text that prompts have in common.
//
// The structure is checked (strings, brackets, depth), the leaves are not: the upstream reads them.
// A top-level key that stands there twice is refused, so that nobody behind reads another one.
// Foreign input: fuzz target body_scan_fuzz.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::gateway {

// A piece of the body; empty when absent.
struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool empty() const { return begin == end; }
  std::string_view of(std::string_view body) const { return body.substr(begin, end - begin); }
};

struct BodyFields {
  std::optional<std::string> model;
  Span model_value;  // the JSON text of the model's value
  bool stream = false;
  std::string user;  // empty when absent or no string
  std::string
      conversation;  // "conversation" (a text, or its "id"), "session_id" or "prompt_cache_key"
  Span prompt;       // the JSON text of "prompt", "messages" or "input"
  bool input_only = false;  // it is "input"
  // "max_tokens", "max_completion_tokens" or "max_output_tokens", the largest one.
  std::optional<int64_t> max_tokens;
  Span null_max_tokens, null_max_output_tokens;  // where they stand as null
  int64_t choices = 1;                           // "n" or "best_of", the larger one
};

Result<BodyFields> scan_body(std::string_view body);

// The body with `model` as its model; unchanged when it has none.
std::string with_model(std::string_view body, const BodyFields& fields, std::string_view model);

// The body, whose `fields` name no maximum of tokens, with one: as "max_output_tokens" where it has
// only an "input", else as "max_tokens". `fields` are read anew.
Result<std::string> with_max_tokens(std::string_view body, BodyFields& fields, int64_t max_tokens);

}  // namespace sluice::gateway
