#include "api/oip_response.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "api/json_text.h"

namespace sluice::api {
namespace {

using completion::AnsweredChoice;
using completion::FinishReason;
using completion::LogprobEntry;
using completion::StopReason;

constexpr float kLeastLogprob = -9999.0f;  // JSON has no infinities

// What generate's details call the end.
std::string_view detailed_reason(FinishReason finish, const StopReason& reason) {
  if (finish == FinishReason::kLength) return "length";
  return std::holds_alternative<std::string>(reason) ? "stop_sequence" : "eos_token";
}

// `"details":{…}`; the reason stands where the answer has ended.
void append_details(std::string& out, std::optional<FinishReason> finish, const StopReason& reason,
                    const std::vector<LogprobEntry>& logprobs) {
  out += R"(,"details":{"finish_reason":)";
  if (finish) {
    fmt::format_to(std::back_inserter(out), R"("{}")", detailed_reason(*finish, reason));
  } else {
    out += "null";
  }
  out += R"(,"logprobs":[)";
  for (size_t i = 0; i < logprobs.size(); ++i) {
    const completion::TokenLogprob& token = logprobs[i].chosen;
    fmt::format_to(std::back_inserter(out), R"({}{{"id":{},"text":)", i > 0 ? "," : "",
                   token.token);
    append_json_string(out, lossy_utf8(token.text));
    fmt::format_to(std::back_inserter(out), R"(,"logprob":{},"special":{}}})",
                   std::max(token.logprob, kLeastLogprob), token.text.empty());
  }
  out += "]}";
}

void append_model(std::string& out, const std::string& model) {
  out += R"({"model_name":)";
  append_json_string(out, model);
  fmt::format_to(std::back_inserter(out), R"(,"model_version":"{}")", kModelVersion);
}

void append_names(std::string& out, const std::vector<completion::ModelCard>& cards) {
  for (size_t i = 0; i < cards.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, cards[i].id);
  }
}

}  // namespace

std::string_view oip_finish_reason(FinishReason finish) {
  return finish == FinishReason::kLength ? "length" : "stop";
}

std::vector<std::string> output_elements(std::string_view output,
                                         const completion::Answer& answer) {
  std::vector<std::string> elements;
  elements.reserve(answer.choices.size());
  for (const AnsweredChoice& choice : answer.choices) {
    elements.emplace_back(output == "text_output" ? choice.text : oip_finish_reason(choice.finish));
  }
  return elements;
}

std::string join_bytes_tensor(const std::vector<std::string>& elements) {
  std::string out;
  for (const std::string& element : elements) {
    for (size_t i = 0; i < 4; ++i) out += static_cast<char>(element.size() >> (8 * i) & 0xFF);
    out += element;
  }
  return out;
}

InferBody infer_body(const std::string& model, const InferCall& call,
                     const completion::Answer& answer) {
  std::string out, binary;
  append_model(out, model);
  if (!call.id.empty()) {
    out += R"(,"id":)";
    append_json_string(out, call.id);
  }
  fmt::format_to(std::back_inserter(out),
                 R"(,"parameters":{{"prompt_tokens":{},"completion_tokens":{}}},"outputs":[)",
                 answer.usage.prompt_tokens, answer.usage.completion_tokens);
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    const std::vector<std::string> elements = output_elements(call.outputs[i].name, answer);
    fmt::format_to(std::back_inserter(out), R"({}{{"name":"{}","datatype":"BYTES","shape":[{}])",
                   i > 0 ? "," : "", call.outputs[i].name, fmt::join(call.shape, ","));
    if (call.outputs[i].binary) {
      const std::string raw = join_bytes_tensor(elements);
      fmt::format_to(std::back_inserter(out), R"(,"parameters":{{"binary_data_size":{}}}}})",
                     raw.size());
      binary += raw;
      continue;
    }
    out += R"(,"data":[)";
    for (size_t k = 0; k < elements.size(); ++k) {
      if (k > 0) out += ',';
      append_json_string(out, elements[k]);
    }
    out += "]}";
  }
  out += "]}";
  const size_t json_bytes = out.size();
  return {.bytes = std::move(out) + binary, .json_bytes = json_bytes};
}

