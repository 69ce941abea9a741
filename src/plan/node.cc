#include "plan/node.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace sluice::plan {
namespace {

constexpr size_t kShownBytes = 60;

struct Budget {
  size_t nodes = 0;
  size_t text = 0;
};

Result<Node> convert(const json::value& value, const NodeLimits& limits, size_t depth,
                     Budget& budget) {
  if (depth > limits.max_depth) {
    return invalid(fmt::format("the configuration is nested deeper than {}", limits.max_depth));
  }
  Node node;
  const auto count = [&](size_t bytes) {
    budget.text += bytes;
    return ++budget.nodes <= limits.max_nodes && budget.text <= limits.max_text_bytes;
  };
  if (!count(value.is_string() ? value.get_string().size() : 0)) {
    return invalid("the configuration holds too many values");
  }
  switch (value.kind()) {
    case json::kind::null:
      break;
    case json::kind::string:
      node.kind = Node::Kind::kScalar;
      node.quoted = true;
      node.text = std::string_view(value.get_string());
      break;
    case json::kind::array:
      node.kind = Node::Kind::kList;
      for (const json::value& item : value.get_array()) {
        SLUICE_ASSIGN_OR_RETURN(Node child, convert(item, limits, depth + 1, budget));
        node.items.push_back(std::move(child));
      }
      break;
    case json::kind::object:
      node.kind = Node::Kind::kMap;
      for (const auto& [key, item] : value.get_object()) {
        if (!count(key.size())) return invalid("the configuration holds too many values");
        SLUICE_ASSIGN_OR_RETURN(Node child, convert(item, limits, depth + 1, budget));
        node.fields.push_back({std::string(std::string_view(key)), std::move(child)});
      }
      break;
    default:
      node.kind = Node::Kind::kScalar;
      node.text = json::serialize(value);
  }
  return node;
}

json::value scalar_value(const Node& node) {
  if (node.quoted) return json::value(node.text);
  if (node.text == "true") return true;
  if (node.text == "false") return false;
  const char* begin = node.text.data();
  const char* end = begin + node.text.size();
  int64_t integer = 0;
  if (auto [at, error] = std::from_chars(begin, end, integer); error == std::errc() && at == end) {
    return integer;
  }
  return json::value(node.text);
}

}  // namespace

const Node* Node::find(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string place_of(const Node& node) {
  if (!node.file) return {};
  return node.line > 0 ? fmt::format("{}:{}", *node.file, node.line) : *node.file;
}

std::string found_text(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return "nothing";
    case Node::Kind::kList:
      return "a list";
    case Node::Kind::kMap:
      return "a mapping";
    case Node::Kind::kScalar:
      break;
  }
  std::string shown = node.text.substr(0, kShownBytes);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  // A cut must not leave half a character.
  while (node.text.size() > kShownBytes && !shown.empty() && (shown.back() & 0x80) != 0) {
    shown.pop_back();
  }
  return fmt::format("'{}'{}", shown, node.text.size() > kShownBytes ? "…" : "");
}

Result<Node> from_json(const json::value& value, const NodeLimits& limits) {
  Budget budget;
  return convert(value, limits, 1, budget);
}

json::value to_json_value(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return nullptr;
    case Node::Kind::kScalar:
      return scalar_value(node);
    case Node::Kind::kList: {
      json::array items;
      for (const Node& item : node.items) items.push_back(to_json_value(item));
      return items;
    }
    case Node::Kind::kMap:
      break;
  }
  json::object fields;
  for (const auto& [key, value] : node.fields) fields[key] = to_json_value(value);
  return fields;
}

}  // namespace sluice::plan
