// What the routes of the further protocols do with a backend's answers and failures.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/json.h"
#include "endpoint/endpoints.h"
#include "net/client.h"

namespace sluice::endpoint {
namespace {

using completion::Delta;

// Answers each prompt with "a" and "b", or as it is told.
class ScriptedBackend : public completion::Backend {
 public:
  std::vector<completion::ModelCard> models() const override { return {card()}; }
  Result<completion::ModelCard> find_model(const std::string& name) const override {
    if (name == "m" || name == "a/m") return card();
    return fail(Code::kNotFound, "no such model", "model", "model_not_found");
  }
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override {
    if (refusal) return std::unexpected(*refusal);
    asked = request;
    auto call = std::make_shared<FakeCall>(*this);
    sink->on_start({.tokens = {{1, 2}}, .text = {}});
    if (hang) {
      held = sink;
      ++calls;
      return call;
    }
    for (int choice = 0; choice < static_cast<int>(request.prompts.size()); ++choice) {
      Delta delta;
      delta.choice = choice;
      delta.text = "a";
      sink->on_delta(delta);
      if (fails_midway) {
        sink->on_error(Status(Code::kInternal, "it broke"));
        return call;
      }
      delta.text = "b";
      delta.finish = completion::FinishReason::kStop;
      sink->on_delta(delta);
    }
    sink->on_done({.prompt_tokens = 2, .completion_tokens = 2, .cached_tokens = 0});
    return call;
  }
  Result<completion::TokenizeResult> tokenize(const completion::TokenizeRequest&) const override {
    return completion::TokenizeResult{.tokens = {1, 2, 3}, .pieces = {}, .max_model_len = 9};
  }
  Result<std::string> detokenize(const std::string&, const std::vector<int32_t>&) const override {
    return "";
  }
  bool ready() const override { return is_ready; }
  uint64_t steps(const std::string&) const override { return 0; }

  std::optional<Status> refusal;
  completion::Request asked;
  bool fails_midway = false;
  bool hang = false;
  std::atomic<bool> is_ready{true};
  std::atomic<int> calls{0};
  std::atomic<int> cancels{0};
  std::shared_ptr<completion::ResponseSink> held;

 private:
  struct FakeCall : completion::Call {
    explicit FakeCall(ScriptedBackend& b) : backend(b) {}
    void cancel() override { ++backend.cancels; }
    ScriptedBackend& backend;
  };
  static completion::ModelCard card() { return {"m", "m.gguf", 512, 1.0, "fp_1"}; }
};

class ProtocolRoutesTest : public ::testing::Test {
 protected:
  void start(EndpointOptions options = {}) {
    endpoints_ = std::make_shared<Endpoints>(backend_, metrics_, *workers_, std::move(options));
    net::ServerOptions http;
    http.error_body = Endpoints::error_page;
    auto server = net::HttpServer::start(http, endpoints_);
    ASSERT_TRUE(server);
    server_ = *std::move(server);
  }
  void TearDown() override {
    server_.reset();
    workers_.reset();
  }
  std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + path;
  }
  net::HttpResponse post(const std::string& path, const std::string& body,
                         net::Headers headers = {}) {
    headers.emplace_back("Content-Type", "application/json");
    auto response = client_.fetch(
        {.method = "POST", .url = url(path), .headers = std::move(headers), .body = body});
    EXPECT_TRUE(response) << response.error().message();
    return response ? *response : net::HttpResponse{};
  }
  int get(const std::string& path) {
    return client_.fetch({.method = "GET", .url = url(path), .headers = {}, .body = {}})->status;
  }

  telemetry::Metrics metrics_;
  ScriptedBackend backend_;
  std::unique_ptr<WorkerPool> workers_ = std::make_unique<WorkerPool>(2, 64);
  std::shared_ptr<Endpoints> endpoints_;
  std::unique_ptr<net::HttpServer> server_;
  net::HttpClient client_;
};

constexpr const char* kMessage =
    R"({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]})";
constexpr const char* kMessageStream =
    R"({"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]})";

TEST_F(ProtocolRoutesTest, AMessageStreamBreaksWithAnErrorEvent) {
  start();
  backend_.fails_midway = true;
  const auto response = post("/v1/messages", kMessageStream);
  EXPECT_EQ(response.status, 200);
  EXPECT_NE(response.body.find("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                               "\"api_error\",\"message\":\"it broke\"}"),
            std::string::npos)
      << response.body;
  EXPECT_EQ(response.body.find("message_stop"), std::string::npos);
}

