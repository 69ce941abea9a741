#include "registry/hub.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "registry/pull.h"
#include "registry/test_support.h"

namespace sluice::registry {
namespace {

using testing::Page;

const std::string kCommit(40, 'c');
const std::string kGguf = "GGUF" + std::string(500, 'w');
const std::string kWeights(300, 's');

std::string entry(const std::string& path, const std::string& bytes, bool lfs) {
  const std::string pointer =
      lfs ? fmt::format(R"(,"lfs":{{"oid":"{}","size":{},"pointerSize":134}})",
                        sha256_text(bytes).substr(7), bytes.size())
          : "";
  return fmt::format(R"({{"type":"file","oid":"00","size":{},"path":"{}"{}}})", bytes.size(), path,
                     pointer);
}

class Hub : public ::testing::Test {
 protected:
  Hub() {
    options_.plain_http = PlainHttp::kAllowed;
    options_.hub.endpoint = web_.url("/");
    options_.hub.token = "hub-token";
    options_.pause = [](int) {};
    web_.remote->set("/api/models/o/m/revision/main", {.body = R"({"sha":")" + kCommit + "\"}"});
    list({entry("README.md", "read", false), entry("config.json", "{}", false),
          entry("model.safetensors", kWeights, true), entry("pytorch_model.bin", "pickle", true),
          entry("q8.gguf", kGguf, true)});
    web_.remote->set(resolved("config.json"), {.body = "{}"});
    web_.remote->set(resolved("model.safetensors"), {.body = kWeights});
    web_.remote->set(resolved("q8.gguf"), {.body = kGguf});
  }

  static std::string tree() { return "/api/models/o/m/tree/" + kCommit; }
  static std::string resolved(const std::string& path) {
    return "/o/m/resolve/" + kCommit + "/" + path;
  }
  void list(const std::vector<std::string>& entries) {
    web_.remote->set(tree(), {.body = fmt::format("[{}]", fmt::join(entries, ","))});
  }

  Result<PullResult> pull_from(const std::string& source) { return pull(cache_, source, options_); }
  std::string refusal(const std::string& source) {
    const auto result = pull_from(source);
    EXPECT_TRUE(cache_.list().empty());
    return result ? "" : result.error().message();
  }

  testing::TempFolder folder_;
  testing::RemoteServer web_;
  ModelCache cache_{folder_.path()};
  PullOptions options_;
};

TEST_F(Hub, AModelWithoutItsPickles) {
  const auto result = pull_from("hf://o/m");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->manifest.name, "o/m");
  EXPECT_EQ(result->manifest.revision, kCommit);
  EXPECT_EQ(result->manifest.files.size(), 2u);
  EXPECT_EQ(testing::read(result->path / "model.safetensors"), kWeights);
  EXPECT_EQ(cache_.resolve("o/m").value_or(""), result->path);
  for (const net::HttpRequest& request : web_.remote->seen()) {
    EXPECT_EQ(request.header("authorization"), "Bearer hub-token") << request.target;
    EXPECT_EQ(request.target.find(".bin"), std::string::npos);
  }
}

TEST_F(Hub, OneFileOfARevision) {
  const std::string commit(40, 'd');
  web_.remote->set("/api/models/o/m/revision/v1.0", {.body = R"({"sha":")" + commit + "\"}"});
  web_.remote->set("/api/models/o/m/tree/" + commit + "/sub",
                   {.body = "[" + entry("sub/q 8.gguf", kGguf, true) + "]"});
  web_.remote->set("/o/m/resolve/" + commit + "/sub/q%208.gguf", {.body = kGguf});
  options_.name = "q8";
  const auto result = pull_from("hf://o/m:v1.0/sub/q 8.gguf");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(testing::read(result->path), kGguf);
  EXPECT_EQ(result->manifest.source, "hf://o/m:v1.0/sub/q 8.gguf");
  EXPECT_EQ(result->manifest.revision, commit);
}

TEST_F(Hub, TheTokenDoesNotTravelToTheStore) {
  testing::RemoteServer store;
  store.remote->set("/blob", {.body = kGguf});
  web_.remote->set(resolved("q8.gguf"),
                   {.status = 302, .headers = {{"Location", store.url("/blob")}}});
  const auto result = pull_from("hf://o/m/q8.gguf");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(store.remote->seen("/blob", "authorization"), std::vector<std::string>{""});
}

