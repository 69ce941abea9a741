#include "gateway/body_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <vector>

#include "base/json.h"

namespace sluice::gateway {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxTopKeys = 512;
constexpr size_t kMaxKeyBytes = 256;
constexpr size_t kMaxNameBytes = 1024;
constexpr int64_t kMaxCount = INT32_MAX;

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  Result<BodyFields> run() {
    blanks();
    if (!take('{')) return wrong("expected a JSON object");
    blanks();
    if (!take('}')) {
      SLUICE_RETURN_IF_ERROR(members());
    }
    blanks();
    if (at_ != text_.size()) return wrong("bytes behind the JSON object");
    return std::move(fields_);
  }

 private:
  std::unexpected<Status> wrong(std::string_view what) const {
    return invalid(fmt::format("the body is no JSON text: {} at byte {}", what, at_));
  }

  bool more() const { return at_ < text_.size(); }
  bool take(char c) {
    if (!more() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void blanks() {
    while (more() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  Outcome members() {
    while (true) {
      blanks();
      const size_t begin = at_;
      SLUICE_RETURN_IF_ERROR(string());
      if (keys_.size() >= kMaxTopKeys) return wrong("too many keys");
      SLUICE_ASSIGN_OR_RETURN(const std::string key, decode({begin, at_}, kMaxKeyBytes));
      if (std::ranges::find(keys_, key) != keys_.end()) return wrong("a key stands there twice");
      keys_.push_back(key);
      blanks();
      if (!take(':')) return wrong("expected ':'");
      blanks();
      const size_t value = at_;
      SLUICE_RETURN_IF_ERROR(skip_value());
      SLUICE_RETURN_IF_ERROR(note(key, {value, at_}));
      blanks();
      if (take('}')) return {};
      if (!take(',')) return wrong("expected ',' or '}'");
    }
  }

  // At a quote: to behind the closing one.
  Outcome string() {
    if (!take('"')) return wrong("expected a string");
    while (more()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return {};
      }
      if (static_cast<unsigned char>(c) < 0x20) return wrong("a control character in a string");
      at_ += c == '\\' ? 2 : 1;
    }
    at_ = text_.size();
    return wrong("a string without end");
  }

  // Numbers, true, false, null: any run of their characters.
  Outcome word() {
    const size_t begin = at_;
    while (more() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                      text_[at_] == '-' || text_[at_] == '+' || text_[at_] == '.')) {
      ++at_;
    }
    if (at_ == begin) return wrong("expected a value");
    return {};
  }

  Outcome skip_value() {
    std::array<char, kMaxDepth> open;
    size_t depth = 0;
    do {
      blanks();
      if (!more()) return wrong("the body ends too soon");
      const char c = text_[at_];
      if (c == '{' || c == '[') {
        if (depth == kMaxDepth) return wrong("values are nested too deeply");
        open[depth++] = c;
        ++at_;
        blanks();
        // An empty one falls through to its end.
        if (!more() || (text_[at_] != '}' && text_[at_] != ']')) {
          if (c == '{') SLUICE_RETURN_IF_ERROR(key());
          continue;
        }
      } else if (c == '"') {
        SLUICE_RETURN_IF_ERROR(string());
      } else {
        SLUICE_RETURN_IF_ERROR(word());
      }
      SLUICE_RETURN_IF_ERROR(close(open, depth));
    } while (depth > 0);
    return {};
  }

  // Behind a value: the ends of what it completes, then the comma before the next one.
  Outcome close(const std::array<char, kMaxDepth>& open, size_t& depth) {
    while (depth > 0) {
      blanks();
      if (!more()) return wrong("the body ends too soon");
      const char c = text_[at_];
      const bool in_object = open[depth - 1] == '{';
      if (c == ',') {
        ++at_;
        blanks();
        if (in_object) return key();
        return {};
      }
      if (c != (in_object ? '}' : ']')) return wrong("expected ',' or a closing bracket");
      ++at_;
      --depth;
    }
    return {};
  }

  Outcome key() {
    SLUICE_RETURN_IF_ERROR(string());
    blanks();
    if (!take(':')) return wrong("expected ':'");
    return {};
  }

  // The string that stands in `span`.
  Result<std::string> decode(Span span, size_t max_bytes) const {
    const std::string_view raw = span.of(text_);
    if (raw.size() > max_bytes + 2) return wrong("a name that is too long");
    // Escapes, and whether it is UTF-8 at all, are for the real parser.
    const bool plain = std::ranges::all_of(
        raw, [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != '\\'; });
    if (plain) {
      return std::string(raw.substr(1, raw.size() - 2));
    }
    SLUICE_ASSIGN_OR_RETURN(const json::value value, parse_json(raw));
    if (!value.is_string()) return wrong("expected a string");
    return std::string(std::string_view(value.get_string()));
  }

  // Counts are what a request can cost: one that the upstream might read otherwise is refused.
  Result<std::optional<int64_t>> whole_number(std::string_view key, Span value) const {
    const std::string_view raw = value.of(text_);
    if (raw == "null") return std::nullopt;
    int64_t count = 0;
    const auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), count);
    if (error != std::errc() || end != raw.data() + raw.size() || count < 0 || count > kMaxCount) {
      return invalid(fmt::format("{} must be a whole number up to {}", key, kMaxCount),
                     std::string(key));
    }
    return count;
  }

