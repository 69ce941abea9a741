#include "model/weights_cache.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "kernels/ops.h"

namespace sluice::model {
namespace {

using tensor::TensorView;

constexpr size_t kWriteBytes = size_t{8} << 20;

// A 64-bit hash of what it is given, in order.
class Hash {
 public:
  void add(uint64_t value) { state_ = XXH3_64bits_withSeed(&value, sizeof value, state_); }
  void add(std::span<const std::byte> bytes) {
    add(bytes.size());
    state_ = XXH3_64bits_withSeed(bytes.data(), bytes.size(), state_);
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0;
};

// Whether repacking a matrix of this type takes memory of its own.
bool is_repacked(const TensorView& view, kernels::Isa isa) {
  return view.shape.size() > 1 &&
         kernels::repacked_bytes(view.dtype, view.rows(), view.cols(), isa) > 0;
}

// What the repacked bytes of the source's types mean: a hash of what a pattern comes out as.
uint64_t layout_of(const formats::ModelSource& source, kernels::Isa isa, ThreadTeam& team) {
  std::set<tensor::DType> types;
  for (const auto& [name, view] : source.tensors()) {
    if (is_repacked(view, isa)) types.insert(view.dtype);
  }
  Hash hash;
  for (const tensor::DType type : types) {
    // Two panels, one of them not full, of several groups and a part of one.
    const int64_t out = 41, in = 3 * 256;
    const tensor::DTypeInfo& info = tensor::dtype_info(type);
    std::vector<std::byte> bytes(
        static_cast<size_t>(out * in / info.block_elements * info.block_bytes));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 167 + i / 251);
    const TensorView view{.dtype = type, .shape = {out, in}, .bytes = bytes};
    const auto matrix = kernels::prepare_matrix(view, isa, team);
    hash.add(static_cast<uint64_t>(type));
    if (matrix) hash.add((*matrix)->repacked());
  }
  return hash.value();
}

// Tells models apart that share a folder: by their tensors and how each of them begins. Which
// weights a file was made of is written in it.
uint64_t name_hash(const formats::ModelSource& source, uint64_t layout) {
  Hash hash;
  hash.add(layout);
  for (const auto& [name, view] : source.tensors()) {
    hash.add(name);
    hash.add(static_cast<uint64_t>(view.dtype));
    for (const int64_t d : view.shape) hash.add(static_cast<uint64_t>(d));
    hash.add(view.bytes.first(std::min<size_t>(view.bytes.size(), 64)));
  }
  return hash.value();
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Outcome write_in_parts(AtomicFile& file, std::string_view bytes, const std::stop_token& stop) {
  while (!bytes.empty()) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "the model is being unloaded");
    const std::string_view part = bytes.substr(0, kWriteBytes);
    SLUICE_RETURN_IF_ERROR(file.write(part));
    bytes.remove_prefix(part.size());
  }
  return {};
}

// Fills the system's file cache.
void read_in_large_pages(const tensor::MappedFile& file, const std::stop_token& stop) {
  constexpr size_t kPage = 4096;
  file.prefer_large_pages();
  const std::span<const std::byte> bytes = file.bytes();
  const volatile std::byte* data = bytes.data();
  for (size_t at = 0; at < bytes.size() && !stop.stop_requested(); at += kPage) {
    static_cast<void>(data[at]);
  }
}

uint64_t padding(uint64_t bytes) {
  return (kernels::kRepackedAlignment - bytes % kernels::kRepackedAlignment) %
         kernels::kRepackedAlignment;
}

}  // namespace

std::unique_ptr<WeightsCache> WeightsCache::open(const formats::ModelSource& source,
                                                 kernels::Isa isa,
                                                 const std::filesystem::path& folder,
                                                 std::string_view stem, ThreadTeam& team) {
  std::unique_ptr<WeightsCache> cache(new WeightsCache(source, isa));
  cache->layout_ = layout_of(source, isa, team);
  cache->path_ =
      folder / fmt::format("{}-{:016x}.repacked", stem, name_hash(source, cache->layout_));
  const Outcome mapped = cache->map(team);
  if (!mapped) {
    const bool missing = mapped.error().code() == Code::kNotFound;
    log_line(missing ? LogLevel::kDebug : LogLevel::kWarn,
             fmt::format("{}; the weights are repacked", mapped.error().message()));
  }
  return cache;
}

Outcome WeightsCache::map(ThreadTeam& team) {
  SLUICE_ASSIGN_OR_RETURN(tensor::MappedFile file, tensor::MappedFile::open(path_));
  const Outcome used = use(std::move(file), team);
  if (!used) return std::unexpected(used.error().at(path_.string()));
  return {};
}

