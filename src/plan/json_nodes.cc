// JSON text → Node, without a tree of JSON between: a control plane's plan is read in a few
// milliseconds. It knows no lines: whoever has a complaint reads the text as YAML for it.

#include <fmt/format.h>

#include <boost/json/basic_parser_impl.hpp>
#include <cmath>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "plan/node.h"

namespace sluice::plan {
namespace {

// Names as Boost.JSON's basic_parser calls them.
class NodeHandler {
 public:
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);

  explicit NodeHandler(const NodeLimits& limits) : limits_(limits) {}

  std::string problem;
  Node root;
  NodeCount used;

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code& ec) { return open(Node::Kind::kMap, ec); }
  bool on_array_begin(json::error_code& ec) { return open(Node::Kind::kList, ec); }
  bool on_object_end(size_t, json::error_code&) { return close(); }
  bool on_array_end(size_t, json::error_code&) { return close(); }

  bool on_key_part(std::string_view s, size_t, json::error_code&) { return gather(s); }
  bool on_key(std::string_view s, size_t, json::error_code& ec) {
    gather(s);
    if (!count(text_.size(), ec)) return false;
    Node& map = open_.back();
    if (map.fields.size() >= kMaxFields) return refuse("a mapping of too many keys", ec);
    if (map.find(text_) != nullptr) return refuse("a key stands twice in one mapping", ec);
    map.fields.push_back({.key = std::exchange(text_, {}), .value = {}});
    return true;
  }
  bool on_string_part(std::string_view s, size_t, json::error_code&) { return gather(s); }
  bool on_string(std::string_view s, size_t, json::error_code& ec) {
    gather(s);
    return scalar(true, ec);
  }
  bool on_number_part(std::string_view s, json::error_code&) { return gather(s); }
  bool on_int64(int64_t, std::string_view s, json::error_code& ec) { return number(s, ec); }
  bool on_uint64(uint64_t, std::string_view s, json::error_code& ec) { return number(s, ec); }
  bool on_double(double d, std::string_view s, json::error_code& ec) {
    if (!std::isfinite(d)) return refuse("a number is too large for a 64-bit float", ec);
    return number(s, ec);
  }
  bool on_bool(bool b, json::error_code& ec) { return number(b ? "true" : "false", ec); }
  bool on_null(json::error_code& ec) {
    if (!count(0, ec)) return false;
    place(Node());
    return true;
  }
  bool on_comment_part(std::string_view, json::error_code&) { return true; }
  bool on_comment(std::string_view, json::error_code&) { return true; }

 private:
  static constexpr size_t kMaxFields = 1024;
  static constexpr size_t kUsualFields = 8;

  bool gather(std::string_view s) {
    text_.append(s);
    return true;
  }
  bool refuse(std::string_view why, json::error_code& ec) {
    problem = why;
    ec = json::error::syntax;
    return false;
  }
  bool count(size_t bytes, json::error_code& ec) {
    used += {.nodes = 1, .text_bytes = bytes};
    if (used.fits(limits_)) return true;
    return refuse("the configuration holds too many values", ec);
  }
  bool open(Node::Kind kind, json::error_code& ec) {
    if (!count(0, ec)) return false;
    Node node;
    node.kind = kind;
    if (kind == Node::Kind::kMap) node.fields.reserve(kUsualFields);
    open_.push_back(std::move(node));
    return true;
  }
  bool close() {
    Node done = std::move(open_.back());
    open_.pop_back();
    place(std::move(done));
    return true;
  }
  bool number(std::string_view s, json::error_code& ec) {
    gather(s);
    return scalar(false, ec);
  }
  bool scalar(bool quoted, json::error_code& ec) {
    if (!count(text_.size(), ec)) return false;
    Node node;
    node.kind = Node::Kind::kScalar;
    node.quoted = quoted;
    node.text = std::exchange(text_, {});
    place(std::move(node));
    return true;
  }
  void place(Node node) {
    if (open_.empty()) {
      root = std::move(node);
    } else if (open_.back().kind == Node::Kind::kList) {
      open_.back().items.push_back(std::move(node));
    } else {
      open_.back().fields.back().value = std::move(node);
    }
  }

  const NodeLimits& limits_;
  std::vector<Node> open_;
  std::string text_;
};

}  // namespace

Result<Node> parse_json_nodes(std::string_view text, const NodeLimits& limits, NodeCount* count) {
  if (text.size() > limits.max_bytes) {
    return invalid(
        fmt::format("{} bytes; a configuration has at most {}", text.size(), limits.max_bytes));
  }
  json::parse_options options;
  options.max_depth = limits.max_depth;
  try {
    json::basic_parser<NodeHandler> parser(options, limits);
    json::error_code ec;
    const size_t used = parser.write_some(false, text.data(), text.size(), ec);
    if (!ec && used < text.size()) ec = json::error::extra_data;
    if (!ec) {
      if (count != nullptr) *count += parser.handler().used;
      return std::move(parser.handler().root);
    }
    const std::string& problem = parser.handler().problem;
    return invalid(fmt::format("not valid JSON near byte {}: {}", used,
                               problem.empty() ? ec.message() : problem));
  } catch (const std::exception& e) {
    return invalid(fmt::format("not valid JSON: {}", e.what()));
  }
}

}  // namespace sluice::plan
