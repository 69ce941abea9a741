// A replica's event stream, as a gateway reads it: any bytes, however split, give the same events
// or an error. The first byte says how to split.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/internal_events.h"
#include "base/check.h"

namespace {

struct Read {
  size_t events = 0;
  bool failed = false;
};

Read read_all(std::string_view bytes, size_t piece) {
  sluice::api::EventReader reader(1u << 16);
  Read read;
  while (!bytes.empty() && !read.failed) {
    const size_t n = std::min(piece, bytes.size());
    const auto outcome =
        reader.feed(bytes.substr(0, n), [&](sluice::api::InternalEvent&&) { ++read.events; });
    read.failed = !outcome;
    bytes.remove_prefix(n);
  }
  return read;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const Read whole = read_all(bytes, bytes.size() + 1);
  const Read split = read_all(bytes, size_t{data[0]} % 7 + 1);
  SLUICE_CHECK(whole.events == split.events, "events do not depend on the split");
  SLUICE_CHECK(whole.failed == split.failed, "nor does a failure");
  return 0;
}
