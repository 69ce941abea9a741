#include "gateway/body_scan.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::gateway {
namespace {

std::string model_of(std::string_view body) {
  const auto fields = scan_body(body);
  return fields ? fields->model.value_or("(none)") : "(" + fields.error().message() + ")";
}

TEST(BodyScan, FindsWhatRoutingNeeds) {
  const std::string body = R"( {"messages":[{"role":"user","content":"a \"b\" {"}],
      "stream" : true, "user":"u1", "n":2, "x":{"model":"inner","a":[[],{},[1,2]]},
      "session_id":"s", "model":"m1"} )";
  const auto fields = scan_body(body);
  ASSERT_TRUE(fields) << fields.error().message();
  EXPECT_EQ(fields->model, "m1");
  EXPECT_TRUE(fields->stream);
  EXPECT_EQ(fields->user, "u1");
  EXPECT_EQ(fields->conversation, "\"s\"");
  EXPECT_TRUE(fields->prompt.of(body).starts_with("[{\"role\""));
  EXPECT_TRUE(fields->prompt.of(body).ends_with("}]"));
}

TEST(BodyScan, NamesAreReadAsTheUpstreamReadsThem) {
  EXPECT_EQ(model_of(R"({"mod\u0065l":"a\u0062\"c"})"), "ab\"c");
  EXPECT_EQ(model_of(R"({"stream":true})"), "(none)");
  EXPECT_EQ(model_of("{}"), "(none)");
  EXPECT_EQ(model_of(" { } "), "(none)");
}

TEST(BodyScan, RefusesWhatCouldBeReadTwoWays) {
  EXPECT_TRUE(model_of(R"({"model":"a","model":"b"})").contains("twice"));
  EXPECT_TRUE(model_of(R"({"model":"a","mod\u0065l":"b"})").contains("twice"));
  EXPECT_TRUE(model_of(R"({"model":1})").contains("string"));
  EXPECT_TRUE(model_of(R"({"model":null})").contains("string"));
  EXPECT_TRUE(model_of("{\"model\":\"\xff\"}").contains("("));
}

TEST(BodyScan, RefusesWhatIsNoJson) {
  for (const char* bad : {"",
                          "[]",
                          "{",
                          "{]",
                          "{\"a\"}",
                          "{\"a\":}",
                          "{\"a\":1,}",
                          "{\"a\":[1,]}",
                          "{\"a\":[}",
                          "{\"a\":{]}",
                          "{\"a\":1}x",
                          "{\"a\":\"",
                          "{\"a\":\"\\",
                          "{a:1}",
                          "{\"a\":1 \"b\":2}",
                          "{\"a\":[1}",
                          "{\"a\":{\"b\":1]}",
                          "\xef\xbb\xbf{}",
                          "{\"a\":\"\n\"}",
                          "nul"}) {
    EXPECT_FALSE(scan_body(bad)) << bad;
  }
}

TEST(BodyScan, IsBounded) {
  EXPECT_FALSE(scan_body("{\"a\":" + std::string(100'000, '[')));
  std::string keys = "{";
  for (int i = 0; i < 600; ++i) keys += "\"k" + std::to_string(i) + "\":1,";
  EXPECT_FALSE(scan_body(keys + "\"z\":1}"));
  EXPECT_FALSE(scan_body("{\"model\":\"" + std::string(2'000, 'm') + "\"}"));
}

TEST(BodyScan, ReplacesTheModelOnly) {
  const std::string body = R"({"a":"model","model" : "old" ,"b":[1, 2]})";
  const auto fields = scan_body(body);
  EXPECT_EQ(with_model(body, *fields, "ne\"w"), R"({"a":"model","model" : "ne\"w" ,"b":[1, 2]})");
  const std::string none = R"({"a":1})";
  EXPECT_EQ(with_model(none, *scan_body(none), "new"), none);
}

}  // namespace
}  // namespace sluice::gateway
