// ModelInferRequest messages of gRPC: any bytes either give a request or an error with a message.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "rpc/oip_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto input = sluice::rpc::parse_infer_message({reinterpret_cast<const char*>(data), size});
  if (!input) {
    SLUICE_CHECK(!input.error().message().empty(), "an error says why");
    return 0;
  }
  const auto call = sluice::api::make_infer_call(*std::move(input));
  if (!call) {
    SLUICE_CHECK(!call.error().message().empty(), "an error says why");
    return 0;
  }
  SLUICE_CHECK(!call->request.prompts.empty() && !call->outputs.empty(), "something is asked for");
  return 0;
}
