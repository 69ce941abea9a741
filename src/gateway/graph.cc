#include "gateway/graph.h"

#include <fmt/format.h>

#include <utility>

namespace sluice::gateway {

Outcome check_templates(const plan::Plan& plan) {
  for (const plan::Graph& graph : plan.graphs) {
    for (const plan::GraphNode& node : graph.nodes) {
      for (size_t i = 0; i < node.steps.size(); ++i) {
        if (node.steps[i].body.empty()) continue;
        const auto read = JsonTemplate::parse(node.steps[i].body);
        if (read) continue;
        return std::unexpected(read.error().at(
            fmt::format("graph {}, node {}, step {}: body", graph.name, node.name, i)));
      }
    }
  }
  for (const plan::Route& route : plan.routes) {
    if (!route.transform) continue;
    for (const auto& [name, source] :
         {std::pair("request_template", &route.transform->request_template),
          std::pair("response_template", &route.transform->response_template)}) {
      if (source->empty()) continue;
      const auto read = JsonTemplate::parse(*source);
      if (!read) {
        return std::unexpected(
            read.error().at(fmt::format("route {}: transform.{}", route.name, name)));
      }
    }
  }
  return {};
}

Graph::Graph(std::shared_ptr<const plan::Plan> plan, const plan::Graph& settings)
    : plan_(std::move(plan)), settings_(settings) {
  for (const plan::GraphNode& node : settings.nodes) {
    Node& made = nodes_[node.name];
    made.settings = &node;
    for (size_t i = 0; i < node.steps.size(); ++i) {
      const plan::GraphStep& step = node.steps[i];
      Step& added = made.steps.emplace_back();
      added.settings = &step;
      added.label = step.name.empty() ? std::to_string(i) : step.name;
      if (!step.condition.empty()) {
        if (auto path = plan::GjsonPath::parse(step.condition)) added.condition = *std::move(path);
      }
      if (!step.body.empty()) {
        if (auto body = JsonTemplate::parse(step.body)) added.body = *std::move(body);
        has_templates_ = true;
      }
    }
  }
}

const Graph::Node* Graph::find(std::string_view node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : &found->second;
}

// Smooth weighted round robin, as a route's split.
const Graph::Step& Graph::draw(const Node& node) const {
  const std::lock_guard lock(mutex_);
  std::vector<double>& credits = credits_[&node];
  credits.resize(node.steps.size());
  size_t best = 0;
  double total = 0;
  for (size_t i = 0; i < node.steps.size(); ++i) {
    credits[i] += node.steps[i].settings->weight;
    total += node.steps[i].settings->weight;
    if (credits[i] > credits[best]) best = i;
  }
  credits[best] -= total;
  return node.steps[best];
}

}  // namespace sluice::gateway
