#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "plan/gjson.h"
#include "plan/parse_parts.h"

namespace sluice::plan {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr size_t kMaxNodes = 64;
constexpr size_t kMaxSteps = 64;
constexpr size_t kMaxTemplateBytes = 64u << 10;
constexpr size_t kMaxGraphDepth = 16;

void read_data(Fields& f, GraphStep& out) {
  f.choice<GraphStep::Data>("data", out.data,
                            {{"request", GraphStep::Data::kRequest},
                             {"response", GraphStep::Data::kResponse},
                             {"$request", GraphStep::Data::kRequest},
                             {"$response", GraphStep::Data::kResponse}});
  read_template(f, "body", out.body, kMaxTemplateBytes);
  if (f.has("data") && f.has("body")) f.problem("data", "has no effect beside body");
}

void check_step(Fields& f, const GraphNode& node, const GraphStep& step) {
  const int targets =
      (step.route.empty() ? 0 : 1) + (step.url.empty() ? 0 : 1) + (step.node.empty() ? 0 : 1);
  if (targets != 1) f.problem("", "expected exactly one of route, url and node");
  for (const std::string_view field : {"model", "path"}) {
    if (step.route.empty() && f.has(field)) f.problem(field, "has no effect without route");
  }
  const bool first = node.steps.empty();
  const bool sequence = node.type == GraphNodeType::kSequence;
  if (step.data == GraphStep::Data::kResponse && (first || !sequence)) {
    f.problem("data",
              "there is no answer before it: only steps of a sequence behind the first "
              "have one");
  }
  if (node.type == GraphNodeType::kSplitter) {
    f.require("weight");
  } else if (f.has("weight")) {
    f.problem("weight", "has no effect: only a splitter has weights");
  }
  if (node.type == GraphNodeType::kSwitch) f.require("condition");
  const bool tested = sequence || node.type == GraphNodeType::kSwitch;
  if (!tested && f.has("condition")) {
    f.problem("condition", "has no effect: only steps of a switch or a sequence have one");
  }
  const auto same = [&](const GraphStep& other) {
    return !step.name.empty() && other.name == step.name;
  };
  if (std::ranges::any_of(node.steps, same)) {
    f.problem("name", fmt::format("a step '{}' stands above already", step.name));
  }
}

GraphStep read_step(Fields& f, const GraphNode& node) {
  GraphStep out;
  f.name("name", out.name);
  f.name("route", out.route);
  f.name("node", out.node);
  f.text("url", out.url, 2048);
  if (f.has("url") && !out.url.starts_with("http://") && !out.url.starts_with("https://")) {
    f.problem("url", "expected a URL such as http://host:8080/path");
  }
  f.text("model", out.model);
  f.text("path", out.path, 1024);
  if (!out.path.empty() && !out.path.starts_with('/')) {
    f.problem("path", "expected a path that begins with '/'");
  }
  read_data(f, out);
  f.text("condition", out.condition, GjsonPath::kMaxBytes);
  if (!out.condition.empty()) {
    if (const auto path = GjsonPath::parse(out.condition); !path) {
      f.problem("condition", path.error().message());
    }
  }
  f.number("weight", out.weight, 0, 1'000'000);
  f.choice<bool>("dependency", out.hard,
                 {{"soft", false}, {"hard", true}, {"Soft", false}, {"Hard", true}});
  f.boolean("map_predictions", out.map_predictions);
  f.duration("timeout", out.timeout, milliseconds(1), hours(1));
  f.integer("retries", out.retries, 0, 16);
  f.name("fallback", out.fallback);
  check_step(f, node, out);
  return out;
}

GraphNode read_node(Fields& f) {
  GraphNode out;
  f.require("name");
  f.name("name", out.name);
  f.choice<GraphNodeType>("type", out.type,
                          {{"sequence", GraphNodeType::kSequence},
                           {"splitter", GraphNodeType::kSplitter},
                           {"ensemble", GraphNodeType::kEnsemble},
                           {"switch", GraphNodeType::kSwitch}});
  f.require("type");
  f.list("steps", kMaxSteps, [&](Fields& step) { out.steps.push_back(read_step(step, out)); });
  if (out.steps.empty()) f.problem("steps", "expected one step at least");
  double sum = 0;
  for (const GraphStep& step : out.steps) sum += step.weight;
  if (out.type == GraphNodeType::kSplitter && !(sum > 0)) {
    f.problem("steps", "the weights add up to 0");
  }
  return out;
}

// Nodes that are named exist, and following them comes to an end.
void check_nodes(Fields& f, const Graph& graph) {
  std::map<std::string_view, const GraphNode*> nodes;
  for (const GraphNode& node : graph.nodes) {
    if (!nodes.emplace(node.name, &node).second) {
      f.problem("nodes", fmt::format("the node '{}' stands there twice", node.name));
    }
  }
  enum class Mark { kNone, kOpen, kDone };
  std::map<std::string_view, Mark> marks;
  bool good = true;
  const std::function<void(const GraphNode&, size_t)> visit = [&](const GraphNode& node,
                                                                  size_t depth) {
    if (!good || marks[node.name] == Mark::kDone) return;
    if (marks[node.name] == Mark::kOpen || depth > kMaxGraphDepth) {
      good = false;
      const bool cycle = marks[node.name] == Mark::kOpen;
      return f.problem("nodes",
                       cycle ? fmt::format("the node '{}' leads to itself", node.name)
                             : fmt::format("nodes lead on more than {} times", kMaxGraphDepth));
    }
    marks[node.name] = Mark::kOpen;
    for (const GraphStep& step : node.steps) {
      for (const std::string& next : {step.node, step.fallback}) {
        if (next.empty()) continue;
        const auto found = nodes.find(next);
        if (found != nodes.end()) {
          visit(*found->second, depth + 1);
        } else if (good) {
          f.problem("nodes", fmt::format("there is no node '{}' (of node '{}')", next, node.name));
        }
      }
    }
    marks[node.name] = Mark::kDone;
  };
  for (const GraphNode& node : graph.nodes) visit(node, 1);
}

}  // namespace

