// completion:: answers and model cards → bodies of the Open Inference Protocol v2 over REST.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/oip_request.h"
#include "completion/backend.h"
#include "completion/collector.h"

namespace sluice::api {

// "stop" or "length" of infer's finish_reason.
std::string_view oip_finish_reason(completion::FinishReason finish);

// The elements of one output, in order.
std::vector<std::string> output_elements(std::string_view output, const completion::Answer& answer);

// BYTES as raw data: each element behind its length in 4 little-endian bytes.
std::string join_bytes_tensor(const std::vector<std::string>& elements);

struct InferBody {
  std::string bytes;
  size_t json_bytes = 0;  // below bytes.size(): binary data follows
};
InferBody infer_body(const std::string& model, const InferCall& call,
                     const completion::Answer& answer);

std::string generate_body(const std::string& model, bool details, const completion::Answer& answer);
// One event of generate_stream; `done` is true in the last one.
std::string generate_event(const std::string& model, bool details, const completion::Delta& delta);

std::string server_metadata_body(std::string_view version);
std::string model_metadata_body(const std::string& model);
std::string model_ready_body(const std::string& model, bool ready);
std::string model_list_body(const std::vector<completion::ModelCard>& cards);
std::string repository_index_body(const std::vector<completion::ModelCard>& cards, bool ready);

// POST /v2/repository/models/{model}/load and /unload, as JSON, for a backend whose models are
// those that the process was started with: loading a served one succeeds, everything else is
// kUnimplemented.
Result<std::string> change_model(const completion::Backend& backend, const std::string& model,
                                 bool load);

// The same where it was done.
std::string model_changed_body(std::string_view model, bool load);

// {"error":"…"}: KServe v1 has the same.
std::string oip_error_body(std::string_view message);

}  // namespace sluice::api
