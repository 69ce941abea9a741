// ChatTemplate: the Jinja subset that models' chat templates are written in, as Hugging Face
// Transformers runs it (immutable sandbox, trim_blocks, lstrip_blocks, loop controls, tojson
// without HTML escapes).
//
// Rendering keeps track of where text came from: literals of the template are trusted, strings from
// the caller's values (message contents, names, tool definitions) are not, whatever filters they
// pass. See text::Segment; the rules stand in template_text.h.
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
  // template's variables. Strings in it are untrusted, but those of the names that is_model_name()
  // tells. Steps, depth, memory and output size are bounded (kTooLarge past them).
  // raise_exception() becomes an invalid_argument with its message; every other error reads "chat
  // template line L column C: what". `unix_seconds` feeds strftime_now.
  Result<std::vector<Segment>> render(const json::object& inputs, double unix_seconds) const;

  // Whether a variable is the model's own (bos_token, eos_token, …), so that its text counts as the
  // template's. Whoever merges a caller's variables into `inputs` must refuse these names.
  static bool is_model_name(std::string_view name);

  // Whether the template refers to `name`, as a variable, an attribute or a key: tools,
  // enable_thinking, … .
  bool mentions(std::string_view name) const;

 private:
  std::shared_ptr<const TemplateProgram> program_;
};

// The plain template for models that bring none. Each message is a line "Role: text" and an empty
// line, where Role is System (also for developer), User, Assistant or Tool; of content in parts the
// text parts are joined; with add_generation_prompt it ends in "Assistant:". Tools and tool calls
// are left out, as such a model was not trained on a form for them. No token of it is special.
std::string_view plain_chat_template();

}  // namespace sluice::text
