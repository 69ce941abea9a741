#include "api/kserve_request.h"

#include <fmt/format.h>

#include "api/json_text.h"
#include "api/oip_request.h"
#include "base/limits.h"

namespace sluice::api {
namespace {

Result<std::string> read_instance(const json::value& value, const std::string& path) {
  if (value.is_string()) return std::string(value.get_string());
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return invalid(fmt::format("'{}' must be a string or an object with 'prompt', not {}", path,
                               json_kind(value)),
                   path);
  }
  const Fields fields(*object, path + ".");
  SLUICE_ASSIGN_OR_RETURN(auto prompt, fields.string("prompt", limits::kMaxBodyBytes));
  if (!prompt) {
    return invalid(fmt::format("'{}' is missing", fields.path("prompt")), fields.path("prompt"));
  }
  if (object->size() > 1) {
    return invalid(fmt::format("'{}' must have 'prompt' only; what says how to sample goes into "
                               "'parameters' beside 'instances'",
                               path),
                   path);
  }
  return *std::move(prompt);
}

}  // namespace

Result<completion::Request> parse_predict_request(const json::object& body) {
  const Fields fields(body);
  const bool inputs = fields.find("inputs") != nullptr;
  if (inputs && fields.find("instances") != nullptr) {
    return invalid("'instances' and 'inputs' mean the same: send one of them", "inputs");
  }
  const std::string name = inputs ? "inputs" : "instances";
  SLUICE_ASSIGN_OR_RETURN(const json::array* instances, fields.array(name, limits::kMaxPrompts));
  if (instances == nullptr || instances->empty()) {
    return invalid("'instances' must be an array of at least one string or object", "instances");
  }
  SLUICE_ASSIGN_OR_RETURN(const json::object* parameters, fields.object("parameters"));
  SLUICE_ASSIGN_OR_RETURN(const auto sampled,
                          read_parameters(parameters != nullptr ? *parameters : json::object()));
  if (sampled.details) return invalid("'details' is a parameter of generate only", "details");
  completion::Request request = sampled.request;
  for (size_t i = 0; i < instances->size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(auto text,
                            read_instance((*instances)[i], fmt::format("{}[{}]", name, i)));
    request.prompts.emplace_back(completion::TextPrompt{std::move(text), true});
  }
  return request;
}

std::string predictions_body(const completion::Answer& answer) {
  std::string out = R"({"predictions":[)";
  for (size_t i = 0; i < answer.choices.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, answer.choices[i].text);
  }
  out += "]}";
  return out;
}

}  // namespace sluice::api