TEST_F(Hub, ListingsOfSeveralPages) {
  const std::string next = tree() + "?cursor=x";
  web_.remote->set(tree(), {.body = "[" + entry("config.json", "{}", false) + "]",
                            .headers = {{"Link", "<" + web_.url(next) + ">; rel=\"next\""}}});
  web_.remote->set(next, {.body = "[" + entry("model.safetensors", kWeights, true) + "]"});
  const auto result = pull_from("hf://o/m");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->manifest.files.size(), 2u);
}

TEST_F(Hub, AListingThatGoesOnElsewhereOrForeverIsRefused) {
  testing::RemoteServer other;
  web_.remote->set(
      tree(), {.body = "[]", .headers = {{"Link", "<" + other.url("/x") + ">; rel=\"next\""}}});
  EXPECT_NE(refusal("hf://o/m").find("another host"), std::string::npos);
  EXPECT_TRUE(other.remote->seen().empty());
  web_.remote->set(
      tree(), {.body = "[]", .headers = {{"Link", "<" + web_.url(tree()) + ">; rel=\"next\""}}});
  EXPECT_NE(refusal("hf://o/m").find("more than"), std::string::npos);
}

TEST_F(Hub, BytesThatAreNotTheListedOnesAreRefused) {
  std::string forged = kGguf;
  forged.back() = 'x';
  web_.remote->set(resolved("q8.gguf"), {.body = forged});
  const std::string message = refusal("hf://o/m/q8.gguf");
  EXPECT_NE(message.find(sha256_text(kGguf) + " expected"), std::string::npos) << message;
  EXPECT_NE(message.find(sha256_text(forged) + " found"), std::string::npos) << message;
  web_.remote->set(resolved("q8.gguf"), {.body = kGguf + "more"});
  EXPECT_NE(refusal("hf://o/m/q8.gguf").find("at most 504"), std::string::npos);
  web_.remote->set(resolved("q8.gguf"), {.body = kGguf.substr(0, 100)});
  EXPECT_NE(refusal("hf://o/m/q8.gguf").find("504 expected, 100 found"), std::string::npos);
  options_.checksum = sha256_text("other");
  EXPECT_NE(refusal("hf://o/m/q8.gguf").find("the hub lists"), std::string::npos);
}

// Item 59: names that the hub's answer brings along.
TEST_F(Hub, NamesThatLeadElsewhereAreRefused) {
  for (const char* path :
       {"../model.safetensors", "/etc/model.safetensors", "a/../../model.safetensors",
        "..%2fmodel.safetensors", "%2e%2e%2fmodel.safetensors", "a\\\\model.safetensors",
        "..\\u0000.safetensors", "sub/model.safetensors", ".safetensors"}) {
    list({entry("config.json", "{}", false), entry(path, kWeights, true)});
    EXPECT_NE(refusal("hf://o/m"), "") << path;
  }
  list({entry("config.json", "{}", false), entry("config.json", "{}", false),
        entry("m.safetensors", kWeights, true), entry("m.safetensors", kWeights, true)});
  EXPECT_NE(refusal("hf://o/m").find("twice"), std::string::npos);
}

TEST_F(Hub, ListedSizesThatCannotBeAreRefusedBeforeAnyFetch) {
  list({R"({"type":"file","path":"a.gguf","size":9223372036854775807})"});
  EXPECT_NE(refusal("hf://o/m/a.gguf").find("at most"), std::string::npos);
  list({R"({"type":"file","path":"a.gguf","size":-1})"});
  EXPECT_NE(refusal("hf://o/m/a.gguf").find("a size is expected"), std::string::npos);
  std::vector<std::string> shards;
  for (int i = 1; i <= 1000; ++i) {
    shards.push_back(
        fmt::format(R"({{"type":"file","path":"a-{:05}-of-01000.gguf","size":1099511627776}})", i));
  }
  list(shards);
  EXPECT_NE(refusal("hf://o/m").find("disk is too full"), std::string::npos);
}

