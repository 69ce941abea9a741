// ChatTemplate: the Jinja subset that models' chat templates are written in.
//
// Rendering keeps track of where text came from: literals of the template are trusted, strings from
// the caller's values (message contents, names, tool definitions) are not, whatever filters they
// pass. See text::Segment.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "text/tokenizer.h"

namespace sluice::text {

struct TemplateProgram;  // parsed form, text/template_*.h

// Immutable; callable from any thread at once.
class ChatTemplate {
 public:
  // Syntax errors name line and column. Size and nesting are bounded by base/limits.h.
  static Result<ChatTemplate> parse(std::string_view source);

  // `inputs`: an object with messages, tools, add_generation_prompt, bos_token, eos_token, … as the
  // template's variables. `trusted_names`: those of them whose strings count as the template's own
  // (bos_token, eos_token). Steps, depth and output size are bounded. raise_exception() becomes an
  // invalid_argument with its message. `unix_seconds` feeds strftime_now.
  Result<std::vector<Segment>> render(const json::object& inputs, double unix_seconds) const;

  // What the template refers to: whether it mentions `tools`, `enable_thinking`, … .
  bool mentions(std::string_view name) const;

 private:
  std::shared_ptr<const TemplateProgram> program_;
};

// The documented plain template for models that bring none.
std::string_view plain_chat_template();

}  // namespace sluice::text
