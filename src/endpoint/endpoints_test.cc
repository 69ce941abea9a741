#include "endpoint/endpoints.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "base/json.h"
#include "net/client.h"

namespace sluice::endpoint {
namespace {

using completion::Delta;
using completion::FinishReason;

// Answers every request with the same three deltas, on a thread of its own.
class FakeBackend : public completion::Backend {
 public:
  std::vector<completion::ModelCard> models() const override { return {card()}; }
  Result<completion::ModelCard> find_model(const std::string& name) const override {
    if (name.empty() || name == "m") return card();
    return fail(Code::kNotFound, "no such model", "model", "model_not_found");
  }
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override {
    if (refusal) return std::unexpected(*refusal);
    ++calls;
    sink->on_start({.tokens = {{1, 2}}, .text = {}});
    auto call = std::make_shared<FakeCall>(*this);
    std::lock_guard lock(mutex_);  // workers call at the same time
    tenant_ = request.tenant;
    if (hang) {
      held_.push_back(sink);
      return call;
    }
    answering_.emplace_back([this, sink] {
      for (const char* text : {"a", "b", "c"}) {
        Delta delta;
        delta.text = text;
        delta.tokens = {7};
        if (*text == 'c') delta.finish = FinishReason::kStop;
        if (fails_midway && *text == 'b') {
          sink->on_error(Status(Code::kInternal, "it broke"));
          return;
        }
        sink->on_delta(delta);
      }
      sink->on_done({.prompt_tokens = 2, .completion_tokens = 3, .cached_tokens = 0});
    });
    return call;
  }
  Result<completion::TokenizeResult> tokenize(const completion::TokenizeRequest&) const override {
    return completion::TokenizeResult{.tokens = {1, 2, 3}, .pieces = {}, .max_model_len = 9};
  }
  Result<std::string> detokenize(const std::string&, const std::vector<int32_t>&) const override {
    return "text";
  }
  bool ready() const override { return is_ready; }
  uint64_t steps(const std::string&) const override { return ++steps_; }

  std::atomic<bool> is_ready{true};
  std::atomic<bool> hang{false};
  std::atomic<bool> fails_midway{false};
  std::atomic<int> calls{0};
  std::atomic<int> cancels{0};
  std::optional<Status> refusal;
  std::string tenant() const {
    std::lock_guard lock(mutex_);
    return tenant_;
  }

 private:
  struct FakeCall : completion::Call {
    explicit FakeCall(FakeBackend& b) : backend(b) {}
    void cancel() override { ++backend.cancels; }
    FakeBackend& backend;
  };
  static completion::ModelCard card() { return {"m", "m.gguf", 512, 1.0, "fp_1"}; }
  mutable std::atomic<uint64_t> steps_{0};
  mutable std::mutex mutex_;  // guards the three below
  std::string tenant_;
  std::vector<std::shared_ptr<completion::ResponseSink>> held_;
  std::vector<std::jthread> answering_;
};

class EndpointsTest : public ::testing::Test {
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
  net::HttpResponse send(const std::string& method, const std::string& path, std::string body = {},
                         net::Headers headers = {}) {
    if (!body.empty()) headers.emplace_back("Content-Type", "application/json");
    auto response =
        client_.fetch({.method = method,
                       .url = "http://127.0.0.1:" + std::to_string(server_->port()) + path,
                       .headers = std::move(headers),
                       .body = std::move(body)});
    EXPECT_TRUE(response) << response.error().message();
    return response ? *response : net::HttpResponse{};
  }

