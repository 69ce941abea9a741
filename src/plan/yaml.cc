// YAML text → Node, by the events of yaml-cpp's parser. The library's own tree is not used: an
// alias in it costs nothing to make and may stand for any amount when it is walked.

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "plan/node.h"

namespace sluice::plan {
namespace {

size_t weight_of(const Node& node) {
  size_t nodes = 1;
  for (const Node& item : node.items) nodes += weight_of(item);
  for (const auto& [key, value] : node.fields) nodes += 1 + weight_of(value);
  return nodes;
}

size_t text_of(const Node& node) {
  size_t bytes = node.text.size();
  for (const Node& item : node.items) bytes += text_of(item);
  for (const auto& [key, value] : node.fields) bytes += key.size() + text_of(value);
  return bytes;
}

size_t depth_of(const Node& node) {
  size_t deepest = 0;
  for (const Node& item : node.items) deepest = std::max(deepest, depth_of(item));
  for (const auto& [key, value] : node.fields) deepest = std::max(deepest, depth_of(value));
  return deepest + 1;
}

// Once something is wrong, further events are passed over.
class Builder : public YAML::EventHandler {
 public:
  Builder(std::shared_ptr<const std::string> file, const NodeLimits& limits)
      : file_(std::move(file)), limits_(limits) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(Node::Kind::kNull, mark), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // An unquoted "~" or empty scalar comes as a null event; "?" marks an unquoted one.
    Node node = make(Node::Kind::kScalar, mark);
    node.quoted = tag == "!" || tag == "tag:yaml.org,2002:str";
    if (!node.quoted && (value == "null" || value == "Null" || value == "NULL")) {
      node.kind = Node::Kind::kNull;
    } else {
      node.text = value;
    }
    add(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto known = anchors_.find(anchor);
    if (known == anchors_.end()) {
      return fault(mark, "an alias stands for a value that is not complete yet");
    }
    if (depth_of(known->second) + open_.size() > limits_.max_depth) return too_deep(mark);
    count(mark, weight_of(known->second), text_of(known->second));
    if (ok()) add(Node(known->second), 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(make(Node::Kind::kList, mark), anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(make(Node::Kind::kMap, mark), anchor);
  }
  void OnMapEnd() override { close(); }

  bool ok() const { return error_.empty(); }
  Result<Node> finish() {
    if (!ok()) return invalid(error_);
    return std::move(root_);
  }

 private:
  struct Open {
    Node node;
    YAML::anchor_t anchor = 0;
    std::string key;
    bool has_key = false;
  };

  Node make(Node::Kind kind, const YAML::Mark& mark) {
    Node node;
    node.kind = kind;
    node.file = file_;
    node.line = mark.line + 1;
    return node;
  }

  void fault(const YAML::Mark& mark, std::string_view what) {
    if (ok()) error_ = fmt::format("{}:{}: {}", *file_, mark.line + 1, what);
  }
  void fault(const Node& node, std::string_view what) {
    if (ok()) error_ = fmt::format("{}: {}", place_of(node), what);
  }
  void too_deep(const YAML::Mark& mark) {
    fault(mark, fmt::format("values are nested deeper than {}", limits_.max_depth));
  }

  void count(const YAML::Mark& mark, size_t nodes, size_t text) {
    nodes_ += nodes;
    text_ += text;
    if (nodes_ > limits_.max_nodes || text_ > limits_.max_text_bytes) {
      fault(mark, fmt::format("more than {} values", limits_.max_nodes));
    }
  }

  void open(Node node, YAML::anchor_t anchor) {
    if (!ok()) return;
    if (open_.size() >= limits_.max_depth) {
      return fault(node, fmt::format("values are nested deeper than {}", limits_.max_depth));
    }
    if (!open_.empty() && takes_key()) return fault(node, "a key must be a plain word");
    open_.push_back({.node = std::move(node), .anchor = anchor, .key = {}});
  }

  void close() {
    if (!ok() || open_.empty()) return;
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor);
  }

  bool takes_key() const {
    return open_.back().node.kind == Node::Kind::kMap && !open_.back().has_key;
  }

  void add(Node node, YAML::anchor_t anchor) {
    if (!ok()) return;
    if (++nodes_ > limits_.max_nodes || (text_ += node.text.size()) > limits_.max_text_bytes) {
      return fault(node, fmt::format("more than {} values", limits_.max_nodes));
    }
    if (anchor != 0) {
      count(YAML::Mark::null_mark(), weight_of(node), text_of(node));
      if (!ok()) return;
      anchors_[anchor] = node;
    }
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == Node::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.has_key) {
      add_key(parent, node);
    } else {
      parent.node.fields.push_back({std::move(parent.key), std::move(node)});
      parent.has_key = false;
    }
  }

  void add_key(Open& parent, const Node& node) {
    if (node.kind != Node::Kind::kScalar) return fault(node, "a key must be a plain word");
    if (parent.node.fields.size() >= kMaxFields) return fault(node, "a mapping of too many keys");
    if (parent.node.find(node.text) != nullptr) {
      return fault(node, fmt::format("the key {} stands here twice", found_text(node)));
    }
    parent.key = node.text;
    parent.has_key = true;
  }

  static constexpr size_t kMaxFields = 1024;

  const std::shared_ptr<const std::string> file_;
  const NodeLimits& limits_;
  Node root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Node> anchors_;
  size_t nodes_ = 0;
  size_t text_ = 0;
  std::string error_;
};

}  // namespace

Result<Node> parse_yaml(std::string_view text, const std::string& file, const NodeLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return invalid(fmt::format("{}: {} bytes; a configuration has at most {}", file, text.size(),
                               limits.max_bytes));
  }
  const auto name = std::make_shared<const std::string>(file);
  Builder builder(name, limits);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder) && builder.ok()) {
      Builder rest(name, limits);
      if (parser.HandleNextDocument(rest)) {
        return invalid(fmt::format("{}: holds several documents; one is expected", file));
      }
    }
  } catch (const YAML::Exception& e) {
    return invalid(fmt::format("{}:{}: {}", file, e.mark.line + 1, e.msg));
  } catch (const std::exception& e) {
    return invalid(fmt::format("{}: {}", file, e.what()));
  }
  return builder.finish();
}

}  // namespace sluice::plan
