// Fields: reads one mapping of a configuration, field by field, within bounds.
//
// Reading goes on after a mistake, so that one run names them all. A field that is absent leaves
// its value as it was (the default). finish() complains of fields that nobody asked for. Names are
// literals, or keys of the mapping: they are not copied. What messages are made of is put together
// where there is something to say: a plan of a thousand services is read in milliseconds.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/function_ref.h"
#include "base/status.h"
#include "plan/node.h"

namespace sluice::plan {

// The mistakes found so far: "gateway.yaml:12: routes[0].retry.attempts: expected …, found …".
class Problems {
 public:
  void add(const Node& node, std::string_view path, std::string_view message);
  bool empty() const { return lines_.empty(); }
  Outcome outcome() const;

 private:
  std::vector<std::string> lines_;
  size_t left_out_ = 0;
};

class Fields {
 public:
  // A node that is no mapping is a mistake, null is an empty mapping.
  Fields(const Node& node, std::string_view path, Problems& problems);
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  // Null when absent or null.
  const Node* find(std::string_view name);
  bool has(std::string_view name) { return find(name) != nullptr; }

  void text(std::string_view name, std::string& out, size_t max_bytes = 256);
  // A name: letters, digits, '-', '_', '.', '/', ':' (a label of metrics).
  void name(std::string_view field, std::string& out);
  void texts(std::string_view name, std::vector<std::string>& out, size_t max_items = 256,
             size_t max_bytes = 256);
  void boolean(std::string_view name, bool& out);
  void integer(std::string_view name, int& out, int min, int max);
  void integer(std::string_view name, int64_t& out, int64_t min, int64_t max);
  void number(std::string_view name, double& out, double min, double max);
  // "250ms", "30s", "5m", "2h", "1d".
  void duration(std::string_view name, Duration& out, Duration min, Duration max);
  // "65536", "64KiB", "8MiB", "1GiB".
  void size(std::string_view name, size_t& out, size_t min, size_t max);
  template <typename E>
  void choice(std::string_view name, E& out,
              std::initializer_list<std::pair<std::string_view, E>> choices);

  // Calls `each(fields)` for every mapping of a list.
  template <typename F>
  void list(std::string_view name, size_t max_items, F&& each);
  // Calls `read(fields)` when the mapping is there.
  template <typename F>
  void map(std::string_view name, F&& read);

  // A mistake in field `name`, or in the mapping itself when the name is empty.
  void problem(std::string_view name, std::string_view message);
  void require(std::string_view name);
  void finish();

  const Node& node() const { return node_; }
  Problems& problems() { return problems_; }

 private:
  static constexpr size_t kNoItem = static_cast<size_t>(-1);

  // Of a mapping in field `name` of `parent`, or in item `item` of the list there.
  Fields(const Node& node, const Fields& parent, std::string_view name, size_t item = kNoItem);

  void expect_mapping();
  const Node* scalar(std::string_view name, FunctionRef<std::string()> expected);
  std::string path() const;
  std::string path_of(std::string_view name) const;
  const Node* items_of(std::string_view name, size_t max_items);
  bool was_asked(size_t field) const;

  const Node& node_;
  const Fields* const parent_ = nullptr;
  const std::string_view name_;  // of the field of the parent's that this is
  const size_t item_ = kNoItem;
  Problems& problems_;
  std::vector<std::string_view> asked_;
  uint64_t found_ = 0;  // a bit for each of the first fields that was asked for
};

// Nothing when the text is none. Overflow counts as none.
Result<Duration> parse_duration(std::string_view text);
Result<size_t> parse_bytes(std::string_view text);

template <typename E>
void Fields::choice(std::string_view name, E& out,
                    std::initializer_list<std::pair<std::string_view, E>> choices) {
  const auto expected = [&] {
    std::string text = "expected one of";
    for (const auto& [word, value] : choices) text.append(" ").append(word);
    return text;
  };
  const Node* found = scalar(name, expected);
  if (found == nullptr) return;
  for (const auto& [word, value] : choices) {
    if (found->text == word) {
      out = value;
      return;
    }
  }
  problem(name, expected() + ", found " + found_text(*found));
}

template <typename F>
void Fields::list(std::string_view name, size_t max_items, F&& each) {
  const Node* found = items_of(name, max_items);
  if (found == nullptr) return;
  for (size_t i = 0; i < found->items.size(); ++i) {
    Fields fields(found->items[i], *this, name, i);
    each(fields);
    fields.finish();
  }
}

template <typename F>
void Fields::map(std::string_view name, F&& read) {
  const Node* found = find(name);
  if (found == nullptr) return;
  Fields fields(*found, *this, name);
  read(fields);
  fields.finish();
}

}  // namespace sluice::plan
