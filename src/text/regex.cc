#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "text/pre_patterns.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

// A match that backtracks further is given up. Patterns of real tokenizers need a few steps per
// character and never repeat a group over a whole text.
constexpr uint32_t kMatchLimit = 5'000'000;
constexpr uint32_t kHeapLimitKib = 64 << 10;
constexpr uint32_t kProbeMatchLimit = 400'000;

struct CodeFree {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
};
struct ContextFree {
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};
struct DataFree {
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
};

// One per thread: only the bounds of the match are read.
pcre2_match_data* match_data() {
  thread_local std::unique_ptr<pcre2_match_data, DataFree> data(
      pcre2_match_data_create(1, nullptr));
  SLUICE_CHECK(data != nullptr, "out of memory");
  return data.get();
}

std::unique_ptr<pcre2_match_context, ContextFree> make_context(uint32_t match_limit) {
  std::unique_ptr<pcre2_match_context, ContextFree> context(pcre2_match_context_create(nullptr));
  SLUICE_CHECK(context != nullptr, "out of memory");
  pcre2_set_match_limit(context.get(), match_limit);
  pcre2_set_depth_limit(context.get(), match_limit);
  pcre2_set_heap_limit(context.get(), kHeapLimitKib);
  return context;
}

enum class Found { kMatch, kNone, kLimit };

Found run(const pcre2_code* code, pcre2_match_context* context, std::string_view text, size_t start,
          TextRange& range) {
  pcre2_match_data* data = match_data();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int rc = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK, data, context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    rc = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data,
                     context);
  }
  if (rc == PCRE2_ERROR_NOMATCH) return Found::kNone;
  if (rc < 0) return Found::kLimit;
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data);
  range = {bounds[0], bounds[1]};
  // \K and lookaheads can put the start behind the end; no such match is usable.
  if (range.end < range.begin || range.begin < start) return Found::kLimit;
  return Found::kMatch;
}

}  // namespace

struct Regex::Compiled {
  std::unique_ptr<pcre2_code, CodeFree> code;
  std::unique_ptr<pcre2_match_context, ContextFree> context;
};

namespace {

Result<std::unique_ptr<pcre2_code, CodeFree>> compile_code(std::string_view pattern,
                                                           uint32_t more_options) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  std::unique_ptr<pcre2_code, CodeFree> code(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | more_options, &error,
      &offset, nullptr));
  if (code) return code;
  std::array<PCRE2_UCHAR, 256> message{};
  pcre2_get_error_message(error, message.data(), message.size());
  return invalid(fmt::format("the pre-tokenizer pattern does not compile: {} (at byte {})",
                             reinterpret_cast<const char*>(message.data()), offset));
}

// Runs of characters that a pattern may stumble over: of each kind, and of the pattern's own.
std::vector<std::string> make_probes(std::string_view pattern) {
  constexpr size_t kRun = 400;
  constexpr size_t kMaxProbes = 64;
  std::vector<std::string> units = {"a", " ", "0", "aA", "\u4e2d", "a "};
  while (!pattern.empty() && units.size() < kMaxProbes) {
    std::string own(pattern.substr(0, char_length(pattern[0])));
    pattern.remove_prefix(own.size());
    if (std::ranges::find(units, own) == units.end()) units.push_back(std::move(own));
  }
  for (std::string& unit : units) {
    std::string run;
    for (size_t i = 0; i < kRun; ++i) run += unit;
    unit = std::move(run);
  }
  return units;
}

// A pattern such as (a+)+$ needs exponential time on the run of equal characters that breaks it.
// `code` is compiled without start optimizations, which would look for a required character first
// and hide that.
bool explodes(const pcre2_code* code, std::string_view pattern) {
  const auto context = make_context(kProbeMatchLimit);
  for (const std::string& probe : make_probes(pattern)) {
    for (const std::string_view end : {"", "!", "\n", "\x01"}) {
      TextRange range;
      if (run(code, context.get(), probe + std::string(end), 0, range) == Found::kLimit) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

Result<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return invalid(fmt::format("a pre-tokenizer pattern of {} bytes; at most {} are read",
                               pattern.size(), kMaxPatternBytes));
  }
  SLUICE_ASSIGN_OR_RETURN(const std::string translated, translate_pattern(pattern));
  if (!is_known_pattern(pattern)) {
    SLUICE_ASSIGN_OR_RETURN(const auto probed, compile_code(translated, PCRE2_NO_START_OPTIMIZE));
    if (explodes(probed.get(), pattern)) {
      return invalid(
          "the pre-tokenizer pattern backtracks without bound on a run of equal characters; "
          "expected one that needs a bounded number of steps per character");
    }
  }
  auto compiled = std::make_shared<Compiled>();
  SLUICE_ASSIGN_OR_RETURN(compiled->code, compile_code(translated, 0));
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);  // without JIT it is interpreted
  compiled->context = make_context(kMatchLimit);
  Regex regex;
  regex.compiled_ = std::move(compiled);
  return regex;
}

RegexScanner::RegexScanner(const Regex& regex, std::string_view text)
    : compiled_(regex.compiled()), text_(text) {}

std::optional<TextRange> RegexScanner::next() {
  while (position_ <= text_.size() && !gave_up_) {
    TextRange range;
    const Found found = run(compiled_.code.get(), compiled_.context.get(), text_, position_, range);
    if (found == Found::kNone) {
      position_ = text_.size() + 1;
      return std::nullopt;
    }
    if (found == Found::kLimit) {
      gave_up_ = true;
      return std::nullopt;
    }
    const bool empty = range.begin == range.end;
    position_ = range.end;
    if (empty) position_ += range.end < text_.size() ? char_length(text_[range.end]) : 1;
    if (empty && last_end_ == range.end) continue;
    last_end_ = range.end;
    return range;
  }
  return std::nullopt;
}

}  // namespace sluice::text
