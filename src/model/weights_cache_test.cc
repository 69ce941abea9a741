#include "model/weights_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <string>

#include "base/files.h"
#include "base/ids.h"
#include "formats/model_source.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace sluice::model {
namespace {

namespace fs = std::filesystem;

const char* const kStory = SLUICE_SOURCE_DIR "/models/story.gguf";

// One start of a process: the model's file, its cache and the model.
struct Start {
  std::unique_ptr<formats::ModelSource> source;
  std::unique_ptr<WeightsCache> cache;
  std::unique_ptr<Model> model;
};

class WeightsCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!repacks(kernels::best_isa())) GTEST_SKIP() << "this processor's kernels repack nothing";
    folder_ = fs::temp_directory_path() / new_id("sluice-weights-");
    fs::create_directory(folder_);
    model_ = folder_ / "story.gguf";
    fs::copy_file(kStory, model_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Start start(kernels::Isa isa = kernels::best_isa()) {
    Start s;
    auto source = formats::open_model(model_);
    EXPECT_TRUE(source) << source.error().message();
    s.source = *std::move(source);
    s.cache = WeightsCache::open(*s.source, isa, cache_folder(), "story", team_);
    auto model = load_model(*s.source, {.isa = isa, .kv_blocks = 4, .max_batch_rows = 64}, team_,
                            s.cache.get());
    EXPECT_TRUE(model) << model.error().message();
    s.model = *std::move(model);
    return s;
  }
  void write(const Start& s) {
    const Outcome written = s.cache->write(s.source->weights_digest(), {});
    ASSERT_TRUE(written) << written.error().message();
  }
  // The cache's file after a first start that wrote it.
  fs::path written() {
    const Start first = start();
    EXPECT_FALSE(first.cache->is_complete());
    write(first);
    return first.cache->path();
  }
  std::vector<float> logits(Model& model) {
    std::vector<int32_t> tokens(40);
    std::iota(tokens.begin(), tokens.end(), 5);
    const std::vector<int32_t> blocks = {0, 1, 2, 3};
    Batch batch;
    batch.tokens = tokens;
    batch.slices = {{.first_row = 0, .rows = 40, .first_position = 0, .blocks = blocks}};
    batch.output_rows = {0, 39};
    std::vector<float> out(2 * static_cast<size_t>(model.config().vocab));
    model.forward(batch, out);
    return out;
  }
  fs::path cache_folder() const { return folder_ / "cache"; }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(cache_folder()), fs::directory_iterator()));
  }
  static bool repacks(kernels::Isa isa) {
    return kernels::repacked_bytes(tensor::DType::kQ8_0, 32, 64, isa) > 0;
  }
  static void flip(const fs::path& path, uint64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 1));
  }

  ThreadTeam team_{2};
  fs::path folder_;
  fs::path model_;
};

TEST_F(WeightsCacheTest, ASecondStartMapsWhatTheFirstRepacked) {
  for (const kernels::Isa isa : kernels::supported_isas()) {
    SCOPED_TRACE(kernels::isa_name(isa));
    const Start first = start(isa);
    const std::vector<float> expected = logits(*first.model);
    if (!repacks(isa)) {
      EXPECT_TRUE(first.cache->is_complete()) << "there is nothing to keep";
      continue;
    }
    // Instruction sets with one layout share a file.
    if (!first.cache->is_complete()) write(first);
    const Start second = start(isa);
    EXPECT_TRUE(second.cache->is_complete());
    EXPECT_EQ(second.cache->digest(), first.source->weights_digest());
    const std::vector<float> found = logits(*second.model);
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)), 0);
  }
}

TEST_F(WeightsCacheTest, NothingIsTakenBeforeAFirstStartWasWritten) {
  const Start first = start();
  EXPECT_FALSE(first.cache->digest());
  for (const auto& [name, view] : first.source->tensors()) {
    EXPECT_TRUE(first.cache->find(name, view).empty());
  }
  EXPECT_FALSE(fs::exists(cache_folder()));
}

TEST_F(WeightsCacheTest, OtherWeightsAreNotTakenForTheseOnes) {
  const fs::path path = written();
  // The last byte of a matrix: the name of the cache's file does not change with it.
  uint64_t offset = 0;
  {
    const Start s = start();
    const auto& view = s.source->tensors().at("blk.0.ffn_up.weight");
    const std::string bytes = *read_file(model_, size_t{1} << 30);
    const std::string_view tensor(reinterpret_cast<const char*>(view.bytes.data()),
                                  view.bytes.size());
    offset = bytes.find(tensor) + tensor.size() - 1;
  }
  flip(model_, offset);
  const Start changed = start();
  EXPECT_EQ(changed.cache->path(), path);
  EXPECT_FALSE(changed.cache->digest());
  EXPECT_FALSE(changed.cache->is_complete());
  write(changed);
  EXPECT_TRUE(start().cache->is_complete());
  // And back again.
  flip(model_, offset);
  EXPECT_FALSE(start().cache->is_complete());
}

TEST_F(WeightsCacheTest, ACopyOfTheModelIsKnownByItsDigest) {
  written();
  fs::copy_file(model_, folder_ / "copy.gguf");
  fs::rename(folder_ / "copy.gguf", model_);
  const Start copy = start();
  EXPECT_TRUE(copy.cache->is_complete());
}

