// The container: whatever is wrong in it is refused, and the message says what.

#include "formats/gguf_file.h"

#include <gtest/gtest.h>

#include <functional>

#include "formats/gguf_fields.h"
#include "formats/test_files.h"

namespace sluice::formats {
namespace {

using test::as_bytes;
using test::GgufBuilder;
using test::raw;
using test::raw_string;
using test::tiny_gguf;

// Parses a file and returns why it was refused; "" when it was not.
std::string refusal(const std::string& file) {
  const auto parsed = parse_gguf(as_bytes(file));
  return parsed ? "" : parsed.error().message();
}

struct BadFile {
  const char* what;
  const char* expected;  // a part of the message
  std::function<void(GgufBuilder&)> change;
};

void expect_refused(const std::vector<BadFile>& cases) {
  for (const BadFile& c : cases) {
    GgufBuilder b = tiny_gguf();
    c.change(b);
    const std::string message = refusal(b.build());
    EXPECT_NE(message.find(c.expected), std::string::npos) << c.what << ": " << message;
  }
}

TEST(GgufFile, ReadsAWellFormedFile) {
  for (const uint32_t version : {2u, 3u}) {
    GgufBuilder b = tiny_gguf();
    b.version = version;
    const std::string bytes = b.build();
    const auto file = parse_gguf(as_bytes(bytes));
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_EQ(file->version, version);
    EXPECT_EQ(file->tensors.size(), 11u);
    EXPECT_EQ(file->tensors[0].shape, (tensor::Shape{6, 8}));
    EXPECT_EQ(file->tensors[0].bytes.size(), 6u * 8 * 4);
    ASSERT_NE(file->find("llama.block_count"), nullptr);
    EXPECT_EQ(display(*file->find("llama.block_count")), "1");
    EXPECT_EQ(display(*file->find("tokenizer.ggml.tokens")),
              "[6 string] <unk>, <s>, </s>, a, b, c");
  }
}

TEST(GgufFile, RefusesBadHeaders) {
  expect_refused({
      {"magic", "does not begin", [](auto& b) { b.magic = "GGML"; }},
      {"version 0", "found 0", [](auto& b) { b.version = 0; }},
      {"version 1", "found 1", [](auto& b) { b.version = 1; }},
      {"version 9", "found 9", [](auto& b) { b.version = 9; }},
      {"swapped", "big endian", [](auto& b) { b.version = 0x03000000; }},
      {"tensors 2^63", "tensors; at most", [](auto& b) { b.tensor_count = uint64_t{1} << 63; }},
      {"entries 2^63", "entries; at most", [](auto& b) { b.entry_count = uint64_t{1} << 63; }},
      {"more tensors than there are", "empty name", [](auto& b) { b.tensor_count = 12; }},
      {"fewer entries than there are", "element type", [](auto& b) { b.entry_count = 5; }},
      {"no key", "empty key", [](auto& b) { b.set("", 4, raw(1u)); }},
      {"key twice", "twice",
       [](auto& b) { b.entries.push_back({"general.name", 8, raw_string("again")}); }},
  });
  EXPECT_NE(refusal(""), "");
  EXPECT_NE(refusal("GGUF"), "");
}

TEST(GgufFile, RefusesBadValues) {
  const uint64_t huge = uint64_t{1} << 63;
  expect_refused({
      {"unknown type", "type 13", [](auto& b) { b.set("x", 13, ""); }},
      {"huge type", "type 4294967295", [](auto& b) { b.set("x", 0xFFFFFFFF, ""); }},
      {"nested arrays", "arrays of arrays",
       [](auto& b) { b.array("x", 9, 1, raw(4u) + raw(uint64_t{1}) + raw(7u)); }},
      {"unknown element type", "type 77", [](auto& b) { b.array("x", 77, 1, ""); }},
      {"count 2^63", "at most", [=](auto& b) { b.array("x", 4, huge, ""); }},
      {"count times size wraps", "at most", [](auto& b) { b.array("x", 10, huge / 4 + 1, ""); }},
      {"array past the end", "expected", [](auto& b) { b.array("x", 4, 1u << 20, ""); }},
      {"string length 2^63", "length of", [=](auto& b) { b.set("x", 8, raw(huge)); }},
      {"string past the end", "has", [](auto& b) { b.set("x", 8, raw(uint64_t{1} << 20)); }},
      {"boolean of 2", "neither 0 nor 1", [](auto& b) { b.set("x", 7, raw(uint8_t{2})); }},
      {"booleans of 2", "neither 0 nor 1",
       [](auto& b) { b.array("x", 7, 2, std::string("\1\2")); }},
  });
  GgufBuilder b;
  std::string file = b.build().substr(0, 16) + raw(uint64_t{1}) + raw(huge);
  EXPECT_NE(refusal(file).find("length of"), std::string::npos) << "key length 2^63";
}

TEST(GgufFile, RefusesBadAlignment) {
  for (const uint32_t alignment : {0u, 1u, 3u, 4u, 48u, 1u << 31, 0xFFFFFFFFu}) {
    GgufBuilder b = tiny_gguf();
    b.u32("general.alignment", alignment);
    EXPECT_NE(refusal(b.build()).find("power of two"), std::string::npos) << alignment;
  }
  GgufBuilder b = tiny_gguf();
  b.set("general.alignment", 10, raw(uint64_t{32}));
  EXPECT_NE(refusal(b.build()).find("u32"), std::string::npos);
  b.u32("general.alignment", 64);
  b.alignment = 64;
  EXPECT_EQ(refusal(b.build()), "");
}

TEST(GgufFile, RefusesBadTensors) {
  const int64_t big = int64_t{1} << 40;
  expect_refused({
      {"no name", "empty name", [](auto& b) { b.tensors[0].name = ""; }},
      {"long name", "length of", [](auto& b) { b.tensors[0].name = std::string(65, 'x'); }},
      {"twice", "twice", [](auto& b) { b.tensors[1].name = b.tensors[0].name; }},
      {"no dims", "0", [](auto& b) { b.tensors[0].shape = {}; }},
      {"5 dims", "found 5", [](auto& b) { b.tensors[0].shape = {1, 1, 1, 6, 8}; }},
      {"255 dims", "found 255", [](auto& b) { b.tensors[0].shape = tensor::Shape(255, 1); }},
      {"dim 0", "is 0", [](auto& b) { b.tensors[0].shape = {0, 8}; }},
      {"dim negative", "expected 1 to", [](auto& b) { b.tensors[0].shape = {-1, 8}; }},
      {"product overflows", "64 bits", [=](auto& b) { b.tensors[0].shape = {big, big, big}; }},
      {"unknown type", "type 99", [](auto& b) { b.tensors[0].type = 99; }},
      {"known but unread type", "IQ2_XXS", [](auto& b) { b.tensors[0].type = 16; }},
      {"rows that do not divide", "do not divide", [](auto& b) { b.tensors[0].type = 8; }},
      {"misaligned", "multiple of the alignment", [](auto& b) { b.tensors[1].offset = 100; }},
      {"overlapping", "overlap", [](auto& b) { b.tensors[1].offset = 32; }},
      {"past the end", "cut short", [](auto& b) { b.tensors[10].offset = 1 << 20; }},
      {"overflowing", "64 bits", [](auto& b) { b.tensors[10].offset = ~uint64_t{0} - 31; }},
  });
}

TEST(GgufFile, RefusesDataShortByOneByte) {
  GgufBuilder b;
  b.add("x", {8, 8});
  std::string file = b.build();
  EXPECT_EQ(refusal(file), "");
  file.pop_back();
  EXPECT_NE(refusal(file).find("cut short"), std::string::npos);
}

TEST(GgufFile, KeepsForeignTextOutOfMessages) {
  GgufBuilder b = tiny_gguf();
  b.tensors[0].name = "evil\n\x1b[31m";
  b.tensors[0].type = 99;
  const std::string message = refusal(b.build());
  EXPECT_NE(message.find("evil\\x0a\\x1b[31m"), std::string::npos) << message;
}

}  // namespace
}  // namespace sluice::formats
