// The file that repacked weights are kept in: its head, and the checksums of what follows.
//
// All numbers are little-endian and unsigned.
//
//   0   magic "SLUICEWC"
//   8   checksum of the head from byte 16 on
//   16  version (32 bits), number of matrices (32 bits)
//   24  layout: what the repacked bytes mean
//   32  digest of the weights they were made of
//   40  stamp of the files that these weights lay in
//   48  bytes of the whole file
//   56  per matrix: key, offset, bytes, checksum; by ascending key
//
// Then the matrices' bytes, each at a multiple of kernels::kRepackedAlignment. Checksums are
// XXH3-64; a matrix's is that of the checksums of its pieces of kPieceBytes, so that threads can
// share the work. Nothing here is trusted: the file is foreign input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_team.h"

namespace sluice::model {

struct CachedMatrix {
  uint64_t key = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t checksum = 0;
};

struct WeightsCacheHead {
  uint64_t layout = 0;
  uint64_t digest = 0;
  uint64_t stamp = 0;
  uint64_t file_bytes = 0;
  std::vector<CachedMatrix> matrices;  // by ascending key
};

// Where the first matrix may begin.
uint64_t weights_cache_head_bytes(size_t matrices);

// The head as the file has it; file_bytes and offsets are the caller's.
std::string format_weights_cache_head(const WeightsCacheHead& head);

// The head of a whole file. Every matrix named in it lies inside; what its bytes hold is for
// find_damage() to say. Fails with data_loss, and with invalid_argument for what is no such file.
Result<WeightsCacheHead> parse_weights_cache(std::span<const std::byte> file);

uint64_t weights_checksum(std::span<const std::byte> bytes);

// Reads all matrices. The index of one whose checksum is wrong, or -1.
int64_t find_damage(const WeightsCacheHead& head, std::span<const std::byte> file,
                    ThreadTeam& team);

}  // namespace sluice::model
