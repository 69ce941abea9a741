// What a graph's step is asked, made of the graph's request and of the answers so far. Pure; takes
// time on large bodies: work for a worker.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "gateway/graph.h"
#include "gateway/snapshot.h"

namespace sluice::gateway {

using GraphBody = std::shared_ptr<const std::string>;

struct GraphInput {
  GraphBody request;                         // the graph's
  GraphBody input;                           // the node's
  GraphBody response;                        // of the step before; null: none
  std::map<std::string, GraphBody> answers;  // by step, for templates
  std::string path;                          // that the graph was asked by
};

struct StepQuestion {
  std::string body = {};
  std::string path = {};  // of a route
};

// Whether the step's condition holds on `body`. Fails where that is no JSON.
Result<bool> condition_holds(const Graph::Step& step, const GraphBody& body);

// `last`: its answer is the graph's, so that it may be a stream. `route` null: it is asked by URL,
// or is a node.
Result<StepQuestion> step_question(const Graph::Step& step, const GraphInput& input,
                                   const Route* route, bool last, double unix_seconds);

// One object of the steps' answers, by their names.
Result<std::string> joined_answers(const std::vector<std::pair<std::string, GraphBody>>& answers);

}  // namespace sluice::gateway