TEST_F(ProtocolRoutesTest, AnEarlyRefusalKeepsItsStatusAndShape) {
  start();
  backend_.refusal = Status(Code::kResourceExhausted, "full", {}, "queue_full_requests");
  const auto message = post("/v1/messages", kMessageStream);
  EXPECT_EQ(message.status, 429);
  EXPECT_NE(message.body.find("rate_limit_error"), std::string::npos);
  EXPECT_FALSE(net::find_header(message.headers, "retry-after").empty());
  const auto generate = post("/v2/models/m/generate_stream", R"({"text_input":"x"})");
  EXPECT_EQ(generate.status, 429);
  EXPECT_EQ(generate.body, R"({"error":"full"})");
  EXPECT_EQ(post("/v1/models/m:predict", R"({"instances":["x"]})").body, R"({"error":"full"})");
}

TEST_F(ProtocolRoutesTest, MaxTokensBeyondTheContextMeansItsEnd) {
  start();
  post("/v1/messages", kMessage);
  EXPECT_EQ(backend_.asked.sampling.max_tokens, 9);
  post("/v1/messages",
       R"({"model":"m","max_tokens":512,"messages":[{"role":"user","content":"x"}]})");
  EXPECT_FALSE(backend_.asked.sampling.max_tokens);
}

TEST_F(ProtocolRoutesTest, AClientThatLeavesAMessageCancels) {
  start();
  backend_.hang = true;
  net::ClientCall call = client_.request({.method = "POST",
                                          .url = url("/v1/messages"),
                                          .headers = {{"Content-Type", "application/json"}},
                                          .body = kMessage},
                                         {});
  while (backend_.calls == 0) std::this_thread::yield();
  call.cancel();
  while (backend_.cancels == 0) std::this_thread::yield();
  EXPECT_EQ(backend_.cancels, 1);
  backend_.held.reset();
}

TEST_F(ProtocolRoutesTest, AGenerateStreamBreaksWithAnErrorEvent) {
  start();
  backend_.fails_midway = true;
  const auto response = post("/v2/models/m/generate_stream", R"({"text_input":"x"})");
  EXPECT_TRUE(response.body.ends_with("data: {\"error\":\"it broke\"}\n\n")) << response.body;
}

TEST_F(ProtocolRoutesTest, NamesMayHoldSlashes) {
  start();
  EXPECT_EQ(post("/v2/models/a%2Fm/generate", R"({"text_input":"x"})").status, 200);
  EXPECT_EQ(backend_.asked.model, "a/m");
  const auto predicted = post("/v1/models/a/m:predict", R"({"instances":["x","y"]})");
  EXPECT_EQ(predicted.body, R"({"predictions":["ab","ab"]})");
}

TEST_F(ProtocolRoutesTest, ReadinessFollowsTheBackend) {
  start();
  EXPECT_EQ(get("/v2/health/ready"), 200);
  backend_.is_ready = false;
  EXPECT_EQ(get("/v2/health/ready"), 503);
  EXPECT_EQ(get("/v2/models/m/ready"), 503);
  EXPECT_EQ(get("/v1/models/m"), 503) << "KServe's readiness of a model";
  EXPECT_EQ(get("/v2/health/live"), 200);
}

TEST_F(ProtocolRoutesTest, TheRepositoryIsClosedWithoutAnAdminKey) {
  start();
  EXPECT_EQ(post("/v2/repository/models/m/load", "").status, 403);
  EXPECT_EQ(post("/v2/repository/index", "").status, 200);
}

TEST_F(ProtocolRoutesTest, AnAdminKeyOpensTheRepositoryAndNoOtherKeyDoes) {
  start({.api_keys = {"k"}, .admin_keys = {"a"}});
  const char* load = "/v2/repository/models/m/load";
  EXPECT_EQ(post(load, "", {{"Authorization", "Bearer k"}}).status, 403);
  EXPECT_EQ(post(load, "", {{"Authorization", "Bearer a"}}).status, 200);
  EXPECT_EQ(post(load, "", {{"Authorization", "Bearer x"}}).status, 401);
  EXPECT_EQ(post("/v1/messages", kMessage, {{"X-Api-Key", "a"}}).status, 200);
}

}  // namespace
}  // namespace sluice::endpoint
