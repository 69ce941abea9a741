#include "plan/json_outline.h"

#include <algorithm>
#include <unordered_map>

namespace sluice::plan {
namespace {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::string_view rest() const { return text_.substr(at_); }
  void skip(size_t bytes) { at_ += bytes; }
  bool at_end() const { return at_ == text_.size(); }

  void blanks() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  // Blanks, then this.
  bool take(char c) {
    blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool sees(char c) {
    blanks();
    return at_ < text_.size() && text_[at_] == c;
  }

  // With its quotes; nothing when it does not end.
  std::optional<std::string_view> string() {
    const size_t begin = at_;
    if (!take_string()) return std::nullopt;
    return text_.substr(begin, at_ - begin);
  }

  // A value, whose brackets are counted but not told apart.
  std::optional<std::string_view> value() {
    blanks();
    const size_t begin = at_;
    if (at_ == text_.size()) return std::nullopt;
    if (text_[at_] == '"') return string();
    if (text_[at_] != '{' && text_[at_] != '[') {
      at_ = std::min(text_.size(), text_.find_first_of(",]} \n\r\t", at_));
      if (at_ == begin) return std::nullopt;
      return text_.substr(begin, at_ - begin);
    }
    size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!take_string()) return std::nullopt;
        continue;
      }
      ++at_;
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && --depth == 0) return text_.substr(begin, at_ - begin);
    }
    return std::nullopt;
  }

 private:
  // From its first quote to behind its last.
  bool take_string() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }

  std::string_view text_;
  size_t at_ = 0;
};

// Finds items of the list before. Most stand in the same order.
class Before {
 public:
  explicit Before(std::span<const std::string_view> items) : items_(items) {}

  // The next one, or the one behind it, where `text` begins with it: an object ends where it ends.
  size_t begin_of(std::string_view text) {
    for (size_t i = next_; i < std::min(items_.size(), next_ + 2); ++i) {
      if (!text.starts_with(items_[i])) continue;
      next_ = i + 1;
      return i;
    }
    return OutlineItem::kNew;
  }

  size_t find(std::string_view item) {
    if (by_text_.empty()) {
      by_text_.reserve(items_.size());
      for (size_t i = 0; i < items_.size(); ++i) by_text_.emplace(items_[i], i);
    }
    const auto found = by_text_.find(item);
    if (found == by_text_.end()) return OutlineItem::kNew;
    next_ = found->second + 1;
    return found->second;
  }

 private:
  const std::span<const std::string_view> items_;
  size_t next_ = 0;
  std::unordered_map<std::string_view, size_t> by_text_;
};

bool cut_list(Scanner& scanner, OutlineList& list) {
  if (list.found || !scanner.take('[')) return false;
  list.found = true;
  if (scanner.take(']')) return true;
  Before before(list.before);
  list.items.reserve(list.before.size() + 1);
  do {
    if (!scanner.sees('{')) return false;
    const size_t same = before.begin_of(scanner.rest());
    if (same != OutlineItem::kNew) {
      const size_t bytes = list.before[same].size();
      list.items.push_back({.text = scanner.rest().substr(0, bytes), .before = same});
      scanner.skip(bytes);
      continue;
    }
    const auto item = scanner.value();
    if (!item) return false;
    list.items.push_back({.text = *item, .before = before.find(*item)});
  } while (scanner.take(','));
  return scanner.take(']');
}

}  // namespace

std::optional<std::string> outline_json(std::string_view text, std::span<OutlineList> lists) {
  Scanner scanner(text);
  std::string rest = "{";
  if (!scanner.take('{')) return std::nullopt;
  const bool empty = scanner.take('}');
  while (!empty) {
    if (!scanner.sees('"')) return std::nullopt;
    const auto key = scanner.string();
    // One that is spelled in another way might be one of ours.
    if (!key || key->contains('\\') || !scanner.take(':')) return std::nullopt;
    const auto list = std::ranges::find(lists, key->substr(1, key->size() - 2), &OutlineList::name);
    if (list != lists.end()) {
      if (!cut_list(scanner, *list)) return std::nullopt;
    } else {
      const auto value = scanner.value();
      if (!value) return std::nullopt;
      if (rest.size() > 1) rest += ',';
      rest.append(*key).append(":").append(*value);
    }
    if (scanner.take(',')) continue;
    if (!scanner.take('}')) return std::nullopt;
    break;
  }
  scanner.blanks();
  if (!scanner.at_end()) return std::nullopt;
  return rest + "}";
}

}  // namespace sluice::plan
