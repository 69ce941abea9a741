// InferenceGraphs → graphs of the plan.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "control/json_util.h"
#include "platform/names.h"
#include "platform/plan_draft.h"

namespace sluice::platform {
namespace {

using control::object_at;
using control::text_at;

constexpr std::string_view kRoot = "root";
constexpr int64_t kMaxTimeout = 3600;
constexpr size_t kMaxGraphs = 1024;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::vector<const control::StoredObject*> sorted(const PlanDraft& draft) {
  std::vector<const control::StoredObject*> out;
  out.reserve(draft.input.graphs.size());
  for (const control::ObjectPtr& each : draft.input.graphs) out.push_back(each.get());
  std::ranges::sort(out, {}, [](const auto* each) { return std::pair(each->ns, each->name); });
  return out;
}

class GraphWriter {
 public:
  GraphWriter(PlanDraft& draft, const control::StoredObject& object)
      : draft_(draft), object_(object) {}

  void write() {
    json::object graph{{"name", route_name(object_.ns, object_.name)},
                       {"models", draft_.names.of(object_.ns, object_.name)},
                       {"hosts", draft_.hosts(object_.ns, object_.name)}};
    if (const auto seconds = control::integer_at(object_.body, "spec.timeout")) {
      graph["timeout"] = fmt::format("{}s", std::clamp<int64_t>(*seconds, 1, kMaxTimeout));
    }
    if (draft_.is_public) graph["public"] = true;
    graph["nodes"] = nodes();
    if (!missing_.empty()) {
      draft_.problem(object_,
                     fmt::format("there is no InferenceService \"{}\" with a revision, nor "
                                 "a Provider's model of that name, in this namespace yet",
                                 *missing_.begin()));
      return;
    }
    json::array upstreams{json::object{{"name", "probe"}, {"endpoints", json::array()}}};
    json::array routes;
    for (const std::string& name : used_) {
      routes.push_back(
          json::object{{"name", name},
                       {"match", json::object{{"models", json::array{json::value(name)}}}},
                       {"targets", json::array{json::object{{"upstream", "probe"}}}}});
    }
    if (const std::string refusal =
            draft_.refusal(upstreams, routes, json::array{json::value(graph)});
        !refusal.empty()) {
      return draft_.problem(object_, "spec: " + refusal);
    }
    if (draft_.graphs.size() >= kMaxGraphs) {
      return draft_.problem(object_,
                            fmt::format("the gateway takes at most {} graphs", kMaxGraphs));
    }
    draft_.graph_names.insert(route_name(object_.ns, object_.name));
    draft_.graphs.push_back(std::move(graph));
  }

 private:
  // The entry first, the others by name.
  json::array nodes() {
    std::set<std::string_view> names;
    const auto* given = object_at(object_.body, "spec.nodes");
    if (given == nullptr) return {};
    for (const auto& each : *given) names.insert(each.key());
    json::array out;
    if (names.erase(kRoot) > 0) out.push_back(node(kRoot, *given->if_contains(kRoot)));
    for (const std::string_view name : names) out.push_back(node(name, *given->if_contains(name)));
    return out;
  }

  json::object node(std::string_view name, const json::value& value) {
    static const json::object kNone;
    const json::object& given = value.is_object() ? value.get_object() : kNone;
    const std::string type = lower(text_at(given, "routerType"));
    json::array steps;
    const auto* list = control::array_at(given, "steps");
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      if (const auto* fields = (*list)[i].if_object()) steps.push_back(step(*fields, type, i == 0));
    }
    return {{"name", name}, {"type", type}, {"steps", std::move(steps)}};
  }

  json::object step(const json::object& given, std::string_view type, bool first) {
    const bool sequence = type == "sequence";
    json::object out;
    const auto copy = [&](std::string_view from, std::string_view to) {
      if (const std::string_view text = text_at(given, from); !text.empty()) out[to] = text;
    };
    copy("name", "name");
    copy("serviceUrl", "url");
    copy("nodeName", "node");
    copy("sluice.fallbackNode", "fallback");
    copy("sluice.body", "body");
    if (const std::string_view service = text_at(given, "serviceName"); !service.empty()) {
      const std::string route = model_route_name(object_.ns, service);
      if (draft_.route_names.contains(route)) {
        used_.insert(route);
      } else {
        missing_.emplace(service);
      }
      out["route"] = route;
    }
    // Elsewhere these have no effect, in KServe either, and the plan refuses them.
    if (sequence && !first && text_at(given, "data") == "$response") out["data"] = "response";
    if (sequence || type == "switch") copy("condition", "condition");
    if (type == "splitter") out["weight"] = control::integer_at(given, "weight").value_or(0);
    if (!text_at(given, "dependency").empty()) {
      out["dependency"] = lower(text_at(given, "dependency"));
    }
    if (control::true_at(given, "mapPredictionsToInstances")) out["map_predictions"] = true;
    if (const auto seconds = control::number_at(given, "sluice.timeoutSeconds")) {
      const double most = static_cast<double>(kMaxTimeout);
      const int64_t ms = std::llround(std::clamp(*seconds, 0.001, most) * 1000);
      out["timeout"] = fmt::format("{}ms", ms);
    }
    if (const auto retries = control::integer_at(given, "sluice.retries")) {
      out["retries"] = *retries;
    }
    return out;
  }

  PlanDraft& draft_;
  const control::StoredObject& object_;
  std::set<std::string> used_;
  std::set<std::string> missing_;
};

}  // namespace

void claim_graphs(PlanDraft& draft) {
  for (const auto* graph : sorted(draft)) draft.names.claim(graph->ns, graph->name);
}

void add_graphs(PlanDraft& draft) {
  for (const auto* graph : sorted(draft)) {
    // A Provider's model gives way to it.
    if (draft.route_names.contains(route_name(graph->ns, graph->name))) {
      draft.problem(*graph,
                    "an InferenceService of this namespace has the same name, and takes "
                    "its requests");
      continue;
    }
    GraphWriter(draft, *graph).write();
  }
}

}  // namespace sluice::platform
