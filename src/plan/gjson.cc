#include "plan/gjson.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

namespace sluice::plan {
namespace {

using Step = GjsonPath::Step;
using Query = GjsonPath::Query;
using Operator = GjsonPath::Operator;

struct Word {
  std::string_view text;
  Operator op;
};
// The longer ones first.
constexpr std::array<Word, 9> kOperators = {{{"==", Operator::kEqual},
                                             {"!=", Operator::kNotEqual},
                                             {"!%", Operator::kUnlike},
                                             {"<=", Operator::kLessEqual},
                                             {">=", Operator::kMoreEqual},
                                             {"=", Operator::kEqual},
                                             {"<", Operator::kLess},
                                             {">", Operator::kMore},
                                             {"%", Operator::kLike}}};

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

class Reader {
 public:
  Reader(std::string_view text, int depth) : text_(text), depth_(depth) {}

  Result<std::vector<Step>> run() {
    if (depth_ > GjsonPath::kMaxDepth) return invalid("queries are nested too deeply");
    std::vector<Step> steps;
    while (true) {
      SLUICE_ASSIGN_OR_RETURN(Step step, read_step());
      steps.push_back(std::move(step));
      if (at_ == text_.size()) return steps;
      if (text_[at_] == '|') return invalid("'|' is not understood here; use '.'");
      if (text_[at_] != '.') {
        return invalid(fmt::format("expected '.' at character {}", at_ + 1));
      }
      ++at_;
    }
  }

 private:
  bool ends(size_t at) const { return at == text_.size() || text_[at] == '.' || text_[at] == '|'; }

  Result<Step> read_step() {
    if (at_ == text_.size()) return invalid("expected a key at the end");
    const std::string_view rest = text_.substr(at_);
    constexpr std::string_view kWrapped = "[@this]";
    if (rest.starts_with(kWrapped) && ends(at_ + kWrapped.size())) {
      at_ += kWrapped.size();
      return Step{.kind = Step::Kind::kWrapped, .key = {}, .query = {}};
    }
    if (rest.front() == '[' || rest.front() == '{') {
      return invalid("several paths at once are not understood: only [@this]");
    }
    if (rest.front() == '@') return read_modifier();
    if (rest.front() == '!') return invalid("literals are not understood");
    if (rest.front() == '#') return read_hash();
    return read_key();
  }

  Result<Step> read_modifier() {
    const size_t end = std::min(text_.find_first_of(".|:", at_), text_.size());
    const std::string_view name = text_.substr(at_, end - at_);
    if (name != "@this") {
      return invalid(
          fmt::format("the modifier {} is not understood; only @this is", name.substr(0, 64)));
    }
    at_ = end;
    return Step{.kind = Step::Kind::kThis, .key = {}, .query = {}};
  }

  Result<Step> read_hash() {
    ++at_;
    if (ends(at_)) return Step{.kind = Step::Kind::kCount, .key = {}, .query = {}};
    if (text_[at_] != '(') return invalid("expected '(', '.' or the end behind '#'");
    const size_t begin = at_ + 1;
    SLUICE_ASSIGN_OR_RETURN(const size_t end, closing(begin));
    SLUICE_ASSIGN_OR_RETURN(Query query, read_query(text_.substr(begin, end - begin)));
    at_ = end + 1;
    Step step{.kind = Step::Kind::kFirst,
              .key = {},
              .query = std::make_shared<const Query>(std::move(query))};
    if (at_ < text_.size() && text_[at_] == '#') {
      step.kind = Step::Kind::kAll;
      ++at_;
    }
    return step;
  }

  // Of the bracket before `at`, past strings and brackets within.
  Result<size_t> closing(size_t at) const {
    int open = 1;
    for (; at < text_.size(); ++at) {
      const char c = text_[at];
      if (c == '\\') {
        ++at;
      } else if (c == '"') {
        at = string_end(at);
      } else if (c == '(') {
        ++open;
      } else if (c == ')' && --open == 0) {
        return at;
      }
    }
    return invalid("a query has no closing bracket");
  }

  // Of the string that begins at `at`; the text's end where it has none.
  size_t string_end(size_t at) const {
    for (++at; at < text_.size() && text_[at] != '"'; ++at) {
      if (text_[at] == '\\') ++at;
    }
    return std::min(at, text_.size());
  }

