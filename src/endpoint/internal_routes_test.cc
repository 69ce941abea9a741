#include "endpoint/internal_routes.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "api/internal_request.h"
#include "endpoint/endpoints.h"
#include "net/client.h"

namespace sluice::endpoint {
namespace {

using api::InternalEvent;

// Tells its start and waits to be told what to say.
class HeldBackend : public completion::Backend {
 public:
  std::vector<completion::ModelCard> models() const override { return {card()}; }
  Result<completion::ModelCard> find_model(const std::string& name) const override {
    if (name.empty() || name == "m") return card();
    return fail(Code::kNotFound, "no such model", "model", "model_not_found");
  }
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override {
    if (drained) return fail(Code::kUnavailable, "draining", {}, "draining");
    sink->on_start({.tokens = {{1, 2}}, .text = {}});
    const std::lock_guard lock(mutex_);
    asked = std::move(request);
    held = std::move(sink);
    changed_.notify_all();
    return std::make_shared<HeldCall>(*this);
  }
  Result<completion::TokenizeResult> tokenize(const completion::TokenizeRequest&) const override {
    return completion::TokenizeResult{.tokens = {7, 8}, .pieces = {}, .max_model_len = 9};
  }
  Result<std::string> detokenize(const std::string&, const std::vector<int32_t>&) const override {
    return "text";
  }
  bool ready() const override { return !drained; }
  uint64_t steps(const std::string&) const override { return 5; }
  completion::Load load() const override { return {.running = 3}; }

  Outcome watch_blocks(const std::string&,
                       const std::shared_ptr<completion::BlockWatcher>& given) override {
    const std::vector<PrefixChange> before = {{1, true}, {2, true}};
    given->on_blocks(before);
    const std::lock_guard lock(mutex_);
    watcher = given;
    return {};
  }

  std::shared_ptr<completion::ResponseSink> wait_for_request() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return held != nullptr; });
    return held;
  }
  void wait_for_cancel() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return cancelled_; });
  }

  completion::Request asked;
  std::shared_ptr<completion::ResponseSink> held;
  std::shared_ptr<completion::BlockWatcher> watcher;
  std::atomic<bool> drained{false};

 private:
  struct HeldCall : completion::Call {
    explicit HeldCall(HeldBackend& b) : backend(b) {}
    void cancel() override {
      const std::lock_guard lock(backend.mutex_);
      backend.cancelled_ = true;
      backend.changed_.notify_all();
    }
    HeldBackend& backend;
  };
  static completion::ModelCard card() { return {"m", "m.gguf", 512, 1.0, "fp_1", "m", 16}; }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
};

// Reads one stream of events.
class Reader {
 public:
  void start(net::HttpClient& client, const std::string& url, std::string body) {
    call_ = client.request({.method = "POST",
                            .url = url + "/internal/v1/generate",
                            .headers = {{"Authorization", "Bearer t"}},
                            .body = std::move(body)},
                           {.on_head = {},
                            .on_data =
                                [this](std::string_view bytes) {
                                  const std::lock_guard lock(mutex_);
                                  EXPECT_TRUE(reader_.feed(bytes, [this](InternalEvent&& event) {
                                    if (std::holds_alternative<api::BeatEvent>(event)) {
                                      ++beats_;
                                    } else {
                                      events_.push_back(std::move(event));
                                    }
                                  }));
                                  changed_.notify_all();
                                },
                            .on_end =
                                [this](const Outcome&) {
                                  const std::lock_guard lock(mutex_);
                                  ended_ = true;
                                  changed_.notify_all();
                                }});
  }
  std::vector<InternalEvent> wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return events_.size() >= count || ended_; });
    return events_;
  }
  void wait_for_beats(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return beats_ >= count || ended_; });
    EXPECT_GE(beats_, count);
  }
  void wait_for_end() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
  }
  void cancel() { call_.cancel(); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  api::EventReader reader_;
  std::vector<InternalEvent> events_;
  int beats_ = 0;
  bool ended_ = false;
  net::ClientCall call_;
};

class InternalRoutesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    endpoints_ = std::make_shared<Endpoints>(
        backend_, metrics_, *workers_,
        EndpointOptions{.internal_token = "t", .drain = [this] { backend_.drained = true; }});
    auto server = net::HttpServer::start({}, endpoints_);
    ASSERT_TRUE(server);
    server_ = *std::move(server);
    url_ = "http://127.0.0.1:" + std::to_string(server_->port());
  }
  void TearDown() override {
    server_.reset();
    workers_.reset();
  }
  net::HttpResponse send(const std::string& method, const std::string& path, std::string body = {},
                         const std::string& token = "t") {
    const auto response = client_.fetch({.method = method,
                                         .url = url_ + path,
                                         .headers = {{"Authorization", "Bearer " + token}},
                                         .body = std::move(body)});
    EXPECT_TRUE(response) << response.error().message();
    return response ? *response : net::HttpResponse{};
  }
  static std::string body() {
    completion::Request request;
    request.model = "m";
    request.prompts = {completion::TextPrompt{"x", true}};
    request.tenant = "tenant";
    return api::write_request(request, TimePoint{});
  }

  telemetry::Metrics metrics_;
  HeldBackend backend_;
  std::unique_ptr<WorkerPool> workers_ = std::make_unique<WorkerPool>(2, 64);
  std::shared_ptr<Endpoints> endpoints_;
  std::unique_ptr<net::HttpServer> server_;
  std::string url_;
  net::HttpClient client_;
};

TEST_F(InternalRoutesTest, ARequestGoesInAndItsEventsComeOut) {
  Reader reader;
  reader.start(client_, url_, body());
  const auto sink = backend_.wait_for_request();
  EXPECT_EQ(backend_.asked.tenant, "tenant");
  EXPECT_TRUE(backend_.asked.sampling.seed);
  reader.wait_for_beats(2);
  completion::Delta delta;
  delta.text = "a";
  delta.tokens = {7};
  sink->on_delta(delta);
  endpoints_->leave();
  sink->on_done({2, 1, 0});
  const auto events = reader.wait_for(4);
  ASSERT_EQ(events.size(), 4u);
  const auto& start = std::get<api::StartEvent>(events[0]);
  EXPECT_EQ(start.fingerprint, "fp_1");
  EXPECT_EQ(start.max_model_len, 512);
  EXPECT_EQ(start.seed, backend_.asked.sampling.seed);
  EXPECT_EQ(start.info.tokens, (std::vector<std::vector<int32_t>>{{1, 2}}));
  EXPECT_EQ(std::get<completion::Delta>(events[1]).text, "a");
  EXPECT_TRUE(std::holds_alternative<api::LeavingEvent>(events[2]));
  EXPECT_EQ(std::get<completion::Usage>(events[3]).completion_tokens, 1);
  reader.wait_for_end();
}

TEST_F(InternalRoutesTest, WhatCannotBeDoneIsAnErrorEvent) {
  const auto error_of = [&](const std::string& bytes) {
    Reader reader;
    reader.start(client_, url_, bytes);
    const auto events = reader.wait_for(1);
    reader.wait_for_end();
    return events.size() == 1 ? std::get<Status>(events[0]) : Status(Code::kInternal, "no event");
  };
  EXPECT_EQ(error_of("nonsense").code(), Code::kInvalidArgument);
  completion::Request other;
  other.model = "other";
  other.prompts = {completion::TokenPrompt{{1}}};
  EXPECT_EQ(error_of(api::write_request(other, TimePoint{})).reason(), "model_not_found");
  EXPECT_EQ(send("POST", "/internal/v1/drain").status, 200);
  EXPECT_EQ(error_of(body()).reason(), "draining");
}

