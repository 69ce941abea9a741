// Graph: a plan's graph at work: its conditions and templates read, its shares counted.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gateway/json_template.h"
#include "plan/gjson.h"
#include "plan/plan.h"

namespace sluice::gateway {

// Whether every template of the plan can be read. Messages name where it stands.
Outcome check_templates(const plan::Plan& plan);

// Any thread.
class Graph {
 public:
  struct Step {
    const plan::GraphStep* settings = nullptr;
    std::string label;  // its name, or its number
    std::optional<plan::GjsonPath> condition;
    std::optional<JsonTemplate> body;
  };
  struct Node {
    const plan::GraphNode* settings = nullptr;
    std::vector<Step> steps;
  };

  // The plan passed check_templates().
  Graph(std::shared_ptr<const plan::Plan> plan, const plan::Graph& settings);

  const plan::Graph& settings() const { return settings_; }
  const Node& entry() const { return *find(settings_.entry().name); }
  const Node* find(std::string_view node) const;
  // Some step's template looks at the answers of others.
  bool has_templates() const { return has_templates_; }

  // The step of a splitter whose turn it is: of any run of requests each has its exact share.
  const Step& draw(const Node& node) const;

 private:
  const std::shared_ptr<const plan::Plan> plan_;  // holds the settings
  const plan::Graph& settings_;
  std::map<std::string, Node, std::less<>> nodes_;
  bool has_templates_ = false;
  mutable std::mutex mutex_;
  mutable std::map<const Node*, std::vector<double>> credits_;
};

}  // namespace sluice::gateway
