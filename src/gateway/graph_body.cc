#include "gateway/graph_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sluice::gateway {
namespace {

using plan::GraphStep;

Result<json::value> parsed(const GraphBody& body, std::string_view what) {
  if (!body) return json::value(nullptr);
  auto value = parse_json(*body, {.max_bytes = 16u << 20});
  if (value) return value;
  return std::unexpected(value.error().at(what));
}

// The first name that is no pattern.
std::string model_of(const GraphStep& step, const Route& route) {
  if (!step.model.empty()) return step.model;
  for (const std::string& model : route.settings().match.models) {
    if (!model.ends_with('*')) return model;
  }
  return {};
}

// Which endpoint a body is for, where the step does not say.
Result<std::string> path_of(const json::object& body, std::string_view asked,
                            const std::string& model) {
  const auto keeps = [&](std::string_view end) { return asked.ends_with(end); };
  if (body.contains("messages")) {
    return std::string(keeps("/messages") || keeps("/chat/completions") ? asked
                                                                        : "/v1/chat/completions");
  }
  if (body.contains("prompt")) return "/v1/completions";
  if (body.contains("instances")) return fmt::format("/v1/models/{}:predict", model);
  if (body.contains("inputs")) return fmt::format("/v2/models/{}/infer", model);
  if (body.contains("input")) {
    return std::string(keeps("/responses") ? asked : "/v1/embeddings");
  }
  return invalid(
      "which endpoint the body is for cannot be told (it has neither messages, prompt, instances, "
      "inputs nor input): give the step a path");
}

Result<json::value> source_of(const Graph::Step& step, const GraphInput& input,
                              double unix_seconds) {
  const GraphStep& settings = *step.settings;
  if (!step.body) {
    const bool behind = settings.data == GraphStep::Data::kResponse && input.response;
    return parsed(behind ? input.response : input.input, "what the step is given");
  }
  json::object variables;
  SLUICE_ASSIGN_OR_RETURN(variables["request"], parsed(input.request, "the request"));
  SLUICE_ASSIGN_OR_RETURN(variables["input"], parsed(input.input, "the node's input"));
  SLUICE_ASSIGN_OR_RETURN(variables["response"], parsed(input.response, "the answer before"));
  json::object answers;
  for (const auto& [name, body] : input.answers) {
    // One that is no JSON is known as text.
    auto value = parsed(body, name);
    answers[name] = value ? *std::move(value) : json::value(*body);
  }
  variables["answers"] = std::move(answers);
  return step.body->render(variables, unix_seconds);
}

void map_predictions(json::value& body) {
  json::object* object = body.if_object();
  if (object == nullptr || !object->contains("predictions")) return;
  json::value predictions = std::move((*object)["predictions"]);
  object->erase("predictions");
  (*object)["instances"] = std::move(predictions);
}

}  // namespace

Result<bool> condition_holds(const Graph::Step& step, const GraphBody& body) {
  if (!step.condition) return true;
  SLUICE_ASSIGN_OR_RETURN(const json::value value, parsed(body, "what the condition looks at"));
  return step.condition->exists(value);
}

Result<StepQuestion> step_question(const Graph::Step& step, const GraphInput& input,
                                   const Route* route, bool last, double unix_seconds) {
  const GraphStep& settings = *step.settings;
  const bool as_it_is = route == nullptr && !step.body && !settings.map_predictions;
  if (as_it_is) {
    const bool behind = settings.data == GraphStep::Data::kResponse && input.response;
    return StepQuestion{.body = behind ? *input.response : *input.input, .path = {}};
  }
  SLUICE_ASSIGN_OR_RETURN(json::value body, source_of(step, input, unix_seconds));
  if (settings.map_predictions) map_predictions(body);
  if (route == nullptr) return StepQuestion{.body = to_json(body), .path = {}};
  json::object* object = body.if_object();
  if (object == nullptr) {
    return invalid(fmt::format("the body of a request to a route must be an object, found {}",
                               json_kind(body)));
  }
  StepQuestion question{.body = {}, .path = settings.path};
  const std::string model = model_of(settings, *route);
  if (question.path.empty()) {
    SLUICE_ASSIGN_OR_RETURN(question.path, path_of(*object, input.path, model));
  }
  const bool named_by_path =
      question.path.starts_with("/v1/models/") || question.path.starts_with("/v2/models/");
  if (!model.empty() && !named_by_path) (*object)["model"] = model;
  if (!last && object->contains("stream")) {
    object->erase("stream");
    object->erase("stream_options");
  }
  question.body = to_json(body);
  return question;
}

Result<std::string> joined_answers(const std::vector<std::pair<std::string, GraphBody>>& answers) {
  json::object out;
  for (const auto& [name, body] : answers) {
    SLUICE_ASSIGN_OR_RETURN(json::value value,
                            parsed(body, fmt::format("the answer of step {}", name)));
    if (!value.is_object()) {
      return fail(Code::kInternal, fmt::format("the answer of step {} must be an object, found {}",
                                               name, json_kind(value)));
    }
    out[name] = std::move(value);
  }
  return to_json(out);
}

}  // namespace sluice::gateway
