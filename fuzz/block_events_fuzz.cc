// A runtime's block events, as a gateway reads them: any bytes, however split, give the same events
// or an error, and what was read is written and read again as it was. The first byte says how to
// split.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/block_events.h"
#include "base/check.h"

namespace {

using namespace sluice;

struct Read {
  std::vector<api::BlockEvent> events;
  bool failed = false;
};

Read read_all(std::string_view bytes, size_t piece) {
  api::BlockEventReader reader;
  Read read;
  while (!bytes.empty() && !read.failed) {
    const size_t n = std::min(piece, bytes.size());
    const auto outcome = reader.feed(bytes.substr(0, n), [&](api::BlockEvent&& event) {
      read.events.push_back(std::move(event));
    });
    read.failed = !outcome;
    bytes.remove_prefix(n);
  }
  return read;
}

// Every tag that the events tell, in order.
std::vector<PrefixChange> changes_of(const std::vector<api::BlockEvent>& events) {
  std::vector<PrefixChange> all;
  for (const auto& event : events) {
    const auto* changes = std::get_if<api::BlockChanges>(&event);
    if (changes == nullptr) continue;
    for (const uint64_t tag : changes->tags) all.push_back({tag, changes->stored});
  }
  return all;
}

std::string write_all(const std::vector<api::BlockEvent>& events) {
  api::BlockEventWriter writer;
  std::string out;
  for (const auto& event : events) {
    if (const auto* hello = std::get_if<api::BlockHello>(&event)) writer.write(*hello, out);
    if (const auto* changes = std::get_if<api::BlockChanges>(&event)) {
      std::vector<PrefixChange> list;
      for (const uint64_t tag : changes->tags) list.push_back({tag, changes->stored});
      writer.write(changes->model, list, out);
    }
    if (std::holds_alternative<api::BlocksSynced>(event)) writer.write(api::BlocksSynced{}, out);
    if (std::holds_alternative<api::BlockBeat>(event)) api::BlockEventWriter::write_beat(out);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const Read whole = read_all(bytes, bytes.size() + 1);
  const Read split = read_all(bytes, size_t{data[0]} % 7 + 1);
  SLUICE_CHECK(whole.events.size() == split.events.size(), "events do not depend on the split");
  SLUICE_CHECK(whole.failed == split.failed, "nor does a failure");
  const std::string again = write_all(whole.events);
  const Read second = read_all(again, again.size() + 1);
  SLUICE_CHECK(!second.failed, "what was read can be written and read");
  SLUICE_CHECK(changes_of(second.events) == changes_of(whole.events), "and says the same");
  return 0;
}
