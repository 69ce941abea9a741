// InferenceGraph: every name must exist, and following the steps must come to an end.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "control/admission.h"
#include "control/json_util.h"
#include "control/limits.h"

namespace sluice::control {
namespace {

constexpr std::string_view kRoot = "root";
constexpr int64_t kWhole = 100;

const ResourceType& inference_services() {
  return *find_kind("serving.kserve.io/v1beta1", "InferenceService");
}

using Edges = std::map<std::string, std::vector<std::string>, std::less<>>;

class GraphCheck {
 public:
  GraphCheck(Admission& admission, const json::object& nodes)
      : admission_(admission), nodes_(nodes) {}

  void run() {
    if (nodes_.size() > limits::kMaxGraphNodes) {
      return admission_.refuse("FieldValueTooLong", "spec.nodes",
                               fmt::format("at most {} nodes", limits::kMaxGraphNodes));
    }
    if (!nodes_.contains(kRoot)) {
      admission_.refuse("FieldValueRequired", "spec.nodes.root",
                        "a graph begins at the node named root");
    }
    for (const auto& [name, node] : nodes_) {
      if (const auto* fields = node.if_object()) check_node(std::string(name), *fields);
    }
    check_cycles();
    check_reached();
  }

 private:
  void check_node(const std::string& name, const json::object& node) {
    const std::string field = fmt::format("spec.nodes.{}", name);
    const auto* steps = array_at(node, "steps");
    if (steps == nullptr || steps->empty()) {
      return admission_.refuse("FieldValueRequired", field + ".steps", "at least one step");
    }
    if (steps->size() > limits::kMaxGraphSteps) {
      return admission_.refuse("FieldValueTooLong", field + ".steps",
                               fmt::format("at most {} steps", limits::kMaxGraphSteps));
    }
    const std::string_view type = text_at(node, "routerType");
    std::set<std::string> names;
    int64_t weights = 0;
    for (size_t i = 0; i < steps->size(); ++i) {
      const auto* step = (*steps)[i].if_object();
      if (step == nullptr) continue;
      const std::string at = fmt::format("{}.steps[{}]", field, i);
      check_target(name, *step, at);
      const std::string step_name(text_at(*step, "name"));
      if (!step_name.empty() && !names.insert(step_name).second) {
        admission_.refuse("FieldValueDuplicate", at + ".name",
                          fmt::format("\"{}\" stands in this node twice", step_name));
      }
      weights += integer_at(*step, "weight").value_or(0);
      check_step(type, *step, at, i);
    }
    if (type == "Splitter" && weights != kWhole) {
      admission_.refuse("FieldValueInvalid", field + ".steps",
                        fmt::format("the weights of a Splitter sum to 100, these to {}", weights));
    }
  }

  void check_step(std::string_view type, const json::object& step, const std::string& at,
                  size_t index) {
    if (type == "Splitter" && !step.contains("weight")) {
      admission_.refuse("FieldValueRequired", at + ".weight", "every step of a Splitter has one");
    }
    if (type == "Switch" && text_at(step, "condition").empty()) {
      admission_.refuse("FieldValueRequired", at + ".condition",
                        "every step of a Switch has one; a path that is always there makes a "
                        "default");
    }
    const std::string_view data = text_at(step, "data");
    if (data == "$response" && index == 0) {
      admission_.refuse("FieldValueInvalid", at + ".data",
                        "the first step has no response before it: leave it out");
    }
    if (!data.empty() && data != "$response" && data != "$request") {
      admission_.refuse("FieldValueNotSupported", at + ".data",
                        fmt::format("\"{}\": supported values: \"$request\", \"$response\"",
                                    data.substr(0, 100)));
    }
    if (type != "Splitter" && step.contains("weight")) {
      admission_.warn(fmt::format("{}.weight has no effect: only a Splitter has weights", at));
    }
    const std::string fallback(text_at(step, "sluice.fallbackNode"));
    if (!fallback.empty()) check_node_name(fallback, at + ".sluice.fallbackNode");
  }

