#include "api/oip_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "api/json_text.h"
#include "api/openai_fields.h"
#include "base/limits.h"

namespace sluice::api {
namespace {

constexpr int kDefaultMaxTokens = 20;  // the specification's default of generate
constexpr size_t kMaxName = 256;
constexpr size_t kMaxId = 256;
constexpr size_t kMaxDimensions = 8;

// What /v1/completions calls the same way and a request here may set. Everything else is refused:
// a misspelt parameter must not be a silent one.
constexpr std::array<std::string_view, 26> kParameters = {"max_tokens",
                                                          "min_tokens",
                                                          "ignore_eos",
                                                          "temperature",
                                                          "top_p",
                                                          "top_k",
                                                          "min_p",
                                                          "typical_p",
                                                          "repetition_penalty",
                                                          "presence_penalty",
                                                          "frequency_penalty",
                                                          "logit_bias",
                                                          "bad_words",
                                                          "allowed_token_ids",
                                                          "stop",
                                                          "include_stop_str_in_output",
                                                          "stop_token_ids",
                                                          "skip_special_tokens",
                                                          "seed",
                                                          "n",
                                                          "best_of",
                                                          "truncate_prompt_tokens",
                                                          "priority",
                                                          "cache_salt",
                                                          "user",
                                                          "details"};

Result<InferTensor> read_tensor_head(const Fields& fields) {
  InferTensor tensor;
  SLUICE_ASSIGN_OR_RETURN(auto name, fields.string("name", kMaxName));
  SLUICE_ASSIGN_OR_RETURN(auto datatype, fields.string("datatype", 16));
  if (!name) return invalid(fmt::format("'{}' is missing", fields.path("name")));
  if (!datatype) return invalid(fmt::format("'{}' is missing", fields.path("datatype")));
  tensor.name = *std::move(name);
  tensor.datatype = *std::move(datatype);
  SLUICE_ASSIGN_OR_RETURN(const json::array* shape, fields.array("shape", kMaxDimensions));
  if (shape == nullptr) return invalid(fmt::format("'{}' is missing", fields.path("shape")));
  for (const json::value& dimension : *shape) {
    if (!dimension.is_int64()) {
      return std::unexpected(fields.mistyped("shape", "an array of integers", dimension));
    }
    tensor.shape.push_back(dimension.get_int64());
  }
  return tensor;
}

// Data may be nested as the shape says, or flat. Depth is bounded by the JSON parser.
Outcome flatten(const json::value& value, const std::string& path, std::vector<std::string>& out) {
  if (value.is_string()) {
    if (out.size() >= limits::kMaxPrompts) {
      return invalid(fmt::format("'{}' must have at most {} elements", path, limits::kMaxPrompts));
    }
    out.emplace_back(value.get_string());
    return {};
  }
  if (!value.is_array()) {
    return invalid(
        fmt::format("'{}' must be an array of strings, not of {}", path, json_kind(value)), path);
  }
  for (const json::value& item : value.get_array()) {
    SLUICE_RETURN_IF_ERROR(flatten(item, path, out));
  }
  return {};
}

// One of "inputs"; binary data is taken from the front of `raw`.
Result<InferTensor> read_input(const json::value& value, const std::string& path,
                               std::string_view& raw) {
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return invalid(fmt::format("'{}' must be an object, not {}", path, json_kind(value)), path);
  }
  const Fields fields(*object, path + ".");
  SLUICE_ASSIGN_OR_RETURN(InferTensor tensor, read_tensor_head(fields));
  SLUICE_ASSIGN_OR_RETURN(const json::object* parameters, fields.object("parameters"));
  std::optional<int64_t> binary;
  if (parameters != nullptr) {
    const Fields more(*parameters, path + ".parameters.");
    SLUICE_ASSIGN_OR_RETURN(
        binary, more.integer("binary_data_size", {0, static_cast<int64_t>(limits::kMaxBodyBytes)}));
  }
  const json::value* data = fields.find("data");
  if (binary) {
    if (data != nullptr) {
      return invalid(fmt::format("'{}' has both 'data' and 'binary_data_size'", path), path);
    }
    if (static_cast<size_t>(*binary) > raw.size()) {
      return invalid(fmt::format("'{}' has {} bytes of binary data; {} are left in the body", path,
                                 *binary, raw.size()),
                     path);
    }
    SLUICE_ASSIGN_OR_RETURN(tensor.elements,
                            split_bytes_tensor(raw.substr(0, static_cast<size_t>(*binary)), path));
    raw.remove_prefix(static_cast<size_t>(*binary));
    return tensor;
  }
  if (data == nullptr || !data->is_array()) {
    return invalid(fmt::format("'{}' must be an array of strings", fields.path("data")),
                   fields.path("data"));
  }
  SLUICE_RETURN_IF_ERROR(flatten(*data, fields.path("data"), tensor.elements));
  return tensor;
}

Result<WantedOutput> read_output(const json::value& value, const std::string& path,
                                 bool binary_default) {
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return invalid(fmt::format("'{}' must be an object, not {}", path, json_kind(value)), path);
  }
  const Fields fields(*object, path + ".");
  SLUICE_ASSIGN_OR_RETURN(auto name, fields.string("name", kMaxName));
  if (!name) return invalid(fmt::format("'{}' is missing", fields.path("name")));
  WantedOutput output{.name = *std::move(name), .binary = binary_default};
  SLUICE_ASSIGN_OR_RETURN(const json::object* parameters, fields.object("parameters"));
  if (parameters != nullptr) {
    SLUICE_ASSIGN_OR_RETURN(const auto binary,
                            Fields(*parameters, path + ".parameters.").boolean("binary_data"));
    output.binary = binary.value_or(binary_default);
  }
  return output;
}

