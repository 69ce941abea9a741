// Requests to Sluice replicas through the whole gateway: its door, its queue, reloads, its log.
#include "gateway/unbroken_front.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "gateway/fake_replica_test_support.h"
#include "gateway/gateway.h"
#include "gateway/gateway_test_support.h"
#include "net/test_support.h"

namespace sluice::gateway {
namespace {

using net::testing::Signal;
using testing::FakeReplica;
using testing::Mishap;

constexpr const char* kAsk = R"({"model":"m","prompt":"x","max_tokens":12,"stream":true})";

std::string plan_text(const std::vector<std::string>& urls, const std::string& route = "r",
                      const std::string& more = "") {
  std::string text =
      "upstreams:\n  - name: u\n    kind: sluice\n    internal_token: {env: T}\n"
      "    health: {active: false}\n    endpoints:\n";
  for (size_t i = 0; i < urls.size(); ++i) {
    text += "      - {url: \"" + urls[i] + "\", name: r" + std::to_string(i) + "}\n";
  }
  return text + "routes:\n  - name: " + route +
         "\n    public: true\n    policy: round_robin\n    targets: [{upstream: u}]\n" + more;
}

struct RunningFront {
  explicit RunningFront(const std::string& yaml)
      : loop(*net::EventLoop::create()),
        gateway(
            std::make_shared<Gateway>(testing::plan_of(yaml), std::vector{loop}, workers, metrics)),
        front(
            gateway->relay_host(), [this] { return gateway->snapshot(); }, gateway->chooser(),
            workers, metrics) {
    gateway->set_sluice_handler([this](RelayRequest request) { front.answer(std::move(request)); });
    EXPECT_TRUE(gateway->open());
    net::ServerOptions options;
    options.loops = {loop};
    server = *net::HttpServer::start(std::move(options), gateway);
  }

  std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(server->port()) + std::string(path);
  }
  net::HttpResponse post(std::string body, std::string path = "/v1/completions") {
    auto response = client.fetch({.method = "POST", .url = url(path), .body = std::move(body)});
    if (!response) ADD_FAILURE() << response.error().message();
    return response ? *response : net::HttpResponse{.status = 0};
  }
  Route& route() { return *gateway->snapshot()->routes().front(); }

  telemetry::Metrics metrics;
  WorkerPool workers{2, 64};
  std::shared_ptr<net::EventLoop> loop;
  std::shared_ptr<Gateway> gateway;
  UnbrokenFront front;
  std::unique_ptr<net::HttpServer> server;
  net::HttpClient client;
};

TEST(UnbrokenFront, AStreamGoesOnUnderThePlanThatItBeganUnder) {
  FakeReplica first;
  FakeReplica second;
  // Five tokens, then nothing until it is let go.
  first.mishap = Mishap::kWait;
  second.mishap = Mishap::kWait;
  RunningFront running(plan_text({first.url, second.url}));
  std::string got;
  Signal some;
  Signal ended;
  running.client.request({.method = "POST", .url = running.url("/v1/completions"), .body = kAsk},
                         {.on_data =
                              [&](std::string_view bytes) {
                                got += bytes;
                                some.set();
                              },
                          .on_end =
                              [&](const Outcome& outcome) {
                                EXPECT_TRUE(outcome);
                                ended.set();
                              }});
  ASSERT_TRUE(some.wait());
  ASSERT_EQ(first.requests + second.requests, 1);
  FakeReplica& holder = first.requests == 1 ? first : second;
  FakeReplica& other = &holder == &first ? second : first;
  other.mishap = Mishap::kNone;
  EXPECT_TRUE(
      running.gateway->apply(testing::plan_of(plan_text({first.url, second.url}, "renamed"))));
  holder.let_go();
  ASSERT_TRUE(ended.wait());
  EXPECT_TRUE(got.contains("t11 ")) << got;
  EXPECT_FALSE(got.contains("error")) << got;
  EXPECT_EQ(other.requests, 1);
}

TEST(UnbrokenFront, ModelsAreFoundAsRoutesMatchThem) {
  RunningFront running(plan_text({"http://127.0.0.1:1"}, "r",
                                 "    match: {models: [\"story-*\"], headers: {x-a: b}}\n"));
  EXPECT_EQ(running.front.route_of_model("story-1").value_or(""), "r");
  EXPECT_FALSE(running.front.route_of_model("stories"));
}

TEST(UnbrokenFront, AnErrorInMidStreamStandsInTheLog) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("unbroken_front_test_" + std::to_string(::getpid()) + ".log");
  std::filesystem::remove(path);
  {
    FakeReplica replica;
    replica.mishap = Mishap::kCut;
    RunningFront running(
        "access_log: {path: " + path.string() + "}\n" +
        plan_text({replica.url}, "r", "    unbroken: {resume_wait: 0s, resumes: 0}\n"));
    EXPECT_TRUE(running.post(kAsk).body.contains("resume_failed"));
    replica.mishap = Mishap::kNone;
    EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  }
  const std::string log = *read_file(path, 1 << 20);
  std::filesystem::remove(path);
  ASSERT_EQ(std::ranges::count(log, '\n'), 2);
  const std::string first = log.substr(0, log.find('\n'));
  EXPECT_TRUE(first.contains(R"("ending":"cut","error":"resume_failed")")) << first;
  EXPECT_TRUE(log.substr(first.size()).contains(R"("ending":"answered")")) << log;
}

