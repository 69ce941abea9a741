#include "text/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "text/template_eval.h"
#include "text/template_parser.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

constexpr std::array<std::string_view, 7> kModelNames = {
    "bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token",
};

}  // namespace

bool ChatTemplate::is_model_name(std::string_view name) {
  return std::ranges::find(kModelNames, name) != kModelNames.end();
}

Result<ChatTemplate> ChatTemplate::parse(std::string_view source) {
  if (source.size() > limits::kMaxTemplateBytes) {
    return fail(Code::kTooLarge, fmt::format("chat template of {} bytes; at most {} are accepted",
                                             source.size(), limits::kMaxTemplateBytes));
  }
  if (!is_valid_utf8(source)) return invalid("the chat template is not valid UTF-8");
  SLUICE_ASSIGN_OR_RETURN(auto tokens, jinja::tokenize(source));
  SLUICE_ASSIGN_OR_RETURN(auto program, jinja::Parser(std::move(tokens)).run());
  ChatTemplate made;
  made.program_ = std::make_shared<const TemplateProgram>(std::move(program));
  return made;
}

Result<std::vector<Segment>> ChatTemplate::render(const json::object& inputs,
                                                  double unix_seconds) const {
  jinja::Evaluator evaluator(*program_, inputs, is_model_name, unix_seconds);
  SLUICE_ASSIGN_OR_RETURN(const jinja::Text text, evaluator.run());
  std::vector<Segment> segments;
  segments.reserve(text.runs.size());
  size_t begin = 0;
  for (const jinja::Run& run : text.runs) {
    segments.push_back({text.bytes.substr(begin, run.end - begin), run.trusted});
    begin = run.end;
  }
  return segments;
}

bool ChatTemplate::mentions(std::string_view name) const {
  return std::ranges::binary_search(program_->mentioned, name);
}

std::string_view plain_chat_template() {
  return "{%- for message in messages -%}\n"
         "{%- if message.role == 'system' or message.role == 'developer' -%}\n"
         "{%- set name = 'System' -%}\n"
         "{%- elif message.role == 'assistant' -%}\n"
         "{%- set name = 'Assistant' -%}\n"
         "{%- elif message.role == 'tool' -%}\n"
         "{%- set name = 'Tool' -%}\n"
         "{%- else -%}\n"
         "{%- set name = 'User' -%}\n"
         "{%- endif -%}\n"
         "{{- name + ': ' -}}\n"
         "{%- if message.content is string -%}\n"
         "{{- message.content | trim -}}\n"
         "{%- else -%}\n"
         "{%- for part in message.content or [] if part.type == 'text' -%}\n"
         "{{- part.text | trim -}}\n"
         "{%- endfor -%}\n"
         "{%- endif -%}\n"
         "{{- '\\n\\n' -}}\n"
         "{%- endfor -%}\n"
         "{%- if add_generation_prompt -%}\n"
         "{{- 'Assistant:' -}}\n"
         "{%- endif -%}\n";
}

}  // namespace sluice::text