TEST_F(Hub, RefusalsSayWhatToDo) {
  EXPECT_NE(refusal("hf://o/none").find("check owner, model and revision"), std::string::npos);
  web_.remote->set("/api/models/o/gated/revision/main", {.body = "{}", .status = 401});
  EXPECT_NE(refusal("hf://o/gated").find("HF_TOKEN"), std::string::npos);
  web_.remote->set(resolved("q8.gguf"), {.body = "no", .status = 403});
  EXPECT_NE(refusal("hf://o/m/q8.gguf").find("HF_TOKEN"), std::string::npos);
  EXPECT_NE(refusal("hf://o/m/none.gguf").find("it holds q8.gguf"), std::string::npos);
}

TEST_F(Hub, AnswersThatAreNoListingAreRefused) {
  for (const char* body : {"", "<html>", "[]", "{}", R"({"sha":1})", R"({"sha":"../main"})"}) {
    web_.remote->set("/api/models/o/m/revision/main", {.body = body});
    EXPECT_NE(refusal("hf://o/m"), "") << body;
  }
  for (const char* body : {"", "{}", "[1]", "[[]]", "null"}) {
    EXPECT_FALSE(parse_hub_tree(body, "")) << body;
  }
  EXPECT_FALSE(parse_hub_tree(R"([{"type":"file","path":"a","size":1,"lfs":{}}])", ""));
  EXPECT_FALSE(
      parse_hub_tree(R"([{"type":"file","path":"a","size":1,"lfs":{"oid":"xy","size":1}}])", ""));
  EXPECT_TRUE(parse_hub_tree(R"([{"type":"directory","path":"a"}])", "").value().empty());
}

TEST_F(Hub, EndpointsAreChecked) {
  for (const char* endpoint : {"", "ftp://h", "https://user@h", "http://", "https://h/?a=b"}) {
    options_.hub.endpoint = endpoint;
    EXPECT_NE(refusal("hf://o/m").find("HF_ENDPOINT"), std::string::npos) << endpoint;
  }
  options_.hub.endpoint = web_.url();
  options_.plain_http = PlainHttp::kRefused;
  EXPECT_NE(refusal("hf://o/m").find("--allow-http"), std::string::npos);
  options_.plain_http = PlainHttp::kAllowed;
  options_.hub.token = "two\r\nlines";
  EXPECT_NE(refusal("hf://o/m"), "");
  EXPECT_TRUE(web_.remote->seen().empty());
}

TEST(NextPage, OfALinkField) {
  EXPECT_EQ(next_page(R"(<https://h/a?b>; rel="next")"), "https://h/a?b");
  EXPECT_EQ(next_page(R"(<x>; rel="prev", <y>; rel="next")"), "y");
  EXPECT_EQ(next_page(R"(x>; rel="next")"), "");
  EXPECT_EQ(next_page(""), "");
}

// Bytes that came with one token are not another one's, though the listing may be.
TEST_F(Hub, WhoMayReadIsAskedAlsoOfFilesThatAreHere) {
  options_.prove_access = true;
  const std::string source = "hf://o/m/q8.gguf";
  ASSERT_TRUE(pull_from(source));
  options_.name = "other";
  options_.hub.token = "another-token";
  const auto allowed = pull_from(source);
  ASSERT_TRUE(allowed) << allowed.error().message();
  EXPECT_EQ(allowed->fetched_bytes, 0u) << "one byte is asked for, the rest is here";
  EXPECT_EQ(web_.remote->seen(resolved("q8.gguf"), "range").back(), "bytes=0-0");
  EXPECT_EQ(web_.remote->seen(resolved("q8.gguf"), "authorization").back(), "Bearer another-token");
  options_.name = "third";
  for (const int status : {401, 403, 404}) {
    web_.remote->set(resolved("q8.gguf"), {.body = "no", .status = status});
    const auto refused = pull_from(source);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kPermissionDenied) << refused.error().message();
    EXPECT_NE(refused.error().message().find(fmt::format("answered {}", status)),
              std::string::npos);
  }
  EXPECT_FALSE(cache_.resolve("third"));
  options_.prove_access = false;
  EXPECT_TRUE(pull_from(source)) << "who runs the machine has the bytes anyway";
}

}  // namespace
}  // namespace sluice::registry
