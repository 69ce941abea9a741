// Fields that the chat and the completions route share. Used by openai_request.cc only.
#pragma once

#include "api/openai_request.h"

namespace sluice::api {

enum class Dialect { kChat, kCompletion };

inline constexpr size_t kMaxModelName = 512;
inline constexpr IntegerRange kTokenCount = {1, 0x7FFFFFFF};

// A field that asks for what this server does not do: refused by name.
Outcome refuse_unoffered(const Fields& fields, Dialect dialect);

// Model, sampling, stream options, n, priority, limits on the prompt.
Outcome read_common(const Fields& fields, GenerateCall& call);

}  // namespace sluice::api