TEST_F(WeightsCacheTest, DamageAnywhereIsFoundAndMended) {
  const fs::path path = written();
  const std::string whole = *read_file(path, size_t{1} << 30);
  const auto head = *parse_weights_cache(std::as_bytes(std::span(whole)));
  const CachedMatrix& last = *std::ranges::max_element(head.matrices, {}, &CachedMatrix::offset);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{8}, uint64_t{20}, uint64_t{40}, uint64_t{60},
                                head.matrices[0].offset, last.offset + last.bytes - 1}) {
    SCOPED_TRACE(offset);
    flip(path, offset);
    const Start s = start();
    EXPECT_FALSE(s.cache->digest());
    ASSERT_FALSE(s.cache->is_complete());
    write(s);
    EXPECT_TRUE(start().cache->is_complete());
  }
  for (const uint64_t size : {uint64_t{0}, uint64_t{55}, uint64_t{100}, whole.size() - 64}) {
    SCOPED_TRACE(size);
    ASSERT_TRUE(write_file_atomically(path, std::string_view(whole).substr(0, size)));
    EXPECT_FALSE(start().cache->is_complete());
  }
  fs::remove(path);
  fs::create_directory(path);
  EXPECT_FALSE(start().cache->is_complete()) << "a folder is no file";
}

// A file of one model in the place of another's.
TEST_F(WeightsCacheTest, AFileOfAnotherLayoutIsNotUsed) {
  const fs::path path = written();
  std::string bytes = *read_file(path, size_t{1} << 30);
  WeightsCacheHead head = *parse_weights_cache(std::as_bytes(std::span(bytes)));
  head.layout ^= 1;
  const std::string changed = format_weights_cache_head(head);
  std::ranges::copy(changed, bytes.begin());
  ASSERT_TRUE(write_file_atomically(path, bytes));
  EXPECT_FALSE(start().cache->is_complete());
}

TEST_F(WeightsCacheTest, WritingThatFailsLeavesTheModelAndNoFile) {
  std::ofstream(cache_folder()) << "in the way";
  const Start blocked = start();
  EXPECT_FALSE(blocked.cache->write(1, {}));
  EXPECT_FALSE(logits(*blocked.model).empty());
  fs::remove(cache_folder());
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(blocked.cache->write(1, stop.get_token()).error().code(), Code::kCancelled);
  EXPECT_FALSE(fs::exists(blocked.cache->path()));
  write(blocked);
  EXPECT_EQ(files(), 1u);
}

// What the first start repacked is private memory; of the second none is.
TEST_F(WeightsCacheTest, MappedWeightsTakeNoMemoryOfTheirOwn) {
  written();
  const Start second = start();
  const auto& view = second.source->tensors().at("blk.0.ffn_up.weight");
  const std::span<const std::byte> kept = second.cache->find("blk.0.ffn_up.weight", view);
  ASSERT_FALSE(kept.empty());
  std::ifstream maps("/proc/self/maps");
  const auto address = reinterpret_cast<uintptr_t>(kept.data());
  std::string line;
  bool found = false;
  while (std::getline(maps, line)) {
    const auto begin = std::stoull(line, nullptr, 16);
    const auto end = std::stoull(line.substr(line.find('-') + 1), nullptr, 16);
    if (address < begin || address >= end) continue;
    found = true;
    EXPECT_NE(line.find("r--s"), std::string::npos) << line;
    EXPECT_TRUE(line.ends_with(second.cache->path().string())) << line;
  }
  EXPECT_TRUE(found);
}

std::string head_with(const std::function<void(WeightsCacheHead&)>& change) {
  WeightsCacheHead head{.layout = 1,
                        .digest = 2,
                        .stamp = 3,
                        .file_bytes = 320,
                        .matrices = {{1, 128, 64, 0}, {2, 192, 100, 0}}};
  change(head);
  std::string file = format_weights_cache_head(head);
  file.resize(std::max<size_t>(file.size(), 320));
  return file;
}

TEST(WeightsCacheFile, EveryMatrixLiesInside) {
  const auto parse = [](const auto& change) {
    const std::string file = head_with(change);
    return parse_weights_cache(std::as_bytes(std::span(file)));
  };
  const auto whole = parse([](auto&) {});
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_EQ(whole->matrices.size(), 2u);
  EXPECT_EQ(whole->digest, 2u);
  EXPECT_FALSE(parse([](auto& h) { h.file_bytes = 319; }));
  EXPECT_FALSE(parse([](auto& h) { h.matrices[0].offset = 0; })) << "inside the head";
  EXPECT_FALSE(parse([](auto& h) { h.matrices[0].offset = 129; })) << "not aligned";
  EXPECT_FALSE(parse([](auto& h) { h.matrices[1].offset = 256; })) << "beyond the end";
  EXPECT_FALSE(parse([](auto& h) { h.matrices[1].offset = ~uint64_t{63}; })) << "it wraps";
  EXPECT_FALSE(parse([](auto& h) { h.matrices[1].bytes = ~uint64_t{0}; })) << "it wraps";
  EXPECT_FALSE(parse([](auto& h) { h.matrices[1].bytes = 0; }));
  EXPECT_FALSE(parse([](auto& h) { h.matrices[1].key = 1; })) << "one key twice";
  std::string many = head_with([](auto&) {});
  const uint32_t count = 0xFFFFFFFFu;
  std::memcpy(many.data() + 20, &count, sizeof count);
  EXPECT_FALSE(parse_weights_cache(std::as_bytes(std::span(many))));
  EXPECT_FALSE(parse_weights_cache({}));
}

}  // namespace
}  // namespace sluice::model
