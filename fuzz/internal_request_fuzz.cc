// The bodies that a gateway sends to a runtime: any bytes either give a request or an error with a
// message, and a request that was read is written and read again as the same bytes.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/internal_request.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const TimePoint now{};
  const auto request = api::read_request(bytes, now);
  if (!request) {
    SLUICE_CHECK(!request.error().message().empty(), "an error says why");
  } else {
    const std::string written = api::write_request(*request, now);
    const auto again = api::read_request(written, now);
    SLUICE_CHECK(again.has_value(), "what was written can be read");
    SLUICE_CHECK(api::write_request(*again, now) == written, "nothing is lost on the way");
  }
  (void)api::read_tokenize_request(bytes);
  (void)api::read_tokenize_result(bytes);
  (void)api::read_detokenize_request(bytes);
  return 0;
}
