#include "model/weights_cache_file.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "kernels/ops.h"
#include "tensor/checked.h"

namespace sluice::model {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they lie in memory");

constexpr std::string_view kMagic = "SLUICEWC";
constexpr uint32_t kVersion = 1;
constexpr uint64_t kMostMatrices = uint64_t{1} << 20;
constexpr uint64_t kHeadBytes = 56;
constexpr uint64_t kChecked = 16;  // the head's checksum covers what follows
constexpr uint64_t kMatrixBytes = sizeof(CachedMatrix);
static_assert(kMatrixBytes == 32);
constexpr uint64_t kPieceBytes = uint64_t{4} << 20;
constexpr uint64_t kAlignment = kernels::kRepackedAlignment;

template <typename T>
T number_at(std::span<const std::byte> file, uint64_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::unexpected<Status> damaged(const std::string& what) { return fail(Code::kDataLoss, what); }

uint64_t pieces_of(uint64_t bytes) { return (bytes + kPieceBytes - 1) / kPieceBytes; }

uint64_t piece_checksum(std::span<const std::byte> bytes, uint64_t piece) {
  const uint64_t begin = piece * kPieceBytes;
  return XXH3_64bits(bytes.data() + begin, std::min(kPieceBytes, bytes.size() - begin));
}

Outcome check_matrix(const CachedMatrix& m, uint64_t first, uint64_t end) {
  const auto behind = tensor::checked_add(m.offset, m.bytes);
  if (m.bytes > 0 && m.offset % kAlignment == 0 && m.offset >= first && behind && *behind <= end) {
    return {};
  }
  return damaged(
      fmt::format("a matrix of {} bytes at {}; expected some at a multiple of {} "
                  "between {} and {}",
                  m.bytes, m.offset, kAlignment, first, end));
}

}  // namespace

uint64_t weights_cache_head_bytes(size_t matrices) {
  const uint64_t bytes = kHeadBytes + matrices * kMatrixBytes;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::string format_weights_cache_head(const WeightsCacheHead& head) {
  std::string rest;
  append(rest, kVersion);
  append(rest, static_cast<uint32_t>(head.matrices.size()));
  append(rest, head.layout);
  append(rest, head.digest);
  append(rest, head.stamp);
  append(rest, head.file_bytes);
  for (const CachedMatrix& m : head.matrices) append(rest, m);
  std::string out(kMagic);
  append(out, XXH3_64bits(rest.data(), rest.size()));
  return out + rest;
}

Result<WeightsCacheHead> parse_weights_cache(std::span<const std::byte> file) {
  if (file.size() < kHeadBytes || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    return invalid("it is no file of repacked weights");
  }
  const auto version = number_at<uint32_t>(file, 16);
  if (version != kVersion) {
    return invalid(fmt::format("it is of version {}; expected {}", version, kVersion));
  }
  const uint64_t count = number_at<uint32_t>(file, 20);
  if (count > kMostMatrices || kHeadBytes + count * kMatrixBytes > file.size()) {
    return damaged(fmt::format("{} matrices do not fit into its {} bytes", count, file.size()));
  }
  const uint64_t end = kHeadBytes + count * kMatrixBytes;
  if (number_at<uint64_t>(file, 8) != XXH3_64bits(file.data() + kChecked, end - kChecked)) {
    return damaged("its head has another checksum than it says");
  }
  WeightsCacheHead head{.layout = number_at<uint64_t>(file, 24),
                        .digest = number_at<uint64_t>(file, 32),
                        .stamp = number_at<uint64_t>(file, 40),
                        .file_bytes = number_at<uint64_t>(file, 48),
                        .matrices = std::vector<CachedMatrix>(count)};
  if (head.file_bytes != file.size()) {
    return damaged(fmt::format("it has {} bytes of {}", file.size(), head.file_bytes));
  }
  if (count > 0) std::memcpy(head.matrices.data(), file.data() + kHeadBytes, count * kMatrixBytes);
  for (size_t i = 0; i < head.matrices.size(); ++i) {
    SLUICE_RETURN_IF_ERROR(check_matrix(head.matrices[i], end, file.size()));
    if (i > 0 && head.matrices[i - 1].key >= head.matrices[i].key) {
      return damaged("its matrices are not in order");
    }
  }
  return head;
}

uint64_t weights_checksum(std::span<const std::byte> bytes) {
  std::vector<uint64_t> pieces(pieces_of(bytes.size()));
  for (size_t i = 0; i < pieces.size(); ++i) pieces[i] = piece_checksum(bytes, i);
  return XXH3_64bits(pieces.data(), pieces.size() * sizeof(uint64_t));
}

int64_t find_damage(const WeightsCacheHead& head, std::span<const std::byte> file,
                    ThreadTeam& team) {
  struct Piece {
    size_t matrix;
    uint64_t number;
    uint64_t checksum;
  };
  const auto bytes_of = [&](size_t i) {
    return file.subspan(head.matrices[i].offset, head.matrices[i].bytes);
  };
  std::vector<Piece> pieces;
  for (size_t i = 0; i < head.matrices.size(); ++i) {
    const uint64_t count = pieces_of(head.matrices[i].bytes);
    for (uint64_t p = 0; p < count; ++p) pieces.push_back({i, p, 0});
  }
  // In the order of the file, for the disk's sake.
  std::ranges::sort(pieces, {}, [&](const Piece& p) {
    return std::pair(head.matrices[p.matrix].offset, p.number);
  });
  team.parallel_for(std::ssize(pieces), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Piece& piece = pieces[static_cast<size_t>(i)];
      piece.checksum = piece_checksum(bytes_of(piece.matrix), piece.number);
    }
  });
  std::vector<uint64_t> sums;
  for (size_t i = 0; i < pieces.size(); ++i) {
    sums.push_back(pieces[i].checksum);
    const bool last = i + 1 == pieces.size() || pieces[i + 1].matrix != pieces[i].matrix;
    if (!last) continue;
    const size_t matrix = pieces[i].matrix;
    if (XXH3_64bits(sums.data(), sums.size() * sizeof(uint64_t)) !=
        head.matrices[matrix].checksum) {
      return static_cast<int64_t>(matrix);
    }
    sums.clear();
  }
  return -1;
}

}  // namespace sluice::model
