// The check that a request passes before the engine takes it: what comes after relies on it.
#pragma once

#include "base/status.h"
#include "engine/request.h"

namespace sluice::engine {

struct RequestBounds {
  int vocab = 0;
  int max_context = 0;  // prompt and output tokens
  int kv_tokens = 0;    // positions that the KV cache holds
  int context() const { return max_context < kv_tokens ? max_context : kv_tokens; }
};

// Fails with invalid_argument; the reason is context_length_exceeded for a prompt that leaves no
// room for a token of output, the parameter is the field of Request or SamplingParams. Pure.
Outcome check_request(const Request& request, const RequestBounds& bounds);

}  // namespace sluice::engine
