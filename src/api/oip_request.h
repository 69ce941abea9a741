// Open Inference Protocol v2: requests → completion::Request. One set of rules for REST and gRPC:
// both are first brought into the protocol's own terms (InferInput), then read by make_infer_call.
//
// A model has one input, "text_input" (or "prompt"): BYTES of any shape, each element a prompt; and
// two outputs of the same shape: "text_output" and "finish_reason".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/fields.h"
#include "base/status.h"
#include "completion/request.h"

namespace sluice::api {

// The one version that every model has.
inline constexpr std::string_view kModelVersion = "1";

// `parameters`: the fields of /v1/completions that say how to sample, and `details` of generate.
struct SampledRequest {
  completion::Request request;  // without prompts; max_tokens is 20 where none is given
  bool details = false;
};
Result<SampledRequest> read_parameters(const json::object& parameters);

struct InferTensor {
  std::string name;
  std::string datatype;
  std::vector<int64_t> shape;
  std::vector<std::string> elements;  // of BYTES
};

struct WantedOutput {
  std::string name;
  bool binary = false;  // REST's binary extension
};

// One inference request in the protocol's terms.
struct InferInput {
  std::string id;
  json::object parameters;
  std::vector<InferTensor> inputs;
  std::vector<WantedOutput> outputs;  // empty: all
  bool binary_output = false;         // REST: those that `outputs` does not name
};

// The same, understood.
struct InferCall {
  completion::Request request;
  std::string id;
  std::vector<int64_t> shape;
  std::vector<WantedOutput> outputs;  // never empty
};

// POST …/infer. With the binary extension the JSON is the body's first `json_bytes` bytes and the
// tensors' data stand behind it (header Inference-Header-Content-Length).
Result<InferInput> parse_infer_body(std::string_view body, size_t json_bytes);

Result<InferCall> make_infer_call(InferInput input);

// BYTES as raw data: each element behind its length in 4 little-endian bytes.
Result<std::vector<std::string>> split_bytes_tensor(std::string_view raw, std::string_view name);

// POST …/generate and …/generate_stream: {"text_input", "parameters"}.
Result<SampledRequest> parse_generate_request(const json::object& body);

// The header's value; the whole body where it is absent (empty).
Result<size_t> parse_json_length(std::string_view header, size_t body_bytes);

// The path's version: absent (empty) or kModelVersion.
Outcome check_model_version(std::string_view version);

}  // namespace sluice::api
