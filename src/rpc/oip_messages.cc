#include "rpc/oip_messages.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "api/json_text.h"
#include "api/oip_response.h"
#include "base/limits.h"
#include "open_inference.pb.h"

namespace sluice::rpc {
namespace {

using inference::InferParameter;
using inference::ModelInferRequest;
using inference::ModelInferResponse;

constexpr int kMaxParameters = 64;
constexpr int kMaxTensors = 16;
constexpr size_t kMaxName = 256;
constexpr int kMaxDimensions = 8;

Result<json::value> to_json_value(const std::string& name, const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kBoolParam:
      return json::value(parameter.bool_param());
    case InferParameter::kInt64Param:
      return json::value(parameter.int64_param());
    case InferParameter::kStringParam:
      return json::value(parameter.string_param());
    case InferParameter::kDoubleParam:
      if (!std::isfinite(parameter.double_param())) {
        return invalid(fmt::format("parameter '{}' must be a finite number", name), name);
      }
      return json::value(parameter.double_param());
    case InferParameter::kUint64Param: {
      const uint64_t value = parameter.uint64_param();
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return invalid(fmt::format("parameter '{}' must be below 2^63", name), name);
      }
      return json::value(static_cast<int64_t>(value));
    }
    case InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return invalid(fmt::format("parameter '{}' has no value", name), name);
}

Result<json::object> to_json_object(
    const google::protobuf::Map<std::string, InferParameter>& parameters) {
  if (parameters.size() > kMaxParameters) {
    return invalid(fmt::format("at most {} parameters, not {}", kMaxParameters, parameters.size()));
  }
  json::object out;
  for (const auto& [name, parameter] : parameters) {
    if (name.size() > kMaxName) return invalid("a parameter's name is too long");
    SLUICE_ASSIGN_OR_RETURN(out[name], to_json_value(name, parameter));
  }
  return out;
}

Result<api::InferTensor> to_tensor(const ModelInferRequest::InferInputTensor& input) {
  if (input.name().size() > kMaxName || input.datatype().size() > kMaxName) {
    return invalid("an input's name or datatype is too long", "inputs");
  }
  if (input.shape_size() > kMaxDimensions) {
    return invalid(fmt::format("'{}' has {} dimensions; at most {}", input.name(),
                               input.shape_size(), kMaxDimensions),
                   "shape");
  }
  api::InferTensor tensor;
  tensor.name = input.name();
  tensor.datatype = input.datatype();
  tensor.shape.assign(input.shape().begin(), input.shape().end());
  return tensor;
}

// The elements of every input: its contents, or one of raw_input_contents.
Outcome read_contents(const ModelInferRequest& request, std::vector<api::InferTensor>& tensors) {
  const int raws = request.raw_input_contents_size();
  if (raws > 0 && raws != request.inputs_size()) {
    return invalid(
        fmt::format("raw_input_contents has {} entries for {} inputs", raws, request.inputs_size()),
        "raw_input_contents");
  }
  for (int i = 0; i < request.inputs_size(); ++i) {
    api::InferTensor& tensor = tensors[static_cast<size_t>(i)];
    const auto& contents = request.inputs(i).contents().bytes_contents();
    if (raws > 0) {
      if (request.inputs(i).has_contents()) {
        return invalid(fmt::format("'{}' has contents beside raw_input_contents", tensor.name),
                       "contents");
      }
      SLUICE_ASSIGN_OR_RETURN(tensor.elements,
                              api::split_bytes_tensor(request.raw_input_contents(i), tensor.name));
      continue;
    }
    if (contents.size() > static_cast<int>(limits::kMaxPrompts)) {
      return invalid(
          fmt::format("'{}' must have at most {} elements", tensor.name, limits::kMaxPrompts),
          "contents");
    }
    tensor.elements.assign(contents.begin(), contents.end());
  }
  return {};
}

void begin_response(const InferHead& head, const std::string& id, ModelInferResponse& response) {
  response.set_model_name(head.model);
  response.set_model_version(std::string(api::kModelVersion));
  response.set_id(id);
}

void add_output(const InferHead& head, const std::string& name, const std::vector<int64_t>& shape,
                const std::vector<std::string>& elements, ModelInferResponse& response) {
  ModelInferResponse::InferOutputTensor& output = *response.add_outputs();
  output.set_name(name);
  output.set_datatype("BYTES");
  output.mutable_shape()->Add(shape.begin(), shape.end());
  if (head.raw) {
    response.add_raw_output_contents(api::join_bytes_tensor(elements));
    return;
  }
  for (const std::string& element : elements) {
    output.mutable_contents()->add_bytes_contents(element);
  }
}

}  // namespace

Result<api::InferInput> to_infer_input(const ModelInferRequest& request) {
  if (request.inputs_size() > kMaxTensors || request.outputs_size() > kMaxTensors) {
    return invalid(fmt::format("at most {} inputs and outputs", kMaxTensors), "inputs");
  }
  if (request.id().size() > kMaxName) return invalid("'id' is too long", "id");
  api::InferInput input;
  input.id = request.id();
  SLUICE_ASSIGN_OR_RETURN(input.parameters, to_json_object(request.parameters()));
  for (const auto& one : request.inputs()) {
    SLUICE_ASSIGN_OR_RETURN(auto tensor, to_tensor(one));
    input.inputs.push_back(std::move(tensor));
  }
  SLUICE_RETURN_IF_ERROR(read_contents(request, input.inputs));
  for (const auto& one : request.outputs()) {
    if (one.name().size() > kMaxName) return invalid("an output's name is too long", "outputs");
    input.outputs.push_back({.name = one.name(), .binary = false});
  }
  return input;
}

Result<api::InferInput> parse_infer_message(std::string_view bytes) {
  ModelInferRequest request;
  if (bytes.size() > limits::kMaxBodyBytes ||
      !request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return invalid("no ModelInferRequest");
  }
  return to_infer_input(request);
}

void fill_answer(const InferHead& head, const api::InferCall& call,
                 const completion::Answer& answer, ModelInferResponse& response) {
  begin_response(head, call.id, response);
  auto& parameters = *response.mutable_parameters();
  parameters["prompt_tokens"].set_int64_param(answer.usage.prompt_tokens);
  parameters["completion_tokens"].set_int64_param(answer.usage.completion_tokens);
  for (const api::WantedOutput& output : call.outputs) {
    add_output(head, output.name, call.shape, api::output_elements(output.name, answer), response);
  }
}

void fill_delta(const InferHead& head, const api::InferCall& call, const completion::Delta& delta,
                ModelInferResponse& response) {
  begin_response(head, call.id, response);
  (*response.mutable_parameters())["triton_final_response"].set_bool_param(
      delta.finish.has_value());
  const std::string finish(delta.finish ? api::oip_finish_reason(*delta.finish) : "");
  for (const api::WantedOutput& output : call.outputs) {
    add_output(head, output.name, call.shape, {output.name == "text_output" ? delta.text : finish},
               response);
  }
}

void fill_metadata(const std::string& model, inference::ModelMetadataResponse& response) {
  response.set_name(model);
  response.add_versions(std::string(api::kModelVersion));
  response.set_platform("sluice");
  const auto describe = [](auto& tensor, const char* name) {
    tensor.set_name(name);
    tensor.set_datatype("BYTES");
    tensor.add_shape(-1);
  };
  describe(*response.add_inputs(), "text_input");
  describe(*response.add_outputs(), "text_output");
  describe(*response.add_outputs(), "finish_reason");
}

}  // namespace sluice::rpc
