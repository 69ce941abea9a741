// What routing needs of a JSON body, found without building a tree: where the model's name stands,
// whether a stream is asked for, and the text that prompts have in common.
//
// The structure is checked (strings, brackets, depth), the leaves are not: the upstream reads them.
// A top-level key that stands there twice is refused, so that nobody behind reads another one.
// Foreign input: fuzz target body_scan_fuzz.
#pragma once

#include <cstddef>
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
};

Result<BodyFields> scan_body(std::string_view body);

// The body with `model` as its model; unchanged when it has none.
std::string with_model(std::string_view body, const BodyFields& fields, std::string_view model);

}  // namespace sluice::gateway
