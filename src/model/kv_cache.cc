#include "model/kv_cache.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/ops.h"

namespace sluice::model {
namespace {

kernels::KvElement element_of(KvType type) {
  switch (type) {
    case KvType::kF32:
      return kernels::KvElement::kF32;
    case KvType::kF16:
      return kernels::KvElement::kF16;
    case KvType::kBf16:
      return kernels::KvElement::kBf16;
    case KvType::kInt8:
      return kernels::KvElement::kInt8;
  }
  std::unreachable();
}

int64_t layer_block_bytes(const formats::ModelConfig& config, KvType type, int block_size) {
  return kernels::kv_layer_block_bytes(element_of(type), config.kv_heads, config.head_dim,
                                       block_size);
}

// Whether the products that make K multiply rows rounded to fewer bits.
bool rounds_rows(const formats::ModelSource& source, kernels::Isa isa) {
  for (const char* name : {"blk.0.attn_k.weight", "blk.0.attn_qkv.weight"}) {
    const tensor::TensorView* view = source.find(name);
    if (view == nullptr || view->shape.size() != 2) continue;
    return kernels::rounds_rows(view->dtype, isa);
  }
  return false;
}

}  // namespace

KvType default_kv_type(const formats::ModelSource& source, kernels::Isa isa) {
  const bool is_fast = kernels::multiplies_bf16_pairs(isa);
  return is_fast && rounds_rows(source, isa) ? KvType::kBf16 : KvType::kF16;
}

int64_t kv_block_bytes(const formats::ModelConfig& config, KvType type, int block_size) {
  return config.layers * layer_block_bytes(config, type, block_size);
}

Result<KvCache> KvCache::create(const formats::ModelConfig& config, const ModelOptions& options) {
  const int64_t block_bytes = layer_block_bytes(config, options.kv_type, options.block_size);
  int64_t layer_bytes = 0;
  int64_t bytes = 0;
  if (__builtin_mul_overflow(block_bytes, options.kv_blocks, &layer_bytes) ||
      __builtin_mul_overflow(layer_bytes, static_cast<int64_t>(config.layers), &bytes)) {
    return fail(Code::kResourceExhausted,
                fmt::format("a KV cache of {} blocks of {} bytes in {} layers is beyond any "
                            "address space; use fewer blocks",
                            options.kv_blocks, block_bytes, config.layers));
  }
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return fail(Code::kResourceExhausted,
                fmt::format("the system refused {} MiB for the KV cache ({} blocks): {}; use a "
                            "smaller cache or a shorter context",
                            bytes >> 20, options.kv_blocks, std::strerror(errno)));
  }
  // Blocks lie scattered: in small pages nearly every one costs a page walk. A hint, no more.
  madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  KvCache cache;
  cache.memory_ = memory;
  cache.bytes_ = static_cast<size_t>(bytes);
  cache.layers_.reserve(static_cast<size_t>(config.layers));
  for (int i = 0; i < config.layers; ++i) {
    cache.layers_.push_back({.element = element_of(options.kv_type),
                             .kv_heads = config.kv_heads,
                             .head_dim = config.head_dim,
                             .block_size = options.block_size,
                             .data = static_cast<std::byte*>(memory) + i * layer_bytes});
  }
  return cache;
}

KvCache::KvCache(KvCache&& other) noexcept { *this = std::move(other); }

KvCache& KvCache::operator=(KvCache&& other) noexcept {
  std::swap(layers_, other.layers_);
  std::swap(memory_, other.memory_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

KvCache::~KvCache() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

}  // namespace sluice::model