Outcome WeightsCache::use(tensor::MappedFile file, ThreadTeam& team) {
  SLUICE_ASSIGN_OR_RETURN(WeightsCacheHead head, parse_weights_cache(file.bytes()));
  if (head.layout != layout_) {
    return fail(Code::kFailedPrecondition, "it has another layout of panels");
  }
  const uint64_t stamp = source_.files_stamp();
  const bool untouched = stamp != 0 && stamp == head.stamp;
  if (!untouched && head.digest != source_.weights_digest()) {
    return fail(Code::kFailedPrecondition, "it was made of other weights");
  }
  file.prefer_large_pages();
  if (const int64_t damaged = find_damage(head, file.bytes(), team); damaged >= 0) {
    return fail(Code::kDataLoss, fmt::format("the checksum of its matrix at {} is wrong",
                                             head.matrices[static_cast<size_t>(damaged)].offset));
  }
  file_ = std::move(file);
  head_ = std::move(head);
  return {};
}

uint64_t WeightsCache::key_of(const std::string& name, const TensorView& view) const {
  const TensorView* whole = source_.find(name);
  Hash hash;
  hash.add(name);
  hash.add(static_cast<uint64_t>(view.bytes.data() - whole->bytes.data()));
  hash.add(static_cast<uint64_t>(view.dtype));
  hash.add(static_cast<uint64_t>(view.rows()));
  hash.add(static_cast<uint64_t>(view.cols()));
  return hash.value();
}

std::span<const std::byte> WeightsCache::find(const std::string& name,
                                              const TensorView& view) const {
  if (!file_ || !is_repacked(view, isa_)) return {};
  const uint64_t key = key_of(name, view);
  const auto at = std::ranges::lower_bound(head_.matrices, key, {}, &CachedMatrix::key);
  const int64_t expected = kernels::repacked_bytes(view.dtype, view.rows(), view.cols(), isa_);
  if (at == head_.matrices.end() || at->key != key || std::cmp_not_equal(at->bytes, expected)) {
    return {};
  }
  return file_->bytes().subspan(at->offset, at->bytes);
}

void WeightsCache::note(const std::string& name, const TensorView& view,
                        std::span<const std::byte> repacked) {
  noted_.push_back({.key = key_of(name, view), .bytes = repacked});
  complete_ = complete_ && file_ && find(name, view).data() == repacked.data();
}

std::optional<uint64_t> WeightsCache::digest() const {
  return file_ ? std::optional(head_.digest) : std::nullopt;
}

Outcome WeightsCache::write(uint64_t digest, const std::stop_token& stop) const {
  std::map<uint64_t, CachedMatrix> table;
  uint64_t end = weights_cache_head_bytes(noted_.size());
  for (const Noted& noted : noted_) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "the model is being unloaded");
    table[noted.key] = {.key = noted.key,
                        .offset = end,
                        .bytes = noted.bytes.size(),
                        .checksum = weights_checksum(noted.bytes)};
    end += noted.bytes.size() + padding(noted.bytes.size());
  }
  WeightsCacheHead head{.layout = layout_,
                        .digest = digest,
                        .stamp = source_.files_stamp(),
                        .file_bytes = end,
                        .matrices = {}};
  for (const auto& [key, matrix] : table) head.matrices.push_back(matrix);
  std::string start = format_weights_cache_head(head);
  start.resize(weights_cache_head_bytes(noted_.size()));

  std::error_code ignored;  // creating the file says what is wrong
  std::filesystem::create_directories(path_.parent_path(), ignored);
  SLUICE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path_, 0644));
  SLUICE_RETURN_IF_ERROR(file.reserve(end));
  SLUICE_RETURN_IF_ERROR(file.write(start));
  const std::string zeros(kernels::kRepackedAlignment, '\0');
  for (const Noted& noted : noted_) {
    SLUICE_RETURN_IF_ERROR(write_in_parts(file, as_text(noted.bytes), stop));
    SLUICE_RETURN_IF_ERROR(file.write(zeros.substr(0, padding(noted.bytes.size()))));
  }
  SLUICE_RETURN_IF_ERROR(file.commit());
  // What was written part by part lies in small pages, in which the next start would find it.
  file.forget();
  const auto again = tensor::MappedFile::open(path_);
  if (again) read_in_large_pages(*again, stop);
  return {};
}

}  // namespace sluice::model