// The number of elements, which a product of foreign numbers must not overflow.
Result<size_t> element_count(const InferTensor& tensor) {
  size_t count = 1;
  for (const int64_t dimension : tensor.shape) {
    if (dimension < 0 || dimension > static_cast<int64_t>(limits::kMaxPrompts)) {
      return invalid(fmt::format("'shape' of '{}' must have dimensions from 0 to {}, not {}",
                                 tensor.name, limits::kMaxPrompts, dimension),
                     "shape");
    }
    count *= static_cast<size_t>(dimension);
    if (count > limits::kMaxPrompts) {
      return invalid(
          fmt::format("'{}' must have at most {} elements", tensor.name, limits::kMaxPrompts),
          "shape");
    }
  }
  return count;
}

Outcome check_tensor(const InferTensor& tensor) {
  if (tensor.name != "text_input" && tensor.name != "prompt") {
    return invalid("this model has one input, 'text_input' (or 'prompt'), of BYTES", "inputs");
  }
  if (tensor.datatype != "BYTES") {
    return invalid(fmt::format("'{}' must be of datatype BYTES", tensor.name), "datatype");
  }
  SLUICE_ASSIGN_OR_RETURN(const size_t count, element_count(tensor));
  if (count == 0) return invalid(fmt::format("'{}' has no element", tensor.name), "shape");
  if (count != tensor.elements.size()) {
    return invalid(fmt::format("'{}' has {} elements; its shape wants {}", tensor.name,
                               tensor.elements.size(), count),
                   "shape");
  }
  for (const std::string& element : tensor.elements) {
    // Of JSON this holds already; raw bytes may be anything.
    if (lossy_utf8(element) != element) {
      return invalid(fmt::format("'{}' holds an element that is no UTF-8", tensor.name), "data");
    }
  }
  return {};
}

Result<std::vector<WantedOutput>> check_outputs(InferInput& input) {
  if (input.outputs.empty()) {
    return std::vector<WantedOutput>{{"text_output", input.binary_output},
                                     {"finish_reason", input.binary_output}};
  }
  for (size_t i = 0; i < input.outputs.size(); ++i) {
    const std::string& name = input.outputs[i].name;
    if (name != "text_output" && name != "finish_reason") {
      return invalid("this model has the outputs 'text_output' and 'finish_reason'", "outputs");
    }
    for (size_t k = 0; k < i; ++k) {
      if (input.outputs[k].name == name) {
        return invalid(fmt::format("'outputs' names '{}' twice", name), "outputs");
      }
    }
  }
  return std::move(input.outputs);
}

}  // namespace

Result<SampledRequest> read_parameters(const json::object& parameters) {
  const Fields fields(parameters);
  SLUICE_RETURN_IF_ERROR(refuse_unoffered(fields, Dialect::kCompletion));
  for (const auto& [key, value] : parameters) {
    if (std::ranges::find(kParameters, std::string_view(key)) != kParameters.end()) continue;
    if (key.size() > 64) return invalid("a parameter has a name of more than 64 bytes");
    return invalid(
        fmt::format("'{}' is not a parameter of this route; leave it out", std::string_view(key)),
        std::string(key));
  }
  GenerateCall call;
  SLUICE_RETURN_IF_ERROR(read_common(fields, call));
  if (call.request.choices_per_prompt != 1) {
    return invalid("'n' must be 1 on this route", "n");
  }
  SampledRequest sampled;
  sampled.request = std::move(call.request);
  if (!sampled.request.sampling.max_tokens) {
    sampled.request.sampling.max_tokens = kDefaultMaxTokens;
  }
  SLUICE_ASSIGN_OR_RETURN(const auto details, fields.boolean("details"));
  sampled.details = details.value_or(false);
  return sampled;
}

