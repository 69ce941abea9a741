// JsonTemplate: a template in the language of chat templates (Jinja) that makes a JSON text of JSON
// values. Immutable; any thread. Rendering is bounded in steps, memory and output, and takes its
// time: it belongs on a worker.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "text/chat_template.h"

namespace sluice::gateway {

class JsonTemplate {
 public:
  static Result<JsonTemplate> parse(std::string_view source);

  // What it makes must be one JSON text.
  Result<json::value> render(const json::object& variables, double unix_seconds) const;

 private:
  explicit JsonTemplate(text::ChatTemplate compiled) : template_(std::move(compiled)) {}

  text::ChatTemplate template_;
};

}  // namespace sluice::gateway