std::string generate_body(const std::string& model, bool details,
                          const completion::Answer& answer) {
  const AnsweredChoice& choice = answer.choices.at(0);
  std::string out;
  append_model(out, model);
  out += R"(,"text_output":)";
  append_json_string(out, choice.text);
  if (details) append_details(out, choice.finish, choice.stop_reason, choice.logprobs);
  out += '}';
  return out;
}

std::string generate_event(const std::string& model, bool details, const completion::Delta& delta) {
  std::string out;
  append_model(out, model);
  out += R"(,"text_output":)";
  append_json_string(out, delta.text);
  fmt::format_to(std::back_inserter(out), R"(,"done":{})", delta.finish.has_value());
  if (details) append_details(out, delta.finish, delta.stop_reason, delta.logprobs);
  out += '}';
  return out;
}

std::string server_metadata_body(std::string_view version) {
  return fmt::format(R"({{"name":"sluice","version":"{}","extensions":[)"
                     R"("model_repository_extension","generate","binary_tensor_data"]}})",
                     version);
}

std::string model_metadata_body(const std::string& model) {
  std::string out = R"({"name":)";
  append_json_string(out, model);
  fmt::format_to(std::back_inserter(out),
                 R"(,"versions":["{}"],"platform":"sluice","inputs":[)"
                 R"({{"name":"text_input","datatype":"BYTES","shape":[-1]}}],"outputs":[)"
                 R"({{"name":"text_output","datatype":"BYTES","shape":[-1]}},)"
                 R"({{"name":"finish_reason","datatype":"BYTES","shape":[-1]}}]}})",
                 kModelVersion);
  return out;
}

std::string model_ready_body(const std::string& model, bool ready) {
  std::string out = R"({"name":)";
  append_json_string(out, model);
  fmt::format_to(std::back_inserter(out), R"(,"ready":{}}})", ready);
  return out;
}

std::string model_list_body(const std::vector<completion::ModelCard>& cards) {
  std::string out = R"({"models":[)";
  append_names(out, cards);
  out += "]}";
  return out;
}

std::string repository_index_body(const std::vector<completion::ModelCard>& cards, bool ready) {
  std::string out = "[";
  for (size_t i = 0; i < cards.size(); ++i) {
    out += i > 0 ? R"(,{"name":)" : R"({"name":)";
    append_json_string(out, cards[i].id);
    const bool here = ready && cards[i].loaded;
    fmt::format_to(std::back_inserter(out), R"(,"version":"{}","state":"{}","reason":"{}"}})",
                   kModelVersion, here ? "READY" : "UNAVAILABLE",
                   here    ? ""
                   : ready ? "unloaded"
                           : "draining");
  }
  out += ']';
  return out;
}

Result<std::string> change_model(const completion::Backend& backend, const std::string& model,
                                 bool load) {
  const auto card = backend.find_model(model);
  if (!load) {
    if (!card) return std::unexpected(card.error());
    return fail(Code::kUnimplemented,
                "models cannot be unloaded while the server runs: start it without this one");
  }
  if (!card) {
    return fail(Code::kUnimplemented,
                "models cannot be loaded while the server runs: start it with this one too");
  }
  return model_changed_body(card->id, true);
}

std::string model_changed_body(std::string_view model, bool load) {
  std::string out = R"({"name":)";
  append_json_string(out, model);
  out += load ? R"(,"load":true})" : R"(,"unload":true})";
  return out;
}

std::string oip_error_body(std::string_view message) {
  std::string out = R"({"error":)";
  append_json_string(out, lossy_utf8(message));
  out += '}';
  return out;
}

}  // namespace sluice::api
