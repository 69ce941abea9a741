// KvCache: the memory that K and V of all layers live in, one slab per layer
// (kernels/kv_layout.h). Who owns which block is the engine's affair.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "formats/model_config.h"
#include "kernels/kv_layout.h"
#include "model/model.h"

namespace sluice::model {

// Address space is reserved at once; the system gives a page memory when it is first written, so
// an idle cache costs nothing. Moves, does not copy.
class KvCache {
 public:
  static Result<KvCache> create(const formats::ModelConfig& config, const ModelOptions& options);

  KvCache() = default;
  KvCache(KvCache&& other) noexcept;
  KvCache& operator=(KvCache&& other) noexcept;
  ~KvCache();

  const kernels::KvLayer& layer(int i) const { return layers_[static_cast<size_t>(i)]; }

 private:
  std::vector<kernels::KvLayer> layers_;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace sluice::model
