// Graph: steps that answer one request together, as KServe's InferenceGraph has them. Part of the
// plan: values within bounds; names of nodes and routes exist, and no node leads to itself.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"

namespace sluice::plan {

enum class GraphNodeType {
  kSequence,  // one after the other
  kSplitter,  // one of them, by weight
  kEnsemble,  // all at once, answers joined
  kSwitch,    // the first whose condition holds
};

struct GraphStep {
  std::string name;  // unique in its node; empty: its number
  // Exactly one of the three.
  std::string route;
  std::string url;
  std::string node;
  std::string model;  // what the route is asked for; empty: the route's first model
  std::string path;   // of the request to the route; empty: told by the body

  enum class Data { kDefault, kRequest, kResponse };
  Data data = Data::kDefault;
  std::string body;              // a template of the request's body, instead of `data`; empty: none
  std::string condition;         // a GJSON path
  double weight = 0;             // of a splitter's step
  bool hard = false;             // its failure is the graph's
  bool map_predictions = false;  // {"predictions": …} goes on as {"instances": …}
  Duration timeout{};            // of one try; 0: the graph's
  int retries = 0;               // behind the first try
  std::string fallback;          // a node that answers when all tries have failed
};

struct GraphNode {
  std::string name;
  GraphNodeType type = GraphNodeType::kSequence;
  std::vector<GraphStep> steps;
};

struct Graph {
  std::string name;
  std::vector<std::string> models;  // by which it is asked for
  std::vector<std::string> hosts;   // lower case; "*.example.com" for a suffix
  Duration timeout = std::chrono::seconds(60);
  bool is_public = false;
  bool listed = true;
  std::vector<std::string> headers;  // of the request that go along to URLs; lower case
  std::vector<GraphNode> nodes;      // the first is the entry, unless one is called "root"

  const GraphNode* find(std::string_view node) const;
  const GraphNode& entry() const;
};

}  // namespace sluice::plan