const GraphNode* Graph::find(std::string_view node) const {
  const auto found = std::ranges::find(nodes, node, &GraphNode::name);
  return found == nodes.end() ? nullptr : &*found;
}

const GraphNode& Graph::entry() const {
  const GraphNode* root = find("root");
  return root == nullptr ? nodes.front() : *root;
}

void read_template(Fields& f, std::string_view name, std::string& out, size_t max_bytes) {
  const Node* found = f.find(name);
  if (found == nullptr) return;
  // Unlike other texts it has line breaks.
  if (found->kind != Node::Kind::kScalar || found->text.empty() || found->text.size() > max_bytes) {
    return f.problem(name, fmt::format("expected a template of 1 to {} bytes, found {}", max_bytes,
                                       found_text(*found)));
  }
  out = found->text;
}

Graph read_graph(Fields& f) {
  Graph out;
  f.require("name");
  f.name("name", out.name);
  out.models = {out.name};
  f.texts("models", out.models, 64);
  f.texts("hosts", out.hosts, 64);
  f.duration("timeout", out.timeout, milliseconds(1), hours(1));
  f.boolean("public", out.is_public);
  f.boolean("listed", out.listed);
  f.texts("headers", out.headers, 64);
  for (std::vector<std::string>* texts : {&out.hosts, &out.headers}) {
    for (std::string& text : *texts) {
      std::ranges::transform(text, text.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      });
    }
  }
  f.list("nodes", kMaxNodes, [&](Fields& node) { out.nodes.push_back(read_node(node)); });
  if (out.nodes.empty()) {
    f.problem("nodes", "expected one node at least");
  } else {
    check_nodes(f, out);
  }
  return out;
}

}  // namespace sluice::plan
