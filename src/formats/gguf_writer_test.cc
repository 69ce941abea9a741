#include "formats/gguf_writer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "formats/model_source.h"
#include "formats/test_files.h"

namespace sluice::formats {
namespace {

using test::as_bytes;

std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

void describe(const GgufFile& file, GgufWriter& writer) {
  for (const GgufEntry& entry : file.entries) writer.add(entry);
  for (const GgufTensor& t : file.tensors) writer.add_tensor(t.name, t.dtype, t.shape);
}

Outcome copy(const GgufFile& file, const std::filesystem::path& path, Existing existing) {
  GgufWriter writer;
  describe(file, writer);
  SLUICE_RETURN_IF_ERROR(writer.open(path, existing));
  for (const GgufTensor& t : file.tensors) {
    // In two pieces: a piece needs no whole tensor.
    SLUICE_RETURN_IF_ERROR(writer.append(t.bytes.first(t.bytes.size() / 2)));
    SLUICE_RETURN_IF_ERROR(writer.append(t.bytes.subspan(t.bytes.size() / 2)));
  }
  return writer.commit();
}

TEST(GgufWriter, ACopyHasTheSameEntriesTensorsAndBytes) {
  const test::TempFolder folder;
  test::GgufBuilder builder = test::tiny_gguf();
  builder.u32("general.alignment", 64);
  builder.alignment = 64;
  builder.array("some.numbers", 5, 3, test::raw(1) + test::raw(-2) + test::raw(3));
  const std::string original = builder.build();
  const GgufFile file = parse_gguf(as_bytes(original)).value();
  const auto path = folder.path() / "out.gguf";
  ASSERT_TRUE(copy(file, path, Existing::kRefuse).has_value());

  const std::string bytes = read_file(path, 1 << 20).value();
  const GgufFile written = parse_gguf(as_bytes(bytes)).value();
  EXPECT_EQ(written.version, 3u);
  EXPECT_EQ(written.entries.size() + 1, file.entries.size());  // all but the alignment
  for (const GgufEntry& entry : written.entries) {
    const GgufValue* value = file.find(entry.key);
    ASSERT_NE(value, nullptr) << entry.key;
    EXPECT_EQ(entry.value.type, value->type) << entry.key;
    EXPECT_EQ(entry.value.array, value->array) << entry.key;
    EXPECT_TRUE(std::ranges::equal(entry.value.bytes, value->bytes)) << entry.key;
  }
  ASSERT_EQ(written.tensors.size(), file.tensors.size());
  for (size_t i = 0; i < file.tensors.size(); ++i) {
    EXPECT_EQ(written.tensors[i].name, file.tensors[i].name);
    EXPECT_EQ(written.tensors[i].shape, file.tensors[i].shape);
    EXPECT_TRUE(std::ranges::equal(written.tensors[i].bytes, file.tensors[i].bytes));
  }
  EXPECT_TRUE(open_model(path).has_value());
}

TEST(GgufWriter, TheSizeIsKnownBeforehand) {
  const test::TempFolder folder;
  const std::string original = test::tiny_gguf().build();
  const GgufFile file = parse_gguf(as_bytes(original)).value();
  GgufWriter writer;
  describe(file, writer);
  writer.add_u32("general.file_type", 7);
  const uint64_t expected = writer.file_bytes();
  const auto path = folder.path() / "out.gguf";
  ASSERT_TRUE(writer.open(path, Existing::kRefuse).has_value());
  for (const GgufTensor& t : file.tensors) ASSERT_TRUE(writer.append(t.bytes).has_value());
  ASSERT_TRUE(writer.commit().has_value());
  EXPECT_EQ(std::filesystem::file_size(path), expected);
}

TEST(GgufWriter, AnExistingFileIsReplacedOnRequestOnly) {
  const test::TempFolder folder;
  const std::string original = test::tiny_gguf().build();
  const GgufFile file = parse_gguf(as_bytes(original)).value();
  const auto path = folder.write("out.gguf", "mine");
  const Outcome refused = copy(file, path, Existing::kRefuse);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kAlreadyExists);
  EXPECT_EQ(read_file(path, 100).value(), "mine");
  ASSERT_TRUE(copy(file, path, Existing::kReplace).has_value());
  EXPECT_EQ(std::filesystem::file_size(path), original.size());
}

TEST(GgufWriter, AFileThatCameMeanwhileIsKept) {
  const test::TempFolder folder;
  const std::string original = test::tiny_gguf().build();
  const GgufFile file = parse_gguf(as_bytes(original)).value();
  GgufWriter writer;
  describe(file, writer);
  const auto path = folder.path() / "out.gguf";
  ASSERT_TRUE(writer.open(path, Existing::kRefuse).has_value());
  for (const GgufTensor& t : file.tensors) ASSERT_TRUE(writer.append(t.bytes).has_value());
  folder.write("out.gguf", "mine");
  const Outcome done = writer.commit();
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Code::kAlreadyExists);
  EXPECT_EQ(read_file(path, 100).value(), "mine");
}

TEST(GgufWriter, WhatIsNotCommittedLeavesNothing) {
  const test::TempFolder folder;
  const std::string original = test::tiny_gguf().build();
  const GgufFile file = parse_gguf(as_bytes(original)).value();
  {
    GgufWriter writer;
    describe(file, writer);
    ASSERT_TRUE(writer.open(folder.path() / "out.gguf", Existing::kRefuse).has_value());
    ASSERT_TRUE(writer.append(file.tensors[0].bytes).has_value());
    EXPECT_EQ(files_in(folder.path()).size(), 1u);
  }
  EXPECT_TRUE(files_in(folder.path()).empty());
}

TEST(GgufWriter, AFolderThatIsNotThereIsNamed) {
  const test::TempFolder folder;
  GgufWriter writer;
  const Outcome opened = writer.open(folder.path() / "none" / "out.gguf", Existing::kRefuse);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Code::kNotFound);
  EXPECT_NE(opened.error().message().find("none"), std::string::npos);
}

}  // namespace
}  // namespace sluice::formats
