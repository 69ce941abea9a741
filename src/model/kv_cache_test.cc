#include "model/kv_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "model/fake_model.h"

namespace sluice::model {
namespace {

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(KvCache, TakesMemoryOnlyWhereItIsWritten) {
  const formats::ModelConfig config = fake_config("llama");
  const int64_t block = kv_block_bytes(config, KvType::kF32, 16);
  const ModelOptions options{
      .kv_type = KvType::kF32, .block_size = 16, .kv_blocks = (int64_t{2} << 30) / block};
  const int64_t before = resident_bytes();
  const auto cache = KvCache::create(config, options);
  ASSERT_TRUE(cache) << cache.error().message();
  EXPECT_LT(resident_bytes() - before, int64_t{8} << 20);

  for (int i = 0; i < config.layers; ++i) {
    const kernels::KvLayer& layer = cache->layer(i);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(layer.data) % 64, 0u);
    const int64_t bytes = block / config.layers * options.kv_blocks;
    layer.data[0] = std::byte{1};
    layer.data[bytes - 1] = std::byte{2};
    if (i > 0) {
      EXPECT_EQ(cache->layer(i - 1).data + bytes, layer.data);
    }
  }
  EXPECT_EQ(cache->layer(0).data[0], std::byte{1});
}

// Products of float32 weights round no rows: K and V would be all that is rounded to BF16.
TEST(KvCache, DoesNotTakeBf16WhereNothingElseIsRounded) {
  const FakeSource source = fake_source(fake_config("llama"), 1);
  for (const kernels::Isa isa : kernels::supported_isas()) {
    EXPECT_EQ(default_kv_type(source, isa), KvType::kF16);
  }
}

}  // namespace
}  // namespace sluice::model
