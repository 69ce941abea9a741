// Node: a value of a configuration file, with the place where it stands.
//
// Both forms of a plan (YAML files, JSON from a control plane) become Nodes first, so that one
// reader serves both and every complaint can name file and line. Plain values, one owner.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace sluice::plan {

// What a configuration may hold at most, aliases counted as often as they are used.
struct NodeLimits {
  size_t max_bytes = 16u << 20;
  size_t max_nodes = 2'000'000;
  size_t max_depth = 32;
  size_t max_text_bytes = 32u << 20;  // of all scalars together
};

// What of it a text has used.
struct NodeCount {
  size_t nodes = 0;  // keys count too
  size_t text_bytes = 0;

  NodeCount& operator+=(const NodeCount& other) {
    nodes += other.nodes;
    text_bytes += other.text_bytes;
    return *this;
  }
  bool fits(const NodeLimits& limits) const {
    return nodes <= limits.max_nodes && text_bytes <= limits.max_text_bytes;
  }
};

struct NodeField;

struct Node {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string text;     // of a scalar
  bool quoted = false;  // a scalar that is text, whatever it looks like
  std::vector<Node> items;
  std::vector<NodeField> fields;            // of a map, in the order of the file
  std::shared_ptr<const std::string> file;  // null: not from a file
  int line = 0;                             // from 1; 0: unknown

  bool null() const { return kind == Kind::kNull; }
  const Node* find(std::string_view name) const;
};

struct NodeField {
  std::string key;
  Node value;
};

// "gateway.yaml:12", or empty.
std::string place_of(const Node& node);

// "a mapping", "a list", "'12'", "nothing": for messages that say what was found. Long texts are
// cut.
std::string found_text(const Node& node);

// The first document of a YAML text. Refused: duplicate keys, keys that are no scalars, several
// documents, and what passes a limit. `file` is for messages.
Result<Node> parse_yaml(std::string_view text, const std::string& file,
                        const NodeLimits& limits = {});

// A JSON text, in a tenth of the time. What it refuses may be YAML still; its nodes know no lines.
// `count`, where given, is added to.
Result<Node> parse_json_nodes(std::string_view text, const NodeLimits& limits = {},
                              NodeCount* count = nullptr);

Result<Node> from_json(const json::value& value, const NodeLimits& limits = {});
json::value to_json_value(const Node& node);

}  // namespace sluice::plan
