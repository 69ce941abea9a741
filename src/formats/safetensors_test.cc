#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <vector>

#include "formats/test_files.h"

namespace sluice::formats {
namespace {

using test::as_bytes;
using test::raw;

std::string file_of(const std::string& header, size_t data_bytes) {
  return raw<uint64_t>(header.size()) + header + std::string(data_bytes, '\1');
}

std::string refusal(const std::string& file) {
  const std::vector<std::byte> copy(as_bytes(file).begin(), as_bytes(file).end());
  const auto parsed = parse_safetensors(copy);
  return parsed ? "" : parsed.error().message();
}

// {"a": F32 [2, 3], "b": BF16 [4]} padded so that data begins at a multiple of 8.
const std::string kHeader = R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                            R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},)"
                            R"("__metadata__":{"format":"pt"}}        )";

TEST(Safetensors, ReadsAWellFormedFile) {
  ASSERT_EQ(kHeader.size() % 8, 0u);
  const std::string bytes = file_of(kHeader, 32);
  const auto file = parse_safetensors(as_bytes(bytes));
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_EQ(file->tensors.size(), 2u);
  EXPECT_EQ(file->tensors[0].name, "a");
  EXPECT_EQ(file->tensors[0].view.shape, (tensor::Shape{2, 3}));
  EXPECT_EQ(file->tensors[1].view.dtype, tensor::DType::kBF16);
  EXPECT_EQ(file->tensors[1].view.bytes.size(), 8u);
  ASSERT_EQ(file->metadata.size(), 1u);
  EXPECT_EQ(file->metadata[0].second, "pt");
}

TEST(Safetensors, RefusesBadHeaders) {
  EXPECT_NE(refusal(raw<uint64_t>(0)).find("length"), std::string::npos);
  EXPECT_NE(refusal(raw<uint64_t>(100'000'001) + "{}").find("length"), std::string::npos);
  EXPECT_NE(refusal(raw<uint64_t>(50) + "{}").find("length"), std::string::npos);
  EXPECT_NE(refusal(raw<uint64_t>(~uint64_t{0}) + "{}").find("length"), std::string::npos);
  EXPECT_NE(refusal("short"), "");
  EXPECT_NE(refusal(file_of("{\"a\xff\":1}", 0)).find("JSON"), std::string::npos);
  EXPECT_NE(refusal(file_of("{\"a\":", 0)).find("JSON"), std::string::npos);
  EXPECT_NE(refusal(file_of("[]", 0)).find("object"), std::string::npos);
  EXPECT_NE(refusal(file_of(" {}", 0)).find("object"), std::string::npos);
  EXPECT_NE(refusal(file_of(std::string(5000, '['), 0)).find("deep"), std::string::npos);
  EXPECT_EQ(refusal(file_of("{}", 0)), "");
}

struct BadEntry {
  const char* what;
  const char* json;
  const char* expected;
};

TEST(Safetensors, RefusesBadEntries) {
  const BadEntry cases[] = {
      {"no object", R"({"a":1})", "object"},
      {"no dtype", R"({"a":{"shape":[8],"data_offsets":[0,32]}})", "dtype"},
      {"unknown dtype", R"({"a":{"dtype":"F8_E4M3","shape":[32],"data_offsets":[0,32]}})",
       "F8_E4M3"},
      {"no shape", R"({"a":{"dtype":"F32","data_offsets":[0,32]}})", "shape"},
      {"empty shape", R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", "dimensions"},
      {"dim 0", R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", "at least 1"},
      {"dim negative", R"({"a":{"dtype":"F32","shape":[-8],"data_offsets":[0,32]}})", "at least 1"},
      {"dim fraction", R"({"a":{"dtype":"F32","shape":[8.5],"data_offsets":[0,32]}})",
       "at least 1"},
      {"product overflows",
       R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,32]}})", "64 bits"},
      {"no offsets", R"({"a":{"dtype":"F32","shape":[8]}})", "data_offsets"},
      {"one offset", R"({"a":{"dtype":"F32","shape":[8],"data_offsets":[0]}})", "data_offsets"},
      {"begin after end", R"({"a":{"dtype":"F32","shape":[8],"data_offsets":[32,0]}})", "begin"},
      {"past the end", R"({"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}})", "cut short"},
      {"2^64", R"({"a":{"dtype":"F32","shape":[8],"data_offsets":[0,18446744073709551616]}})",
       "integers"},
      {"wrong size", R"({"a":{"dtype":"F32","shape":[7],"data_offsets":[0,32]}})", "take 28 bytes"},
      {"trailing data", R"({"a":{"dtype":"F32","shape":[7],"data_offsets":[0,28]}})",
       "belongs to none"},
      {"gap", R"({"a":{"dtype":"F32","shape":[7],"data_offsets":[4,32]}})", "gap"},
      {"overlap",
       R"({"a":{"dtype":"F32","shape":[5],"data_offsets":[0,20]},)"
       R"("b":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})",
       "overlaps"},
      {"twice",
       R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
       R"("a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})",
       "twice"},
      {"metadata no object", R"({"__metadata__":[]})", "__metadata__"},
      {"metadata of numbers", R"({"__metadata__":{"a":1}})", "strings"},
  };
  for (const BadEntry& c : cases) {
    std::string header = c.json;
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const std::string message = refusal(file_of(header, 32));
    EXPECT_NE(message.find(c.expected), std::string::npos) << c.what << ": " << message;
  }
}

TEST(Safetensors, RefusesMisalignedData) {
  std::string header = kHeader;
  header.pop_back();
  EXPECT_NE(refusal(file_of(header, 32)).find("multiple of its element's"), std::string::npos);
}

TEST(Safetensors, SurvivesTruncationAndBitFlips) {
  std::string whole = file_of(kHeader, 32);
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(refusal(whole.substr(0, length)), "") << length;
  }
  size_t refused = 0;
  const size_t header_end = 8 + kHeader.size();
  for (size_t i = 0; i < header_end; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      whole[i] = static_cast<char>(whole[i] ^ (1 << bit));
      refused += refusal(whole).empty() ? 0 : 1;
      whole[i] = static_cast<char>(whole[i] ^ (1 << bit));
    }
  }
  EXPECT_GT(refused, header_end * 4);
}

}  // namespace
}  // namespace sluice::formats