  void check_target(const std::string& node, const json::object& step, const std::string& at) {
    std::vector<std::string_view> given;
    for (const std::string_view key : {"serviceName", "serviceUrl", "nodeName"}) {
      if (!text_at(step, key).empty()) given.push_back(key);
    }
    if (given.size() != 1) {
      admission_.refuse(
          given.empty() ? "FieldValueRequired" : "FieldValueInvalid", at,
          fmt::format("exactly one of serviceName, serviceUrl and nodeName; found {}",
                      given.empty() ? "none" : fmt::format("{}", fmt::join(given, ", "))));
    }
    if (const std::string target(text_at(step, "nodeName")); !target.empty()) {
      check_node_name(target, at + ".nodeName");
      edges_[node].push_back(target);
    }
    if (const std::string target(text_at(step, "sluice.fallbackNode")); !target.empty()) {
      edges_[node].push_back(target);
    }
    if (const std::string_view service = text_at(step, "serviceName");
        !service.empty() && !admission_.exists(inference_services(), admission_.ns(), service)) {
      admission_.warn(
          fmt::format("{}.serviceName: there is no InferenceService \"{}\" in this "
                      "namespace yet; only a Provider's model may have that name",
                      at, service));
    }
    const std::string_view url = text_at(step, "serviceUrl");
    if (!url.empty() && !url.starts_with("http://") && !url.starts_with("https://")) {
      admission_.refuse("FieldValueInvalid", at + ".serviceUrl",
                        fmt::format("\"{}\": expected http:// or https://", url.substr(0, 100)));
    }
  }

  void check_node_name(const std::string& target, const std::string& field) {
    if (nodes_.contains(target)) return;
    std::vector<std::string> known;
    for (const auto& [name, node] : nodes_) known.emplace_back(name);
    admission_.refuse("FieldValueInvalid", field,
                      fmt::format("there is no node \"{}\" in this graph; its nodes are {}", target,
                                  fmt::join(known, ", ")));
  }

  // Depth first; a node that is met again on its own path closes a cycle. The depth is bounded by
  // the number of nodes.
  void check_cycles() {
    std::set<std::string, std::less<>> done;
    for (const auto& [name, targets] : edges_) {
      std::vector<std::string> path;
      if (visit(name, path, done)) return;
    }
  }

  bool visit(const std::string& name, std::vector<std::string>& path,
             std::set<std::string, std::less<>>& done) {
    if (done.contains(name)) return false;
    for (size_t i = 0; i < path.size(); ++i) {
      if (path[i] != name) continue;
      std::vector<std::string> cycle(path.begin() + static_cast<ptrdiff_t>(i), path.end());
      cycle.push_back(name);
      admission_.refuse("FieldValueInvalid", "spec.nodes",
                        fmt::format("the nodes go in a circle: {}; a request would never end",
                                    fmt::join(cycle, " → ")));
      return true;
    }
    path.push_back(name);
    if (const auto targets = edges_.find(name); targets != edges_.end()) {
      for (const std::string& target : targets->second) {
        if (visit(target, path, done)) return true;
      }
    }
    path.pop_back();
    done.insert(name);
    return false;
  }

  void check_reached() {
    std::set<std::string, std::less<>> reached;
    std::vector<std::string> open{std::string(kRoot)};
    while (!open.empty()) {
      const std::string name = std::move(open.back());
      open.pop_back();
      if (!reached.insert(name).second) continue;
      if (const auto targets = edges_.find(name); targets != edges_.end()) {
        open.insert(open.end(), targets->second.begin(), targets->second.end());
      }
    }
    for (const auto& [name, node] : nodes_) {
      if (!reached.contains(std::string_view(name))) {
        admission_.warn(fmt::format("spec.nodes.{} has no effect: no step leads to it",
                                    std::string_view(name)));
      }
    }
  }

  Admission& admission_;
  const json::object& nodes_;
  Edges edges_;
};

}  // namespace

void admit_graph(Admission& admission) {
  const auto* nodes = object_at(admission.object, "spec.nodes");
  if (nodes != nullptr) GraphCheck(admission, *nodes).run();
  for (const std::string_view name : {"serviceAccountName", "terminationGracePeriodSeconds"}) {
    if (find_path(admission.object, fmt::format("spec.{}", name)) == nullptr) continue;
    admission.warn(fmt::format("spec.{} has no effect: graphs run in the gateway", name));
  }
}

}  // namespace sluice::control
