// Fields: reads one mapping of a configuration, field by field, within bounds.
//
// Reading goes on after a mistake, so that one run names them all. A field that is absent leaves
// its value as it was (the default). finish() complains of fields that nobody asked for.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
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
  Fields(const Node& node, std::string path, Problems& problems);

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
  const std::string& path() const { return path_; }
  Problems& problems() { return problems_; }

 private:
  const Node* scalar(std::string_view name, std::string_view expected);
  std::string path_of(std::string_view name) const;
  const Node* items_of(std::string_view name, size_t max_items);

  const Node& node_;
  const std::string path_;
  Problems& problems_;
  std::set<std::string, std::less<>> asked_;
};

// Nothing when the text is none. Overflow counts as none.
Result<Duration> parse_duration(std::string_view text);
Result<size_t> parse_bytes(std::string_view text);

template <typename E>
void Fields::choice(std::string_view name, E& out,
                    std::initializer_list<std::pair<std::string_view, E>> choices) {
  std::string expected = "expected one of";
  for (const auto& [word, value] : choices) expected.append(" ").append(word);
  const Node* found = scalar(name, expected);
  if (found == nullptr) return;
  for (const auto& [word, value] : choices) {
    if (found->text == word) {
      out = value;
      return;
    }
  }
  problem(name, expected + ", found " + found_text(*found));
}

template <typename F>
void Fields::list(std::string_view name, size_t max_items, F&& each) {
  const Node* found = items_of(name, max_items);
  if (found == nullptr) return;
  for (size_t i = 0; i < found->items.size(); ++i) {
    Fields fields(found->items[i], path_of(name) + "[" + std::to_string(i) + "]", problems_);
    each(fields);
    fields.finish();
  }
}

template <typename F>
void Fields::map(std::string_view name, F&& read) {
  const Node* found = find(name);
  if (found == nullptr) return;
  Fields fields(*found, path_of(name), problems_);
  read(fields);
  fields.finish();
}

}  // namespace sluice::plan
