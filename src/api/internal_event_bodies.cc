#include "api/internal_event_bodies.h"

#include <limits>
#include <utility>

#include "base/limits.h"

namespace sluice::api {
namespace {

using completion::Delta;
using completion::FinishReason;
using completion::LogprobEntry;
using completion::TokenLogprob;
using completion::Usage;

constexpr uint64_t kMaxInt = std::numeric_limits<int>::max();
constexpr uint64_t kLastChoice = limits::kMaxPrompts - 1;
constexpr size_t kMaxReasonBytes = 512;

int count(WireReader& in) { return static_cast<int>(in.uint_up_to(kMaxInt)); }

void write_token(WireWriter& out, const TokenLogprob& token) {
  out.uint(1, static_cast<uint64_t>(token.token));
  out.bytes(2, token.text);
  out.set_float(3, token.logprob);
  out.uint(4, static_cast<uint64_t>(token.rank));
}

void write_entry(WireWriter& out, uint32_t field, const LogprobEntry& entry) {
  out.message(field, [&](WireWriter& inner) {
    inner.message(1, [&](WireWriter& w) { write_token(w, entry.chosen); });
    for (const TokenLogprob& top : entry.top) {
      inner.message(2, [&](WireWriter& w) { write_token(w, top); });
    }
  });
}

void read_token(WireReader& outer, TokenLogprob& token) {
  WireReader in(outer.bytes(), "logprob");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        token.token = count(in);
        break;
      case 2:
        token.text = in.bytes(limits::kMaxTokenBytes);
        break;
      case 3:
        token.logprob = in.real32();
        break;
      case 4:
        token.rank = count(in);
        break;
      default:
        in.unknown();
    }
  }
  if (in.failed()) outer.fail(in.outcome().error());
}

void read_entry(WireReader& outer, std::vector<LogprobEntry>& entries) {
  LogprobEntry entry;
  WireReader in(outer.bytes(), "logprob entry");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        read_token(in, entry.chosen);
        break;
      case 2:
        read_token(in, entry.top.emplace_back());
        break;
      default:
        in.unknown();
    }
  }
  if (in.failed()) return outer.fail(in.outcome().error());
  entries.push_back(std::move(entry));
}

void read_prompt_info(WireReader& outer, StartEvent& start) {
  std::vector<int32_t>& tokens = start.info.tokens.emplace_back();
  WireReader in(outer.bytes(), "started prompt");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        in.ids(tokens);
        break;
      case 2:
        start.info.text.resize(start.info.tokens.size());
        start.info.text.back() = in.text();
        break;
      default:
        in.unknown();
    }
  }
  if (in.failed()) outer.fail(in.outcome().error());
}

StartEvent read_start(WireReader& in) {
  StartEvent start;
  while (in.next()) {
    switch (in.field()) {
      case 1:
        start.fingerprint = in.text(kMaxReasonBytes);
        break;
      case 2:
        start.max_model_len = count(in);
        break;
      case 3:
        start.seed = in.uint();
        break;
      case 4:
        if (start.info.tokens.size() >= limits::kMaxPrompts) {
          in.fail("comes too often");
          break;
        }
        read_prompt_info(in, start);
        break;
      default:
        in.unknown();
    }
  }
  return start;
}

PromptLogprobsEvent read_prompt_logprobs(WireReader& in) {
  PromptLogprobsEvent event;
  while (in.next()) {
    switch (in.field()) {
      case 1:
        event.prompt = static_cast<int>(in.uint_up_to(kLastChoice));
        break;
      case 2:
        read_entry(in, event.entries);
        break;
      default:
        in.unknown();
    }
  }
  return event;
}

Delta read_delta(WireReader& in) {
  Delta delta;
  while (in.next()) {
    switch (in.field()) {
      case 1:
        delta.choice = static_cast<int>(in.uint_up_to(kLastChoice));
        break;
      case 2:
        delta.text = in.text();
        break;
      case 3:
        in.ids(delta.tokens);
        break;
      case 4:
        read_entry(in, delta.logprobs);
        break;
      case 5: {
        const uint64_t finish = in.uint_up_to(static_cast<uint64_t>(FinishReason::kError) + 1);
        if (finish > 0) delta.finish = static_cast<FinishReason>(finish - 1);
        break;
      }
      case 6:
        delta.stop_reason = in.text();
        break;
      case 7: {
        const uint64_t token = in.uint_up_to(kMaxInt);
        if (token > 0) delta.stop_reason = static_cast<int32_t>(token - 1);
        break;
      }
      default:
        in.unknown();
    }
  }
  return delta;
}

