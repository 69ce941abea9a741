#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tensor/checked.h"
#include "tensor/dtype.h"
#include "tensor/mapped_file.h"
#include "tensor/view.h"

namespace sluice::tensor {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "sluice_tensor_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(DType, KnowsEveryBlockLayout) {
  struct Row {
    uint32_t id;
    const char* name;
    int64_t elements, bytes;
  };
  // Bits per weight as published for each format: 8.5, 4.5, 5, 5.5, 6, 2.625, 3.4375, …
  const Row rows[] = {{0, "F32", 1, 4},       {1, "F16", 1, 2},       {30, "BF16", 1, 2},
                      {8, "Q8_0", 32, 34},    {2, "Q4_0", 32, 18},    {3, "Q4_1", 32, 20},
                      {6, "Q5_0", 32, 22},    {7, "Q5_1", 32, 24},    {10, "Q2_K", 256, 84},
                      {11, "Q3_K", 256, 110}, {12, "Q4_K", 256, 144}, {13, "Q5_K", 256, 176},
                      {14, "Q6_K", 256, 210}, {20, "IQ4_NL", 32, 18}, {23, "IQ4_XS", 256, 136}};
  for (const Row& row : rows) {
    const auto dtype = dtype_from_gguf(row.id);
    ASSERT_TRUE(dtype) << row.name;
    const DTypeInfo& info = dtype_info(*dtype);
    EXPECT_EQ(info.name, row.name);
    EXPECT_EQ(info.block_elements, row.elements) << row.name;
    EXPECT_EQ(info.block_bytes, row.bytes) << row.name;
  }
}

TEST(DType, RefusesUnknownTypesByNameAndNamesTheKnown) {
  for (const uint32_t id : {4u, 5u, 9u, 15u, 16u, 24u, 31u, 40u, 0xFFFFFFFFu}) {
    EXPECT_FALSE(dtype_from_gguf(id)) << id;
  }
  const auto refused = dtype_from_gguf(16);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnimplemented);
  EXPECT_NE(refused.error().message().find("IQ2_XXS"), std::string::npos);
  EXPECT_NE(refused.error().message().find("IQ4_XS"), std::string::npos);
}

TEST(DType, StoredBytesAreChecked) {
  EXPECT_EQ(stored_bytes(DType::kQ4_K, {3, 512}).value(), 3u * 2 * 144);
  EXPECT_EQ(stored_bytes(DType::kF16, {2, 3, 5}).value(), 60u);
  EXPECT_FALSE(stored_bytes(DType::kF32, {}));
  EXPECT_FALSE(stored_bytes(DType::kF32, {0}));
  EXPECT_FALSE(stored_bytes(DType::kF32, {4, -1}));
  EXPECT_FALSE(stored_bytes(DType::kQ8_0, {4, 33}));
  EXPECT_FALSE(stored_bytes(DType::kF32, {int64_t{1} << 32, int64_t{1} << 32}));
  EXPECT_FALSE(stored_bytes(DType::kF32, {int64_t{1} << 61, 1}));
}

TEST(View, RowsAndBytes) {
  const TensorView view{DType::kQ8_0, {2, 3, 64}, {}};
  EXPECT_EQ(view.elements(), 384);
  EXPECT_EQ(view.rows(), 6);
  EXPECT_EQ(view.cols(), 64);
  EXPECT_EQ(view.row_bytes(), 68);
}

TEST(Checked, RefusesToWrap) {
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_add(UINT64_MAX - 1, 1), UINT64_MAX);
  EXPECT_EQ(checked_mul(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(checked_align(33, 32), 64u);
  EXPECT_EQ(checked_align(64, 32), 64u);
  EXPECT_EQ(checked_align(UINT64_MAX, 32), std::nullopt);
}

TEST(MappedFile, MapsRegularFiles) {
  const Folder folder;
  std::ofstream(folder.path() / "a") << "some bytes";
  std::ofstream(folder.path() / "empty");
  auto file = MappedFile::open(folder.path() / "a");
  ASSERT_TRUE(file);
  const MappedFile moved = std::move(*file);
  ASSERT_EQ(moved.bytes().size(), 10u);
  EXPECT_EQ(moved.bytes()[0], std::byte{'s'});
  const auto empty = MappedFile::open(folder.path() / "empty");
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->bytes().empty());
}

TEST(MappedFile, ReleasedPartsReadAsBefore) {
  const Folder folder;
  std::string text(40'000, 'a');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  std::ofstream(folder.path() / "a") << text;
  const auto file = MappedFile::open(folder.path() / "a");
  ASSERT_TRUE(file);
  const std::span<const std::byte> bytes = file->bytes();
  for (const auto& [begin, size] :
       {std::pair<size_t, size_t>{0, 40'000}, {5'000, 20'001}, {7, 9}}) {
    file->release(bytes.subspan(begin, size));
    EXPECT_EQ(std::memcmp(bytes.data(), text.data(), text.size()), 0);
  }
  // Memory that is not the file's would lose what it holds.
  const std::vector<std::byte> own(40'000, std::byte{7});
  file->release(own);
  EXPECT_EQ(std::ranges::count(own, std::byte{7}), 40'000);
}

TEST(MappedFile, TheStampTellsChangedFilesApart) {
  const Folder folder;
  const fs::path path = folder.path() / "a";
  const auto stamp = [&] { return MappedFile::open(path)->stamp(); };
  std::ofstream(path) << "some bytes";
  const FileStamp before = stamp();
  EXPECT_EQ(stamp(), before);
  std::ofstream(path) << "some more bytes";
  EXPECT_NE(stamp(), before) << "another size";
  // A new file of the same size and time, as a copy that keeps times makes it.
  std::ofstream(folder.path() / "b") << "some bytes";
  fs::last_write_time(folder.path() / "b", fs::last_write_time(path));
  const FileStamp changed = stamp();
  fs::rename(folder.path() / "b", path);
  EXPECT_NE(stamp(), changed);
  EXPECT_NE(stamp(), before);
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder.path() / "fifo").c_str(), 0600), 0);
  EXPECT_FALSE(MappedFile::open(folder.path()));
  EXPECT_FALSE(MappedFile::open(folder.path() / "fifo"));
  const auto missing = MappedFile::open(folder.path() / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace sluice::tensor