  Result<Query> read_query(std::string_view text) const {
    text = trimmed(text);
    const auto [at, found] = find_operator(text);
    Query query;
    const std::string_view path = trimmed(text.substr(0, at));
    if (!path.empty()) {
      SLUICE_ASSIGN_OR_RETURN(query.path, Reader(path, depth_ + 1).run());
    }
    if (found == nullptr) {
      if (path.empty()) return invalid("a query is empty");
      return query;
    }
    query.op = found->op;
    std::string_view operand = trimmed(text.substr(at + found->text.size()));
    if (operand.starts_with('~')) return invalid("'~' is not understood");
    if (operand.starts_with('"')) {
      if (operand.size() < 2 || !operand.ends_with('"')) {
        return invalid("a string in a query has no end");
      }
      SLUICE_ASSIGN_OR_RETURN(const json::value value, parse_json(operand));
      if (!value.is_string()) return invalid("a string in a query has no end");
      query.operand = std::string_view(value.get_string());
    } else {
      query.operand = operand;
    }
    return query;
  }

  // The first operator that stands in no bracket.
  static std::pair<size_t, const Word*> find_operator(std::string_view text) {
    int open = 0;
    for (size_t at = 0; at < text.size(); ++at) {
      if (text[at] == '\\') {
        ++at;
        continue;
      }
      open += text[at] == '(' ? 1 : text[at] == ')' ? -1 : 0;
      if (open > 0) continue;
      for (const Word& word : kOperators) {
        if (text.substr(at).starts_with(word.text)) return {at, &word};
      }
    }
    return {text.size(), nullptr};
  }

  Result<Step> read_key() {
    Step step;
    while (!ends(at_)) {
      const char c = text_[at_++];
      if (c == '\\') {
        if (at_ == text_.size()) return invalid("a character is missing behind '\\'");
        step.key += '\\';
        step.key += text_[at_++];
        continue;
      }
      step.pattern = step.pattern || c == '*' || c == '?';
      step.key += c;
    }
    if (step.key.empty()) return invalid(fmt::format("expected a key at character {}", at_ + 1));
    return step;
  }

