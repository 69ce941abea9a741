// Prompts on the internal wire. Fields of a Prompt:
//   1 kind (1 chat, 2 text, 3 tokens)
//   text:   2 text  3 without special tokens
//   tokens: 4 ids (packed)
//   chat:   5 Message …  6 no generation prompt  7 continue the final message
//           8 template arguments (JSON text of an object)
// of a Message: 1 role  2 content  3 name  4 tool_call_id  5 ToolCall …
// of a ToolCall: 1 id  2 name  3 arguments
// Pure functions, any thread.
#pragma once

#include <string_view>

#include "api/internal_wire.h"
#include "completion/request.h"

namespace sluice::api {

void write_prompt(WireWriter& out, const completion::Prompt& prompt);
Result<completion::Prompt> read_prompt(std::string_view bytes);

}  // namespace sluice::api