Usage read_usage(WireReader& in) {
  Usage usage;
  while (in.next()) {
    switch (in.field()) {
      case 1:
        usage.prompt_tokens = count(in);
        break;
      case 2:
        usage.completion_tokens = count(in);
        break;
      case 3:
        usage.cached_tokens = count(in);
        break;
      default:
        in.unknown();
    }
  }
  return usage;
}

Status read_error(WireReader& in) {
  auto code = static_cast<uint64_t>(Code::kInternal);
  std::string message;
  std::string param;
  std::string reason;
  while (in.next()) {
    switch (in.field()) {
      case 1:
        code = in.uint_up_to(static_cast<uint64_t>(Code::kDataLoss));
        break;
      case 2:
        message = in.text();
        break;
      case 3:
        param = in.text(kMaxReasonBytes);
        break;
      case 4:
        reason = in.text(kMaxReasonBytes);
        break;
      default:
        in.unknown();
    }
  }
  return Status(static_cast<Code>(code), std::move(message), std::move(param), std::move(reason));
}

BeatEvent read_beat(WireReader& in) {
  BeatEvent beat;
  while (in.next()) {
    if (in.field() == 1) {
      beat.step = in.uint();
    } else {
      in.unknown();
    }
  }
  return beat;
}

LeavingEvent read_leaving(WireReader& in) {
  while (in.next()) in.unknown();
  return {};
}

// `read(reader)` reads a whole message.
template <typename Read>
Result<InternalEvent> read_as(std::string_view what, std::string_view body, Read read) {
  WireReader in(body, what);
  InternalEvent event = read(in);
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return event;
}

}  // namespace

void write_start(WireWriter& out, const StartEvent& event) {
  out.bytes(1, event.fingerprint);
  out.uint(2, static_cast<uint64_t>(event.max_model_len));
  out.uint(3, event.seed);
  for (size_t i = 0; i < event.info.tokens.size(); ++i) {
    out.message(4, [&](WireWriter& inner) {
      inner.ids(1, event.info.tokens[i]);
      if (i < event.info.text.size()) inner.set_bytes(2, event.info.text[i]);
    });
  }
}

void write_prompt_logprobs(WireWriter& out, const PromptLogprobsEvent& event) {
  out.uint(1, static_cast<uint64_t>(event.prompt));
  for (const LogprobEntry& entry : event.entries) write_entry(out, 2, entry);
}

void write_delta(WireWriter& out, const Delta& delta) {
  out.uint(1, static_cast<uint64_t>(delta.choice));
  out.bytes(2, delta.text);
  out.ids(3, delta.tokens);
  for (const LogprobEntry& entry : delta.logprobs) write_entry(out, 4, entry);
  if (delta.finish) out.uint(5, static_cast<uint64_t>(*delta.finish) + 1);
  if (const auto* text = std::get_if<std::string>(&delta.stop_reason)) out.set_bytes(6, *text);
  if (const auto* token = std::get_if<int32_t>(&delta.stop_reason)) {
    out.uint(7, static_cast<uint64_t>(*token) + 1);
  }
}

void write_usage(WireWriter& out, const Usage& usage) {
  out.uint(1, static_cast<uint64_t>(usage.prompt_tokens));
  out.uint(2, static_cast<uint64_t>(usage.completion_tokens));
  out.uint(3, static_cast<uint64_t>(usage.cached_tokens));
}

void write_error(WireWriter& out, const Status& status) {
  out.set_uint(1, static_cast<uint64_t>(status.code()));
  out.bytes(2, status.message());
  out.bytes(3, status.param());
  out.bytes(4, status.reason());
}

Result<InternalEvent> read_event(EventKind kind, std::string_view body) {
  switch (kind) {
    case EventKind::kStart:
      return read_as("start", body, read_start);
    case EventKind::kPromptLogprobs:
      return read_as("prompt logprobs", body, read_prompt_logprobs);
    case EventKind::kDelta:
      return read_as("delta", body, read_delta);
    case EventKind::kDone:
      return read_as("done", body, read_usage);
    case EventKind::kError:
      return read_as("error", body, read_error);
    case EventKind::kLeaving:
      return read_as("leaving", body, read_leaving);
    case EventKind::kBeat:
      return read_as("beat", body, read_beat);
  }
  return invalid("an event of a kind that is not known");
}

}  // namespace sluice::api