TEST(UnbrokenFront, ItsOwnErrorsSpeakTheClientsDialect) {
  RunningFront running(
      plan_text({"http://127.0.0.1:1"}, "r", "    queue: {max_concurrent: 1, max_waiting: 0}\n"));
  Admission::Permit held;
  ASSERT_TRUE(running.route().memory()->admission->ask(
      {}, [&](Admission::Permit permit) { held = std::move(permit); }));
  const auto full = running.post(kAsk, "/v1/messages");
  EXPECT_EQ(full.status, 429);
  EXPECT_TRUE(full.body.starts_with(R"({"type":"error","error":{)")) << full.body;
  EXPECT_FALSE(net::find_header(full.headers, "x-request-id").empty());
}

// Notes how deep in the stack it is answered.
struct DepthResponder : net::Responder {
  DepthResponder(std::vector<uintptr_t>& at, Signal& sent) : depths(at), answered(sent) {}
  void send(net::HttpResponse) override {
    depths.push_back(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
    answered.set();
  }
  void start(int, net::Headers) override {}
  bool write(std::string_view) override { return true; }
  void finish() override {}
  void on_close(std::function<void()>) override {}
  bool closed() const override { return false; }

  std::vector<uintptr_t>& depths;
  Signal& answered;
};

TEST(UnbrokenFront, WhoeverGetsAPlaceDoesNotStandOnWhoeverLeft) {
  constexpr int kWaiting = 200;
  RunningFront running(plan_text({"http://127.0.0.1:1"}, "r",
                                 "    queue: {max_concurrent: 1, max_waiting: 1000}\n"));
  std::vector<uintptr_t> depths;
  Signal answered;
  Signal asked;
  auto held = std::make_shared<Admission::Permit>();
  const auto snapshot = running.gateway->snapshot();
  running.loop->post([&] {
    Route& route = *snapshot->routes().front();
    static_cast<void>(route.memory()->admission->ask(
        {}, [&](Admission::Permit permit) { *held = std::move(permit); }));
    for (int i = 0; i < kWaiting; ++i) {
      RelayRequest request;
      request.http = testing::request_of("/v1/nothing-of-ours");
      request.responder = std::make_shared<DepthResponder>(depths, answered);
      request.snapshot = snapshot;
      request.route = &route;
      running.front.answer(std::move(request));
    }
    EXPECT_EQ(route.memory()->admission->waiting(), kWaiting);
    held.reset();
  });
  ASSERT_TRUE(answered.wait(kWaiting)) << "each is refused at once, and leaves its place";
  const auto [least, most] = std::ranges::minmax(depths);
  EXPECT_LT(most - least, 16u << 10);
}

}  // namespace
}  // namespace sluice::gateway
