// completion::Request on the internal wire: the body of POST /internal/v1/generate, and of the
// tokenizer's two routes. It comes from a gateway that has the deployment's token, and is read as
// strictly as a stranger's all the same.
//
// Fields of a Request:
//   1 id  2 model  3 Prompt …  4 choices per prompt  5 Sampling  6 echo  7 truncate to
//   8 priority  9 tenant  10 cache salt  11 milliseconds left  12 Resume
// of a Sampling:
//   1 temperature  2 top_k  3 top_p  4 min_p  5 typical_p  6 repetition  7 presence  8 frequency
//   9 bias {1 token 2 value} …  10 bad word …  11 allowed tokens  12 seed  13 max tokens
//   14 min tokens  15 ignore end  16 stop string …  17 stop tokens  18 keep the stop text
//   19 show special tokens  20 logprobs + 1  21 prompt logprobs + 1
// of a Resume: 1 choice {1 tokens 2 ended after} …  2 logprobs told (0 or 1 per prompt)
//   3 numerics id  4 context
// Doubles travel as their bits, so that a replica computes with the very numbers that were asked.
// A new field of completion::Request belongs here too, and into the round-trip test.
// Pure functions, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "completion/backend.h"
#include "completion/request.h"

namespace sluice::api {

inline constexpr std::string_view kInternalContentType = "application/vnd.sluice.internal.v1";

// A deadline travels as the time that is left at `now`.
std::string write_request(const completion::Request& request, TimePoint now);
// kInvalidArgument says which field is wrong and how.
Result<completion::Request> read_request(std::string_view body, TimePoint now);

// 1 model  2 Prompt  3 with pieces → 1 tokens  2 piece …  3 context
std::string write_tokenize_request(const completion::TokenizeRequest& request);
Result<completion::TokenizeRequest> read_tokenize_request(std::string_view body);
std::string write_tokenize_result(const completion::TokenizeResult& result);
Result<completion::TokenizeResult> read_tokenize_result(std::string_view body);

struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> tokens;
};

// 1 model  2 tokens → the text itself
std::string write_detokenize_request(const DetokenizeRequest& request);
Result<DetokenizeRequest> read_detokenize_request(std::string_view body);

}  // namespace sluice::api