  const std::string_view text_;
  const int depth_;
  size_t at_ = 0;
};

std::string plain(std::string_view key) {
  std::string out;
  for (size_t i = 0; i < key.size(); ++i) {
    if (key[i] == '\\' && i + 1 < key.size()) ++i;
    out += key[i];
  }
  return out;
}

// '*' any text, '?' any character; '\' takes the next as it is. Linear in text times stars.
bool like(std::string_view text, std::string_view pattern) {
  size_t t = 0;
  size_t p = 0;
  std::optional<std::pair<size_t, size_t>> star;
  while (t < text.size()) {
    const bool escaped = p + 1 < pattern.size() && pattern[p] == '\\';
    const size_t here = escaped ? p + 1 : p;
    if (here < pattern.size() && !escaped && pattern[here] == '*') {
      star = {++p, t};
    } else if (here < pattern.size() &&
               ((!escaped && pattern[here] == '?') || pattern[here] == text[t])) {
      p = here + 1;
      ++t;
    } else if (star) {
      p = star->first;
      t = ++star->second;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

template <typename T>
bool compare(Operator op, const T& left, const T& right) {
  switch (op) {
    case Operator::kEqual:
      return left == right;
    case Operator::kNotEqual:
      return left != right;
    case Operator::kLess:
      return left < right;
    case Operator::kLessEqual:
      return left <= right;
    case Operator::kMore:
      return left > right;
    case Operator::kMoreEqual:
      return left >= right;
    default:
      return false;
  }
}

// What is compared with the operand depends on what is there.
bool compares(const json::value& value, const Query& query) {
  if (value.is_string()) {
    const std::string_view text = value.get_string();
    if (query.op == Operator::kLike) return like(text, query.operand);
    if (query.op == Operator::kUnlike) return !like(text, query.operand);
    return compare<std::string_view>(query.op, text, query.operand);
  }
  if (value.is_number()) {
    double operand = 0;
    const char* end = query.operand.data() + query.operand.size();
    const auto [at, error] = std::from_chars(query.operand.data(), end, operand);
    if (error != std::errc() || at != end) return query.op == Operator::kNotEqual;
    return compare(query.op, value.to_number<double>(), operand);
  }
  if (value.is_bool()) {
    const bool is_true = query.operand == "true";
    if (!is_true && query.operand != "false") return query.op == Operator::kNotEqual;
    return compare(query.op, value.get_bool(), is_true);
  }
  const bool same = value.is_null() && query.operand == "null";
  return query.op == Operator::kEqual ? same : query.op == Operator::kNotEqual && !same;
}

struct Found {
  const json::value* value = nullptr;  // null: something that stands nowhere
  bool there = false;
  json::value made = {};  // a list or a number that the path makes
  const json::value& get() const { return value != nullptr ? *value : made; }
};

Found follow(const json::value& value, const Step* step, const Step* end);

bool holds(const json::value& item, const Query& query) {
  const Found found = follow(item, query.path.data(), query.path.data() + query.path.size());
  if (!found.there) return false;
  return query.op == Operator::kHas || compares(found.get(), query);
}

Found made(json::value value, const Step* rest, const Step* end) {
  Found found;
  found.made = std::move(value);
  found.there = true;
  if (rest == end) return found;
  Found behind = follow(found.made, rest, end);
  // It may point into what ends here.
  if (behind.value != nullptr) {
    json::value copy = *behind.value;
    behind.made = std::move(copy);
    behind.value = nullptr;
  }
  return behind;
}

// What the rest of the path finds in each item.
json::value collected(const json::array& list, const Query* query, const Step* rest,
                      const Step* end) {
  json::array out;
  for (const json::value& item : list) {
    if (query != nullptr && !holds(item, *query)) continue;
    const Found found = follow(item, rest, end);
    if (found.there) out.push_back(found.get());
  }
  return out;
}

Found by_key(const json::value& value, const Step* step, const Step* end) {
  if (const json::object* object = value.if_object()) {
    for (const auto& [key, item] : *object) {
      const std::string_view name = key;
      const bool fits = step->pattern ? like(name, step->key) : name == plain(step->key);
      if (fits) return follow(item, step + 1, end);
    }
    return {};
  }
  const json::array* list = value.if_array();
  size_t index = 0;
  const char* last = step->key.data() + step->key.size();
  const auto [at, error] = std::from_chars(step->key.data(), last, index);
  if (list == nullptr || error != std::errc() || at != last || index >= list->size()) return {};
  return follow((*list)[index], step + 1, end);
}

Found follow(const json::value& value, const Step* step, const Step* end) {
  if (step == end) return {.value = &value, .there = true};
  const json::array* list = value.if_array();
  switch (step->kind) {
    case Step::Kind::kKey:
      return by_key(value, step, end);
    case Step::Kind::kThis:
      return follow(value, step + 1, end);
    case Step::Kind::kWrapped:
      return made(json::array{value}, step + 1, end);
    case Step::Kind::kCount:
      if (list == nullptr) return {};
      if (step + 1 == end) return made(list->size(), end, end);
      return made(collected(*list, nullptr, step + 1, end), end, end);
    case Step::Kind::kFirst:
      if (list == nullptr) return {};
      for (const json::value& item : *list) {
        if (holds(item, *step->query)) return follow(item, step + 1, end);
      }
      return {};
    case Step::Kind::kAll:
      if (list == nullptr) return {};
      return made(collected(*list, step->query.get(), step + 1, end), end, end);
  }
  return {};
}

}  // namespace

Result<GjsonPath> GjsonPath::parse(std::string_view text) {
  if (text.empty() || text.size() > kMaxBytes) {
    return invalid(fmt::format("a path of 1 to {} bytes is expected", kMaxBytes));
  }
  auto steps = Reader(text, 0).run();
  if (!steps) return std::unexpected(steps.error().at(fmt::format("the path '{}'", text)));
  return GjsonPath(*std::move(steps));
}

bool GjsonPath::exists(const json::value& value) const {
  return follow(value, steps_.data(), steps_.data() + steps_.size()).there;
}

}  // namespace sluice::plan
