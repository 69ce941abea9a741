// The files of a replica's folder, which anybody may have written: what is taken comes back equal
// when it is written and read again, and can be run.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "process/control_group.h"
#include "process/keeper_order.h"
#include "process/proc_info.h"
#include "process/records.h"

namespace {

using namespace sluice::process;

template <typename T>
void check_same(const T& record, sluice::Result<T> (*parse)(std::string_view)) {
  const auto again = parse(record_text(record));
  if (!again || *again != record) std::abort();
}

void check_readable(std::string_view text) {
  const std::string tail = readable_tail(text);
  if (tail.size() > kMaxMessageBytes) std::abort();
  // It can be written down.
  const ReplicaEnd end{.token = "t", .reason = "Error", .message = tail};
  check_same(end, parse_end);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto order = parse_order(text)) {
    if (!check_spec(order->spec)) std::abort();
    const auto again = parse_order(order_text(*order));
    if (!again || *again != *order) std::abort();
  }
  if (const auto state = parse_state(text)) check_same(*state, parse_state);
  if (const auto end = parse_end(text)) check_same(*end, parse_end);
  if (const auto order = parse_end_order(text)) check_same(*order, parse_end_order);
  check_readable(text);
  static_cast<void>(parse_stat(text));
  static_cast<void>(parse_private_memory(text));
  static_cast<void>(ControlGroups::find("/nowhere", text));
  return 0;
}