  Outcome note(std::string_view key, Span value) {
    const bool is_string = text_[value.begin] == '"';
    if (key == "model") {
      if (!is_string) return invalid("model must be a string", "model");
      SLUICE_ASSIGN_OR_RETURN(fields_.model, decode(value, kMaxNameBytes));
      fields_.model_value = value;
    } else if (key == "stream") {
      fields_.stream = value.of(text_) == "true";
    } else if (key == "user" && is_string && value.end - value.begin <= kMaxNameBytes) {
      SLUICE_ASSIGN_OR_RETURN(fields_.user, decode(value, kMaxNameBytes));
    } else if ((key == "conversation" || key == "session_id" || key == "prompt_cache_key") &&
               value.end - value.begin <= kMaxNameBytes && fields_.conversation.empty()) {
      // Only compared, never shown: its JSON text names it as well.
      fields_.conversation = value.of(text_);
    } else if (key == "max_tokens" || key == "max_completion_tokens" ||
               key == "max_output_tokens") {
      SLUICE_ASSIGN_OR_RETURN(const auto count, whole_number(key, value));
      if (count) fields_.max_tokens = std::max(fields_.max_tokens.value_or(0), *count);
      if (!count && key == "max_tokens") fields_.null_max_tokens = value;
      if (!count && key == "max_output_tokens") fields_.null_max_output_tokens = value;
    } else if (key == "n" || key == "best_of") {
      SLUICE_ASSIGN_OR_RETURN(const auto count, whole_number(key, value));
      if (count) fields_.choices = std::max(fields_.choices, *count);
    } else if (key == "messages" || key == "prompt") {
      fields_.prompt = value;
      fields_.input_only = false;
    } else if (key == "input" && fields_.prompt.empty()) {
      fields_.prompt = value;
      fields_.input_only = true;
    }
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  BodyFields fields_;
  std::vector<std::string> keys_;
};

}  // namespace

Result<BodyFields> scan_body(std::string_view body) { return Scanner(body).run(); }

std::string with_model(std::string_view body, const BodyFields& fields, std::string_view model) {
  if (fields.model_value.empty()) return std::string(body);
  std::string out;
  out.reserve(body.size() + model.size());
  out.append(body.substr(0, fields.model_value.begin));
  out.append(to_json(json::value(model)));
  out.append(body.substr(fields.model_value.end));
  return out;
}

Result<std::string> with_max_tokens(std::string_view body, BodyFields& fields, int64_t max_tokens) {
  const Span& null = fields.input_only ? fields.null_max_output_tokens : fields.null_max_tokens;
  std::string out;
  if (!null.empty()) {
    out = fmt::format("{}{}{}", body.substr(0, null.begin), max_tokens, body.substr(null.end));
  } else {
    // It has a prompt, so that something follows.
    const size_t behind_brace = body.find('{') + 1;
    out = fmt::format("{}\"{}\":{},{}", body.substr(0, behind_brace),
                      fields.input_only ? "max_output_tokens" : "max_tokens", max_tokens,
                      body.substr(behind_brace));
  }
  SLUICE_ASSIGN_OR_RETURN(BodyFields anew, scan_body(out));
  anew.model = std::move(fields.model);  // it may stand in the path
  fields = std::move(anew);
  return out;
}

}  // namespace sluice::gateway