  telemetry::Metrics metrics_;
  FakeBackend backend_;
  std::unique_ptr<WorkerPool> workers_ = std::make_unique<WorkerPool>(2, 64);
  std::shared_ptr<Endpoints> endpoints_;
  std::unique_ptr<net::HttpServer> server_;
  net::HttpClient client_;
};

constexpr const char* kChat = R"({"messages":[{"role":"user","content":"x"}]})";
constexpr const char* kStream =
    R"({"prompt":"x","stream":true,"stream_options":{"include_usage":true}})";

TEST_F(EndpointsTest, CollectsAnAnswer) {
  start();
  const auto response = send("POST", "/v1/chat/completions", kChat);
  EXPECT_EQ(response.status, 200);
  const auto body = parse_json(response.body);
  EXPECT_EQ(body->at_pointer("/choices/0/message/content"), "abc");
  EXPECT_EQ(body->at_pointer("/usage/total_tokens"), 5);
}

TEST_F(EndpointsTest, StreamsAnAnswer) {
  start();
  const auto response = send("POST", "/openai/v1/completions", kStream);
  EXPECT_NE(response.body.find(R"("text":"a")"), std::string::npos);
  EXPECT_NE(response.body.find(R"("choices":[],"usage")"), std::string::npos);
  EXPECT_TRUE(response.body.ends_with("data: [DONE]\n\n"));
}

TEST_F(EndpointsTest, AFailureMidStreamIsAnEvent) {
  start();
  backend_.fails_midway = true;
  const auto response = send("POST", "/v1/completions", kStream);
  EXPECT_EQ(response.status, 200);
  EXPECT_NE(response.body.find("it broke"), std::string::npos);
  EXPECT_TRUE(response.body.ends_with("data: [DONE]\n\n"));
}

TEST_F(EndpointsTest, AnEarlyRefusalKeepsItsStatus) {
  start();
  backend_.refusal = Status(Code::kResourceExhausted, "full", {}, "queue_full_requests");
  const auto response = send("POST", "/v1/completions", kStream);
  EXPECT_EQ(response.status, 429);
  EXPECT_FALSE(net::find_header(response.headers, "retry-after").empty());
}

TEST_F(EndpointsTest, KeysGuardAllButHealthAndReady) {
  start({.api_keys = {"right", "other"}});
  for (const auto& route : {"/v1/models", "/metrics", "/version", "/nothing", "/internal/v1/x"}) {
    const int status = send("GET", route).status;
    EXPECT_TRUE(status == 401 || status == 404) << route << " " << status;
    if (std::string_view(route) != "/internal/v1/x") EXPECT_EQ(status, 401) << route;
  }
  EXPECT_EQ(send("GET", "/health").status, 200);
  EXPECT_EQ(send("GET", "/ready").status, 200);
  EXPECT_EQ(send("GET", "/v1/models", {}, {{"Authorization", "Bearer right"}}).status, 200);
  send("POST", "/v1/completions", kStream, {{"Authorization", "Bearer right"}});
  const std::string first = backend_.tenant();
  send("POST", "/v1/completions", kStream, {{"X-Api-Key", "other"}});
  EXPECT_NE(first, backend_.tenant());
  EXPECT_EQ(first.find("right"), std::string::npos);
}

TEST_F(EndpointsTest, ReadyFollowsTheBackend) {
  start();
  backend_.is_ready = false;
  EXPECT_EQ(send("GET", "/ready").status, 503);
  EXPECT_EQ(send("GET", "/health").status, 200);
}

TEST_F(EndpointsTest, AClientThatLeavesCancels) {
  start();
  backend_.hang = true;
  net::ClientCall call = client_.request(
      {.method = "POST",
       .url = "http://127.0.0.1:" + std::to_string(server_->port()) + "/v1/completions",
       .headers = {{"Content-Type", "application/json"}},
       .body = kStream},
      {});
  while (backend_.calls == 0) std::this_thread::yield();
  call.cancel();
  while (backend_.cancels == 0) std::this_thread::yield();
  EXPECT_EQ(backend_.cancels, 1);
}

TEST_F(EndpointsTest, InternalStreamsBeat) {
  start({.internal_token = "t"});
  EXPECT_EQ(send("POST", "/internal/v1/completions", kStream).status, 401);
  backend_.hang = true;
  std::atomic<bool> beat{false};
  net::ClientCall call = client_.request(
      {.method = "POST",
       .url = "http://127.0.0.1:" + std::to_string(server_->port()) + "/internal/v1/completions",
       .headers = {{"Content-Type", "application/json"}, {"Authorization", "Bearer t"}},
       .body = kStream},
      {.on_head = {},
       .on_data =
           [&](std::string_view bytes) {
             if (bytes.find(": step") != std::string_view::npos) beat = true;
           },
       .on_end = {}});
  while (!beat) std::this_thread::yield();
  call.cancel();
  while (backend_.cancels == 0) std::this_thread::yield();
}

TEST_F(EndpointsTest, CountsByRouteAndNeverByWhatClientsSend) {
  start();
  send("GET", "/v1/models/m");
  send("GET", "/some/odd/path");
  send("BREW", "/v1/models");
  const std::string page = send("GET", "/metrics?view=native").body;
  EXPECT_NE(page.find("/v1/models/{id...}"), std::string::npos);
  EXPECT_EQ(page.find("odd"), std::string::npos);
  EXPECT_EQ(page.find("BREW"), std::string::npos);
}

}  // namespace
}  // namespace sluice::endpoint
