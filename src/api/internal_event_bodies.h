// The messages inside the frames of api/internal_events.h, where their fields stand.
// Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "api/internal_events.h"
#include "api/internal_wire.h"

namespace sluice::api {

enum class EventKind : uint8_t {
  kStart = 1,
  kPromptLogprobs = 2,
  kDelta = 3,
  kDone = 4,
  kError = 5,
  kLeaving = 6,
  kBeat = 7,
};

void write_start(WireWriter& out, const StartEvent& event);
void write_prompt_logprobs(WireWriter& out, const PromptLogprobsEvent& event);
void write_delta(WireWriter& out, const completion::Delta& delta);
void write_usage(WireWriter& out, const completion::Usage& usage);
void write_error(WireWriter& out, const Status& status);

Result<InternalEvent> read_event(EventKind kind, std::string_view body);

}  // namespace sluice::api
