#include "api/internal_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "api/internal_prompt.h"
#include "api/internal_sampling.h"
#include "api/internal_wire.h"
#include "base/limits.h"

namespace sluice::api {
namespace {

using completion::ChoiceProgress;
using completion::Request;
using completion::Resume;

constexpr uint64_t kMaxInt = std::numeric_limits<int>::max();
constexpr uint64_t kMaxMilliseconds = 1000ull * 3600 * 24 * 365;
constexpr size_t kMaxNameBytes = 512;

void write_resume(WireWriter& out, const Resume& resume) {
  for (const ChoiceProgress& choice : resume.choices) {
    out.message(1, [&](WireWriter& inner) {
      inner.ids(1, choice.tokens);
      if (choice.ended_after) inner.set_uint(2, static_cast<uint64_t>(*choice.ended_after));
    });
  }
  std::vector<int32_t> told;
  told.reserve(resume.prompt_logprobs_told.size());
  for (const bool each : resume.prompt_logprobs_told) told.push_back(each ? 1 : 0);
  out.ids(2, told);
  out.bytes(3, resume.fingerprint);
  out.uint(4, static_cast<uint64_t>(resume.max_model_len));
}

Result<ChoiceProgress> read_progress(std::string_view bytes) {
  ChoiceProgress choice;
  WireReader in(bytes, "resume choice");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        in.ids(choice.tokens);
        break;
      case 2:
        choice.ended_after = static_cast<int>(in.uint_up_to(kMaxInt));
        break;
      default:
        in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return choice;
}

Result<Resume> read_resume(std::string_view bytes) {
  Resume resume;
  std::vector<int32_t> told;
  WireReader in(bytes, "resume");
  while (in.next()) {
    switch (in.field()) {
      case 1: {
        SLUICE_ASSIGN_OR_RETURN(auto choice, read_progress(in.bytes()));
        if (resume.choices.size() >= limits::kMaxPrompts) in.fail("comes too often");
        resume.choices.push_back(std::move(choice));
        break;
      }
      case 2:
        in.ids(told, limits::kMaxPrompts);
        break;
      case 3:
        resume.fingerprint = in.text(kMaxNameBytes);
        break;
      case 4:
        resume.max_model_len = static_cast<int>(in.uint_up_to(kMaxInt));
        break;
      default:
        in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  for (const int32_t each : told) {
    if (each > 1) return invalid("resume: field 2 must hold 0 and 1 only");
    resume.prompt_logprobs_told.push_back(each == 1);
  }
  return resume;
}

// What a request names and who sent it.
bool read_names(WireReader& in, Request& request) {
  switch (in.field()) {
    case 1:
      request.id = in.text(kMaxNameBytes);
      return true;
    case 2:
      request.model = in.text(kMaxNameBytes);
      return true;
    case 8:
      request.priority = static_cast<int>(in.sint_within(-1000, 1000));
      return true;
    case 9:
      request.tenant = in.text(kMaxNameBytes);
      return true;
    case 10:
      request.cache_salt = in.text(limits::kMaxUserBytes);
      return true;
    default:
      return false;
  }
}

Outcome read_field(WireReader& in, Request& request, TimePoint now) {
  switch (in.field()) {
    case 3: {
      SLUICE_ASSIGN_OR_RETURN(auto prompt, read_prompt(in.bytes()));
      if (request.prompts.size() >= limits::kMaxPrompts) in.fail("comes too often");
      request.prompts.push_back(std::move(prompt));
      break;
    }
    case 4:
      request.choices_per_prompt = static_cast<int>(in.uint_up_to(limits::kMaxChoices));
      break;
    case 5: {
      SLUICE_ASSIGN_OR_RETURN(request.sampling, read_sampling(in.bytes()));
      break;
    }
    case 6:
      request.echo = in.flag();
      break;
    case 7:
      request.truncate_prompt_tokens = static_cast<int>(in.uint_up_to(kMaxInt));
      break;
    case 11:
      request.deadline = now + std::chrono::milliseconds(in.uint_up_to(kMaxMilliseconds));
      break;
    case 12: {
      SLUICE_ASSIGN_OR_RETURN(request.resume, read_resume(in.bytes()));
      break;
    }
    default:
      if (!read_names(in, request)) in.unknown();
  }
  return {};
}

Outcome check(const Request& request) {
  if (request.prompts.empty()) return invalid("request: expected at least one prompt");
  const auto choices = request.prompts.size() * static_cast<size_t>(request.choices_per_prompt);
  if (choices == 0 || choices > limits::kMaxPrompts) {
    return invalid(fmt::format("request: prompts times choices must be from 1 to {}, not {}",
                               limits::kMaxPrompts, choices));
  }
  if (request.truncate_prompt_tokens == 0) {
    return invalid("request: a prompt cannot be truncated to nothing");
  }
  return {};
}

}  // namespace

std::string write_request(const Request& request, TimePoint now) {
  std::string body;
  WireWriter out(body);
  out.bytes(1, request.id);
  out.bytes(2, request.model);
  for (const completion::Prompt& prompt : request.prompts) {
    out.message(3, [&](WireWriter& inner) { write_prompt(inner, prompt); });
  }
  out.uint(4, static_cast<uint64_t>(request.choices_per_prompt));
  out.message(5, [&](WireWriter& inner) { write_sampling(inner, request.sampling); });
  out.flag(6, request.echo);
  if (request.truncate_prompt_tokens) {
    out.set_uint(7, static_cast<uint64_t>(*request.truncate_prompt_tokens));
  }
  out.sint(8, request.priority);
  out.bytes(9, request.tenant);
  out.bytes(10, request.cache_salt);
  if (request.deadline) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(*request.deadline - now);
    out.set_uint(11, std::min<uint64_t>(static_cast<uint64_t>(std::max<int64_t>(left.count(), 0)),
                                        kMaxMilliseconds));
  }
  if (request.resume) {
    out.message(12, [&](WireWriter& inner) { write_resume(inner, *request.resume); });
  }
  return body;
}

Result<Request> read_request(std::string_view body, TimePoint now) {
  Request request;
  WireReader in(body, "request");
  while (in.next()) SLUICE_RETURN_IF_ERROR(read_field(in, request, now));
  SLUICE_RETURN_IF_ERROR(in.outcome());
  SLUICE_RETURN_IF_ERROR(check(request));
  return request;
}

std::string write_tokenize_request(const completion::TokenizeRequest& request) {
  std::string body;
  WireWriter out(body);
  out.bytes(1, request.model);
  out.message(2, [&](WireWriter& inner) { write_prompt(inner, request.prompt); });
  out.flag(3, request.with_pieces);
  return body;
}

Result<completion::TokenizeRequest> read_tokenize_request(std::string_view body) {
  completion::TokenizeRequest request;
  bool prompted = false;
  WireReader in(body, "tokenize request");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        request.model = in.text(kMaxNameBytes);
        break;
      case 2: {
        SLUICE_ASSIGN_OR_RETURN(request.prompt, read_prompt(in.bytes()));
        prompted = true;
        break;
      }
      case 3:
        request.with_pieces = in.flag();
        break;
      default:
        in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  if (!prompted) return invalid("tokenize request: expected a prompt");
  return request;
}

std::string write_tokenize_result(const completion::TokenizeResult& result) {
  std::string body;
  WireWriter out(body);
  out.ids(1, result.tokens);
  for (const std::string& piece : result.pieces) out.set_bytes(2, piece);
  out.uint(3, static_cast<uint64_t>(result.max_model_len));
  return body;
}

Result<completion::TokenizeResult> read_tokenize_result(std::string_view body) {
  completion::TokenizeResult result;
  WireReader in(body, "tokenize result");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        in.ids(result.tokens);
        break;
      case 2:
        result.pieces.emplace_back(in.text());
        break;
      case 3:
        result.max_model_len = static_cast<int>(in.uint_up_to(kMaxInt));
        break;
      default:
        in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return result;
}

std::string write_detokenize_request(const DetokenizeRequest& request) {
  std::string body;
  WireWriter out(body);
  out.bytes(1, request.model);
  out.ids(2, request.tokens);
  return body;
}

Result<DetokenizeRequest> read_detokenize_request(std::string_view body) {
  DetokenizeRequest request;
  WireReader in(body, "detokenize request");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        request.model = in.text(kMaxNameBytes);
        break;
      case 2:
        in.ids(request.tokens);
        break;
      default:
        in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return request;
}

}  // namespace sluice::api
