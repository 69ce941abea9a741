// Protobuf messages of the Open Inference Protocol ↔ api's terms. Pure functions; no gRPC.
#pragma once

#include <string>
#include <string_view>

#include "api/oip_request.h"
#include "base/status.h"
#include "completion/collector.h"
#include "completion/request.h"

namespace inference {
class ModelInferRequest;
class ModelInferResponse;
class ModelMetadataResponse;
}  // namespace inference

namespace sluice::rpc {

Result<api::InferInput> to_infer_input(const inference::ModelInferRequest& request);

// The same of serialized bytes, for callers that know no protobuf.
Result<api::InferInput> parse_infer_message(std::string_view bytes);

// What an answer repeats of its request.
struct InferHead {
  std::string model;
  bool raw = false;  // the outputs as raw_output_contents, as the inputs came
};

void fill_answer(const InferHead& head, const api::InferCall& call,
                 const completion::Answer& answer, inference::ModelInferResponse& response);

// One piece of a streamed answer; the finish reason is empty before the last one.
void fill_delta(const InferHead& head, const api::InferCall& call, const completion::Delta& delta,
                inference::ModelInferResponse& response);

void fill_metadata(const std::string& model, inference::ModelMetadataResponse& response);

}  // namespace sluice::rpc
