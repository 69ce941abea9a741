#include "api/internal_sampling.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/limits.h"

namespace sluice::api {
namespace {

using completion::Sampling;

constexpr uint64_t kMaxInt = std::numeric_limits<int>::max();

void write_optional(WireWriter& out, uint32_t field, const std::optional<double>& value) {
  if (value) out.set_real(field, *value);
}

double finite(WireReader& in) {
  const double value = in.real();
  if (!std::isfinite(value)) in.fail("must be a finite number");
  return value;
}

int count(WireReader& in) { return static_cast<int>(in.uint_up_to(kMaxInt)); }

// As -1, which stands for none, and up.
int logprobs(WireReader& in) {
  return static_cast<int>(in.uint_up_to(limits::kMaxTopLogprobs + 1)) - 1;
}

void add_word(WireReader& in, std::vector<std::string>& words, size_t most) {
  std::string word = in.text(limits::kMaxStopBytes);
  if (in.failed()) return;
  if (word.empty()) return in.fail("must not be empty");
  if (words.size() >= most) return in.fail("comes too often");
  words.push_back(std::move(word));
}

void add_bias(WireReader& in, Sampling& sampling) {
  std::pair<int32_t, float> bias;
  WireReader inner(in.bytes(), "logit bias");
  while (inner.next()) {
    switch (inner.field()) {
      case 1:
        bias.first = count(inner);
        break;
      case 2:
        bias.second = inner.real32();
        break;
      default:
        inner.unknown();
    }
  }
  if (inner.failed()) return in.fail(inner.outcome().error());
  if (!std::isfinite(bias.second)) return in.fail("must be a finite number");
  if (sampling.logit_bias.size() >= limits::kMaxLogitBias) return in.fail("comes too often");
  sampling.logit_bias.push_back(bias);
}

bool read_number(WireReader& in, Sampling& s) {
  switch (in.field()) {
    case 1:
      s.temperature = finite(in);
      return true;
    case 2:
      s.top_k = count(in);
      return true;
    case 3:
      s.top_p = finite(in);
      return true;
    case 4:
      s.min_p = finite(in);
      return true;
    case 5:
      s.typical_p = finite(in);
      return true;
    case 6:
      s.repetition_penalty = finite(in);
      return true;
    case 7:
      s.presence_penalty = finite(in);
      return true;
    case 8:
      s.frequency_penalty = finite(in);
      return true;
    default:
      return false;
  }
}

bool read_rule(WireReader& in, Sampling& s) {
  switch (in.field()) {
    case 9:
      add_bias(in, s);
      return true;
    case 10:
      add_word(in, s.bad_words, limits::kMaxBadWords);
      return true;
    case 11:
      in.ids(s.allowed_tokens, limits::kMaxVocabulary);
      return true;
    case 12:
      s.seed = in.uint();
      return true;
    case 20:
      s.logprobs = logprobs(in);
      return true;
    case 21:
      s.prompt_logprobs = logprobs(in);
      return true;
    default:
      return false;
  }
}

bool read_end(WireReader& in, Sampling& s) {
  switch (in.field()) {
    case 13:
      s.max_tokens = count(in);
      return true;
    case 14:
      s.min_tokens = count(in);
      return true;
    case 15:
      s.ignore_eos = in.flag();
      return true;
    case 16:
      add_word(in, s.stop, limits::kMaxStopStrings);
      return true;
    case 17:
      in.ids(s.stop_tokens, limits::kMaxStopTokens);
      return true;
    case 18:
      s.include_stop_text = in.flag();
      return true;
    case 19:
      s.skip_special_tokens = !in.flag();
      return true;
    default:
      return false;
  }
}

void write_numbers(WireWriter& out, const Sampling& s) {
  write_optional(out, 1, s.temperature);
  if (s.top_k) out.set_uint(2, static_cast<uint64_t>(*s.top_k));
  write_optional(out, 3, s.top_p);
  write_optional(out, 4, s.min_p);
  write_optional(out, 5, s.typical_p);
  write_optional(out, 6, s.repetition_penalty);
  out.real(7, s.presence_penalty);
  out.real(8, s.frequency_penalty);
}

}  // namespace

void write_sampling(WireWriter& out, const Sampling& s) {
  write_numbers(out, s);
  for (const auto& [token, value] : s.logit_bias) {
    out.message(9, [&](WireWriter& inner) {
      inner.uint(1, static_cast<uint64_t>(token));
      inner.set_float(2, value);
    });
  }
  for (const std::string& word : s.bad_words) out.set_bytes(10, word);
  out.ids(11, s.allowed_tokens);
  if (s.seed) out.set_uint(12, *s.seed);
  if (s.max_tokens) out.set_uint(13, static_cast<uint64_t>(*s.max_tokens));
  out.uint(14, static_cast<uint64_t>(s.min_tokens));
  out.flag(15, s.ignore_eos);
  for (const std::string& stop : s.stop) out.set_bytes(16, stop);
  out.ids(17, s.stop_tokens);
  out.flag(18, s.include_stop_text);
  out.flag(19, !s.skip_special_tokens);
  out.uint(20, static_cast<uint64_t>(s.logprobs + 1));
  out.uint(21, static_cast<uint64_t>(s.prompt_logprobs + 1));
}

Result<Sampling> read_sampling(std::string_view bytes) {
  Sampling sampling;
  WireReader in(bytes, "sampling");
  while (in.next()) {
    if (!read_number(in, sampling) && !read_rule(in, sampling) && !read_end(in, sampling)) {
      in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return sampling;
}

}  // namespace sluice::api