TEST_F(InternalRoutesTest, AReaderThatLeavesCancels) {
  Reader reader;
  reader.start(client_, url_, body());
  backend_.wait_for_request();
  reader.cancel();
  backend_.wait_for_cancel();
  reader.wait_for_end();
}

TEST_F(InternalRoutesTest, BlocksAreToldAsTheyChangeUntilItLeaves) {
  std::mutex mutex;
  std::condition_variable changed;
  api::BlockEventReader reader;
  std::vector<api::BlockEvent> events;
  bool beaten = false;
  bool ended = false;
  client_.request({.method = "POST",
                   .url = url_ + "/internal/v1/blocks",
                   .headers = {{"Authorization", "Bearer t"}}},
                  {.on_head = {},
                   .on_data =
                       [&](std::string_view bytes) {
                         const std::lock_guard lock(mutex);
                         EXPECT_TRUE(reader.feed(bytes, [&](api::BlockEvent&& event) {
                           if (std::holds_alternative<api::BlockBeat>(event)) {
                             beaten = true;
                           } else {
                             events.push_back(std::move(event));
                           }
                         }));
                         changed.notify_all();
                       },
                   .on_end =
                       [&](const Outcome& outcome) {
                         const std::lock_guard lock(mutex);
                         EXPECT_TRUE(outcome);
                         ended = true;
                         changed.notify_all();
                       }});
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return events.size() >= 3 && beaten; });
  EXPECT_EQ(std::get<api::BlockHello>(events[0]).models.at(0).names, std::vector<std::string>{"m"});
  EXPECT_EQ(std::get<api::BlockChanges>(events[1]).tags, (std::vector<uint64_t>{1, 2}));
  EXPECT_TRUE(std::holds_alternative<api::BlocksSynced>(events[2]));
  lock.unlock();
  backend_.watcher->on_blocks(std::vector<PrefixChange>{{1, false}, {3, true}});
  lock.lock();
  changed.wait(lock, [&] { return events.size() >= 5; });
  EXPECT_FALSE(std::get<api::BlockChanges>(events[3]).stored);
  EXPECT_EQ(std::get<api::BlockChanges>(events[4]).tags, std::vector<uint64_t>{3});
  EXPECT_FALSE(backend_.watcher->over());
  lock.unlock();
  endpoints_->leave();
  lock.lock();
  changed.wait(lock, [&] { return ended; });
  EXPECT_TRUE(backend_.watcher->over());
  EXPECT_EQ(send("POST", "/internal/v1/blocks").status, 503);
}

TEST_F(InternalRoutesTest, TheTokenGuardsThemAll) {
  for (const auto& [method, path] :
       {std::pair("POST", "/internal/v1/generate"), std::pair("POST", "/internal/v1/tokenize"),
        std::pair("POST", "/internal/v1/drain"), std::pair("POST", "/internal/v1/blocks"),
        std::pair("GET", "/internal/v1/identity")}) {
    EXPECT_EQ(send(method, path, {}, "wrong").status, 401) << path;
  }
  EXPECT_FALSE(backend_.drained);
}

TEST_F(InternalRoutesTest, IdentityAndTokenizer) {
  const auto identity = parse_json(send("GET", "/internal/v1/identity").body);
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->at_pointer("/models/0/fingerprint"), "fp_1");
  EXPECT_EQ(identity->at_pointer("/load/running"), 3);
  EXPECT_EQ(identity->at_pointer("/ready"), true);
  const auto tokens = send(
      "POST", "/internal/v1/tokenize",
      api::write_tokenize_request({.model = "m", .prompt = completion::TextPrompt{"x", true}}));
  EXPECT_EQ(api::read_tokenize_result(tokens.body)->tokens, (std::vector<int32_t>{7, 8}));
  EXPECT_EQ(send("POST", "/internal/v1/tokenize", "nonsense").status, 400);
  EXPECT_EQ(send("POST", "/internal/v1/detokenize", api::write_detokenize_request({"m", {1}})).body,
            "text");
}

}  // namespace
}  // namespace sluice::endpoint
