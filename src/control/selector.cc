#include "control/selector.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "control/json_util.h"
#include "control/limits.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

std::unexpected<ApiError> bad(std::string_view what, std::string_view text, std::string_view why) {
  return bad_request(
      fmt::format("unable to parse the {} selector \"{}\": {}", what, text.substr(0, 200), why));
}

// The words and marks of a label selector.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : rest_(text) {}

  // "(", ")", ",", "!", "=", "==", "!=", "<", ">", or a word; empty at the end.
  std::string_view next() {
    const std::string_view token = peek();
    rest_.remove_prefix(token.size());
    return token;
  }

  std::string_view peek() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) {
      rest_.remove_prefix(1);
    }
    if (rest_.starts_with("==") || rest_.starts_with("!=")) return rest_.substr(0, 2);
    size_t end = 0;
    while (end < rest_.size() && !is_mark(rest_[end])) ++end;
    return rest_.substr(0, end == 0 ? std::min<size_t>(1, rest_.size()) : end);
  }

  static bool is_mark(char c) { return std::string_view("(),!=<> \t").contains(c); }
  static bool is_word(std::string_view token) { return !token.empty() && !is_mark(token.front()); }

 private:
  std::string_view rest_;
};

std::optional<int64_t> integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "(a,b,)" → values; nothing when it is malformed.
std::optional<std::vector<std::string>> parse_values(Lexer& lexer) {
  if (lexer.next() != "(") return std::nullopt;
  std::vector<std::string> values;
  std::string value;
  while (true) {
    const std::string_view token = lexer.next();
    if (token == "," || token == ")") {
      values.push_back(std::move(value));
      value.clear();
      if (token == ")") return values;
    } else if (Lexer::is_word(token) && value.empty()) {
      value = token;
    } else {
      return std::nullopt;
    }
    if (values.size() > limits::kMaxSelectorTerms) return std::nullopt;
  }
}

// The value behind '=', which may be empty.
std::string take_value(Lexer& lexer) {
  return Lexer::is_word(lexer.peek()) ? std::string(lexer.next()) : std::string();
}

}  // namespace

ApiResult<std::vector<Selector::Term>> Selector::parse_labels(std::string_view text) {
  std::vector<Term> terms;
  if (text.empty()) return terms;
  Lexer lexer(text);
  while (true) {
    Term term;
    const bool negated = lexer.peek() == "!";
    if (negated) lexer.next();
    if (!Lexer::is_word(lexer.peek())) return bad("label", text, "expected a key");
    term.key = lexer.next();
    if (const std::string problem = label_key_problem(term.key); !problem.empty()) {
      return bad("label", text, fmt::format("the key \"{}\" {}", term.key, problem));
    }
    const std::string_view op = lexer.peek();
    if (negated || op.empty() || op == ",") {
      term.op = negated ? Op::kNotExists : Op::kExists;
    } else if (op == "=" || op == "==" || op == "!=") {
      term.op = op == "!=" ? Op::kNotIn : Op::kIn;
      lexer.next();
      term.values.push_back(take_value(lexer));
    } else if (op == "in" || op == "notin") {
      term.op = op == "in" ? Op::kIn : Op::kNotIn;
      lexer.next();
      auto values = parse_values(lexer);
      if (!values) return bad("label", text, "expected (value, value, …)");
      term.values = *std::move(values);
    } else if (op == ">" || op == "<") {
      term.op = op == ">" ? Op::kGreater : Op::kLess;
      lexer.next();
      term.values.push_back(take_value(lexer));
      if (!integer(term.values.front())) return bad("label", text, "expected an integer");
    } else {
      return bad("label", text, "expected =, ==, !=, in, notin, < or >");
    }
    for (const std::string& value : term.values) {
      if (const std::string problem = label_value_problem(value); !problem.empty()) {
        return bad("label", text, fmt::format("the value \"{}\" {}", value, problem));
      }
    }
    terms.push_back(std::move(term));
    if (terms.size() > limits::kMaxSelectorTerms) return bad("label", text, "too many terms");
    const std::string_view mark = lexer.next();
    if (mark.empty()) return terms;
    if (mark != ",") return bad("label", text, "expected ',' between the terms");
  }
}

ApiResult<std::vector<Selector::Term>> Selector::parse_fields(std::string_view text) {
  std::vector<Term> terms;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view part = rest.substr(0, comma);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    if (part.empty()) continue;
    const size_t mark = part.find('=');
    if (mark == std::string_view::npos || mark == 0) {
      return bad("field", text, "expected field=value or field!=value");
    }
    Term term;
    std::string_view key = part.substr(0, mark);
    std::string_view value = part.substr(mark + 1);
    if (value.starts_with('=')) value.remove_prefix(1);
    if (key.ends_with('!')) {
      key.remove_suffix(1);
      term.op = Op::kNotIn;
    }
    if (key.empty()) return bad("field", text, "expected field=value or field!=value");
    term.key = key;
    term.values.emplace_back(value);
    terms.push_back(std::move(term));
    if (terms.size() > limits::kMaxSelectorTerms) return bad("field", text, "too many terms");
  }
  return terms;
}

ApiResult<Selector> Selector::parse(std::string_view labels, std::string_view fields) {
  if (labels.size() > limits::kMaxSelectorBytes || fields.size() > limits::kMaxSelectorBytes) {
    return bad_request(
        fmt::format("a selector may have at most {} bytes", limits::kMaxSelectorBytes));
  }
  Selector selector;
  SLUICE_ASSIGN_OR_RETURN(selector.labels_, parse_labels(labels));
  SLUICE_ASSIGN_OR_RETURN(selector.fields_, parse_fields(fields));
  return selector;
}

bool Selector::label_holds(const Term& term, const json::object* labels) {
  const json::value* found = labels == nullptr ? nullptr : labels->if_contains(term.key);
  const bool present = found != nullptr && found->is_string();
  const std::string_view value = present ? std::string_view(found->get_string()) : "";
  switch (term.op) {
    case Op::kExists:
      return present;
    case Op::kNotExists:
      return !present;
    case Op::kIn:
      return present && std::ranges::find(term.values, value) != term.values.end();
    case Op::kNotIn:
      return !present || std::ranges::find(term.values, value) == term.values.end();
    case Op::kGreater:
    case Op::kLess: {
      const auto mine = integer(value);
      const auto bound = integer(term.values.front());
      if (!present || !mine || !bound) return false;
      return term.op == Op::kGreater ? *mine > *bound : *mine < *bound;
    }
  }
  return false;
}

bool Selector::matches(const json::object& object) const {
  if (!labels_.empty()) {
    const auto* labels = object_at(object, "metadata.labels");
    for (const Term& term : labels_) {
      if (!label_holds(term, labels)) return false;
    }
  }
  for (const Term& term : fields_) {
    const json::value* found = find_path(object, term.key);
    std::string text;
    if (found != nullptr) {
      text = found->is_string() ? std::string(std::string_view(found->get_string()))
                                : json::serialize(*found);
    }
    if ((text == term.values.front()) != (term.op == Op::kIn)) return false;
  }
  return true;
}

std::string_view Selector::only_name() const {
  for (const Term& term : fields_) {
    if (term.key == "metadata.name" && term.op == Op::kIn) return term.values.front();
  }
  return {};
}

}  // namespace sluice::control
