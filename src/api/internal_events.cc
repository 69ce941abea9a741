#include "api/internal_events.h"

#include <utility>

#include "api/internal_event_bodies.h"
#include "api/internal_frame.h"

namespace sluice::api {
namespace {

template <typename Write>
void frame(EventKind kind, uint64_t number, std::string& out, Write write) {
  write_frame(static_cast<uint8_t>(kind), number, out, write);
}

}  // namespace

EventReader::EventReader(size_t max_frame_bytes)
    : frames_(max_frame_bytes, static_cast<uint8_t>(EventKind::kBeat)) {}

void EventWriter::write(const StartEvent& event, std::string& out) {
  frame(EventKind::kStart, next_++, out, [&](WireWriter& w) { write_start(w, event); });
}

void EventWriter::write(const PromptLogprobsEvent& event, std::string& out) {
  frame(EventKind::kPromptLogprobs, next_++, out,
        [&](WireWriter& w) { write_prompt_logprobs(w, event); });
}

void EventWriter::write(const completion::Delta& delta, std::string& out) {
  frame(EventKind::kDelta, next_++, out, [&](WireWriter& w) { write_delta(w, delta); });
}

void EventWriter::write(const completion::Usage& usage, std::string& out) {
  frame(EventKind::kDone, next_++, out, [&](WireWriter& w) { write_usage(w, usage); });
}

void EventWriter::write(const Status& status, std::string& out) {
  frame(EventKind::kError, next_++, out, [&](WireWriter& w) { write_error(w, status); });
}

void EventWriter::write(LeavingEvent, std::string& out) {
  frame(EventKind::kLeaving, next_++, out, [](WireWriter&) {});
}

void EventWriter::write_beat(uint64_t step, std::string& out) {
  frame(EventKind::kBeat, 0, out, [&](WireWriter& w) { w.uint(1, step); });
}

Outcome EventReader::feed(std::string_view bytes, const Take& take) {
  return frames_.feed(bytes, [&](uint8_t kind, std::string_view message) -> Outcome {
    SLUICE_ASSIGN_OR_RETURN(auto event, read_event(static_cast<EventKind>(kind), message));
    take(std::move(event));
    return {};
  });
}

}  // namespace sluice::api
