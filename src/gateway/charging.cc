#include "gateway/charging.h"

#include <string_view>
#include <utility>

#include "gateway/body_scan.h"

namespace sluice::gateway {
namespace {

// What a request to a server of any make is charged for, by its path.
enum class Charged { kNothing, kPrompt, kAnswer };
Charged charged_for(std::string_view path) {
  const auto is = [path](std::string_view end) { return path.ends_with(end); };
  if (is("/count_tokens") || is("/tokenize") || is("/detokenize")) return Charged::kNothing;
  if (is("/embeddings") || is("/rerank") || is("/score") || is("/moderations")) {
    return Charged::kPrompt;
  }
  return Charged::kAnswer;
}

// Sees to it that the request names the most that it may generate. What has only an "input" may be
// no generation at all: those of the Responses API are told by their path.
Outcome bound_cost(RelayRequest& request, int64_t default_max_tokens) {
  BodyFields& fields = request.fields;
  if (fields.prompt.empty()) {
    return fail(Code::kFailedPrecondition,
                "your key has limits on tokens, and what this request may cost cannot be told: use "
                "a route with prompt, messages or input",
                {}, "cost_unknown");
  }
  if (fields.max_tokens || (fields.input_only && !request.http.path.ends_with("/responses"))) {
    return {};
  }
  SLUICE_ASSIGN_OR_RETURN(request.http.body,
                          with_max_tokens(request.http.body, fields, default_max_tokens));
  return {};
}

}  // namespace

Result<TokenUse> most_cost(RelayRequest& request) {
  const plan::Route& settings = request.route->settings();
  const Charged charged = charged_for(request.http.path);
  const bool counts = Quota::counts_tokens(request.caller);
  if (charged == Charged::kAnswer && counts && !request.http.body.empty()) {
    SLUICE_RETURN_IF_ERROR(bound_cost(request, settings.default_max_tokens));
  }
  const BodyFields& fields = request.fields;
  const std::string& body = request.http.body;
  TokenUse most;
  if (charged != Charged::kNothing) most.prompt = prompt_bound(body);
  if (charged == Charged::kAnswer) {
    most.completion = completion_bound(fields.max_tokens.value_or(0), fields.choices,
                                       prompt_count(fields.prompt.of(body)));
  }
  return most;
}

}  // namespace sluice::gateway
