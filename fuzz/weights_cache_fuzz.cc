// The head of a file of repacked weights.

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "model/weights_cache_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::model;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  // A fuzzer finds no checksum: the right one is put in its place, for as much as the head says.
  uint32_t count = 0;
  if (size >= 56) {
    std::memcpy(&count, data + 20, sizeof count);
    const uint64_t end = 56 + uint64_t{32} * count;
    if (end <= size) {
      const uint64_t checksum = XXH3_64bits(bytes.data() + 16, end - 16);
      std::memcpy(bytes.data() + 8, &checksum, sizeof checksum);
    }
  }
  const auto file = std::as_bytes(std::span(bytes));
  const auto head = parse_weights_cache(file);
  if (!head) return 0;
  for (const CachedMatrix& m : head->matrices) {
    if (m.offset > file.size() || m.bytes > file.size() - m.offset) __builtin_trap();
  }
  if (head->matrices.size() > 64) return 0;  // they may overlap: bounded work
  sluice::ThreadTeam team(1);
  (void)find_damage(*head, file, team);
  // What was read is what is written.
  const std::string again = format_weights_cache_head(*head);
  if (std::memcmp(again.data(), bytes.data(), again.size()) != 0) __builtin_trap();
  return 0;
}