Result<InferInput> parse_infer_body(std::string_view body, size_t json_bytes) {
  SLUICE_ASSIGN_OR_RETURN(const json::object object, parse_body(body.substr(0, json_bytes)));
  std::string_view raw = body.substr(json_bytes);
  const Fields fields(object);
  InferInput input;
  SLUICE_ASSIGN_OR_RETURN(const auto id, fields.string("id", kMaxId));
  input.id = id.value_or("");
  SLUICE_ASSIGN_OR_RETURN(const json::object* parameters, fields.object("parameters"));
  if (parameters != nullptr) input.parameters = *parameters;
  SLUICE_ASSIGN_OR_RETURN(const auto binary,
                          Fields(input.parameters, "parameters.").boolean("binary_data_output"));
  input.binary_output = binary.value_or(false);
  input.parameters.erase("binary_data_output");

  SLUICE_ASSIGN_OR_RETURN(const json::array* inputs, fields.array("inputs", 16));
  if (inputs == nullptr) return invalid("'inputs' is missing: an array of tensors", "inputs");
  for (size_t i = 0; i < inputs->size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(auto tensor,
                            read_input((*inputs)[i], fmt::format("inputs[{}]", i), raw));
    input.inputs.push_back(std::move(tensor));
  }
  if (!raw.empty()) {
    return invalid(fmt::format("{} bytes of the body belong to no input", raw.size()), "inputs");
  }
  SLUICE_ASSIGN_OR_RETURN(const json::array* outputs, fields.array("outputs", 16));
  for (size_t i = 0; outputs != nullptr && i < outputs->size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(auto output, read_output((*outputs)[i], fmt::format("outputs[{}]", i),
                                                     input.binary_output));
    input.outputs.push_back(std::move(output));
  }
  return input;
}

Result<InferCall> make_infer_call(InferInput input) {
  if (input.inputs.size() != 1) {
    return invalid(
        fmt::format("this model has one input, 'text_input', not {}", input.inputs.size()),
        "inputs");
  }
  InferTensor& tensor = input.inputs[0];
  SLUICE_RETURN_IF_ERROR(check_tensor(tensor));
  InferCall call;
  SLUICE_ASSIGN_OR_RETURN(call.outputs, check_outputs(input));
  SLUICE_ASSIGN_OR_RETURN(auto sampled, read_parameters(input.parameters));
  if (sampled.details) return invalid("'details' is a parameter of generate only", "details");
  call.request = std::move(sampled.request);
  for (std::string& text : tensor.elements) {
    call.request.prompts.emplace_back(completion::TextPrompt{std::move(text), true});
  }
  call.id = std::move(input.id);
  call.shape = std::move(tensor.shape);
  return call;
}

Result<std::vector<std::string>> split_bytes_tensor(std::string_view raw, std::string_view name) {
  std::vector<std::string> elements;
  while (!raw.empty()) {
    if (raw.size() < 4) {
      return invalid(fmt::format("'{}' ends within the length of an element", name),
                     std::string(name));
    }
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) {
      length |= static_cast<size_t>(static_cast<unsigned char>(raw[i])) << (8 * i);
    }
    raw.remove_prefix(4);
    if (length > raw.size()) {
      return invalid(fmt::format("'{}' has an element of {} bytes where {} are left", name, length,
                                 raw.size()),
                     std::string(name));
    }
    if (elements.size() >= limits::kMaxPrompts) {
      return invalid(fmt::format("'{}' must have at most {} elements", name, limits::kMaxPrompts),
                     std::string(name));
    }
    elements.emplace_back(raw.substr(0, length));
    raw.remove_prefix(length);
  }
  return elements;
}

Result<SampledRequest> parse_generate_request(const json::object& body) {
  const Fields fields(body);
  SLUICE_ASSIGN_OR_RETURN(auto text, fields.string("text_input", limits::kMaxBodyBytes));
  if (!text) return invalid("'text_input' is missing: the prompt, a string", "text_input");
  SLUICE_ASSIGN_OR_RETURN(const json::object* parameters, fields.object("parameters"));
  SLUICE_ASSIGN_OR_RETURN(auto sampled,
                          read_parameters(parameters != nullptr ? *parameters : json::object()));
  if (sampled.details) sampled.request.sampling.logprobs = 0;
  sampled.request.prompts.emplace_back(completion::TextPrompt{*std::move(text), true});
  return sampled;
}

Result<size_t> parse_json_length(std::string_view header, size_t body_bytes) {
  if (header.empty()) return body_bytes;
  size_t length = 0;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), length);
  if (error != std::errc() || end != header.data() + header.size() || length > body_bytes) {
    return invalid(
        "the Inference-Header-Content-Length header must be the length of the body's "
        "JSON, at most the body's own",
        "inference-header-content-length");
  }
  return length;
}

Outcome check_model_version(std::string_view version) {
  if (version.empty() || version == kModelVersion) return {};
  return fail(Code::kNotFound,
              fmt::format("no such version of this model; it has version {}", kModelVersion),
              "version");
}

}  // namespace sluice::api
