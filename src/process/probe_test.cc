#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "net/client.h"
#include "net/event_loop.h"
#include "net/test_certificates.h"
#include "net/test_support.h"
#include "process/prober.h"
#include "process/test_processes.h"

namespace sluice::process {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kBegin{};
constexpr auto kStartup = ProbeKind::kStartup;
constexpr auto kReadiness = ProbeKind::kReadiness;
constexpr auto kLiveness = ProbeKind::kLiveness;

ReplicaSpec spec_of(std::optional<Probe> startup, std::optional<Probe> readiness,
                    std::optional<Probe> liveness) {
  ReplicaSpec spec;
  spec.startup = std::move(startup);
  spec.readiness = std::move(readiness);
  spec.liveness = std::move(liveness);
  return spec;
}

ProbeVerdict result(ProbeSchedule& schedule, ProbeKind kind, bool good, TimePoint now) {
  EXPECT_NE(schedule.due(kind), TimePoint::max());
  schedule.begin(kind);
  EXPECT_EQ(schedule.due(kind), TimePoint::max());  // one at a time
  return schedule.finish(kind, good, now);
}

TEST(ProbeSchedule, StartsBeforeAllElse) {
  ProbeSchedule schedule(spec_of(Probe{.period = 1s, .failure_threshold = 30}, Probe{}, Probe{}),
                         kBegin, ProbeHistory::kNone);
  EXPECT_EQ(schedule.due(kStartup), kBegin);
  EXPECT_EQ(schedule.due(kReadiness), TimePoint::max());
  EXPECT_EQ(schedule.due(kLiveness), TimePoint::max());
  EXPECT_EQ(result(schedule, kStartup, false, kBegin + 1ms), ProbeVerdict::kNothing);
  EXPECT_EQ(schedule.due(kStartup), kBegin + 6ms);
  EXPECT_EQ(result(schedule, kStartup, true, kBegin + 7ms), ProbeVerdict::kNothing);
  EXPECT_EQ(schedule.due(kStartup), TimePoint::max());
  EXPECT_EQ(schedule.due(kReadiness), kBegin + 7ms);
  EXPECT_EQ(schedule.due(kLiveness), kBegin + 7ms);
  EXPECT_EQ(result(schedule, kReadiness, true, kBegin + 8ms), ProbeVerdict::kReady);
  EXPECT_EQ(schedule.due(kReadiness), kBegin + 8ms + 10s);
}

TEST(ProbeSchedule, AsksDenselyAtFirstAndBacksOff) {
  ProbeSchedule schedule(spec_of({}, Probe{}, {}), kBegin, ProbeHistory::kNone);
  TimePoint now = kBegin;
  int asked = 0;
  while (now < kBegin + 1min) {
    now = schedule.due(kReadiness);
    EXPECT_EQ(result(schedule, kReadiness, false, now), ProbeVerdict::kNothing);
    const Duration pause = schedule.due(kReadiness) - now;
    EXPECT_GE(pause, 5ms);
    EXPECT_LE(pause, std::max<Duration>(5ms, (now - kBegin) / 500));
    ++asked;
  }
  EXPECT_LT(asked, 2500);
  EXPECT_FALSE(schedule.ready());
}

TEST(ProbeSchedule, AStartThatNeverHoldsEnds) {
  ProbeSchedule schedule(
      spec_of(Probe{.initial_delay = 2s, .period = 1s, .failure_threshold = 3}, {}, {}), kBegin,
      ProbeHistory::kNone);
  EXPECT_EQ(schedule.due(kStartup), kBegin + 2s);
  EXPECT_EQ(result(schedule, kStartup, false, kBegin + 2s), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kStartup, false, kBegin + 4999ms), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kStartup, false, kBegin + 5s), ProbeVerdict::kStartTimeout);
  EXPECT_EQ(schedule.due(kStartup), TimePoint::max());
}

TEST(ProbeSchedule, CountsThresholdsInARow) {
  ProbeSchedule schedule(spec_of({}, Probe{.success_threshold = 2, .failure_threshold = 2},
                                 Probe{.failure_threshold = 2}),
                         kBegin, ProbeHistory::kNone);
  EXPECT_EQ(result(schedule, kReadiness, true, kBegin), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kReadiness, false, kBegin), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kReadiness, true, kBegin), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kReadiness, true, kBegin), ProbeVerdict::kReady);
  EXPECT_EQ(result(schedule, kReadiness, false, kBegin + 10s), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kReadiness, false, kBegin + 20s), ProbeVerdict::kNotReady);
  EXPECT_EQ(result(schedule, kReadiness, false, kBegin + 30s), ProbeVerdict::kNothing);
  EXPECT_EQ(schedule.due(kReadiness), kBegin + 40s);
  EXPECT_EQ(result(schedule, kReadiness, true, kBegin + 40s), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kReadiness, true, kBegin + 50s), ProbeVerdict::kReady);
  EXPECT_EQ(result(schedule, kLiveness, false, kBegin), ProbeVerdict::kNothing);
  EXPECT_EQ(schedule.due(kLiveness), kBegin + 10s);
  EXPECT_EQ(result(schedule, kLiveness, true, kBegin), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kLiveness, false, kBegin), ProbeVerdict::kNothing);
  EXPECT_EQ(result(schedule, kLiveness, false, kBegin), ProbeVerdict::kNotLive);
  EXPECT_EQ(schedule.due(kLiveness), TimePoint::max());
}

TEST(ProbeSchedule, WithoutProbesAConnectionIsEnough) {
  ProbeSchedule schedule(spec_of({}, {}, {}), kBegin, ProbeHistory::kNone);
  EXPECT_EQ(schedule.probe(kReadiness).kind, Probe::Kind::kTcp);
  EXPECT_EQ(schedule.due(kLiveness), TimePoint::max());
  EXPECT_EQ(result(schedule, kReadiness, true, kBegin), ProbeVerdict::kReady);
  EXPECT_EQ(schedule.due(kReadiness), TimePoint::max());
}

TEST(ProbeSchedule, AnAdoptedOneStaysWhatItWasUntilSaidOtherwise) {
  const ReplicaSpec spec = spec_of(Probe{}, Probe{.failure_threshold = 1}, Probe{});
  ProbeSchedule ready(spec, kBegin, ProbeHistory::kReady);
  EXPECT_TRUE(ready.ready());
  EXPECT_EQ(ready.due(kStartup), TimePoint::max());
  EXPECT_EQ(ready.due(kReadiness), kBegin);
  EXPECT_EQ(result(ready, kReadiness, false, kBegin), ProbeVerdict::kNotReady);
  ProbeSchedule not_ready(spec, kBegin, ProbeHistory::kNotReady);
  EXPECT_FALSE(not_ready.ready());
  EXPECT_EQ(not_ready.due(kStartup), TimePoint::max());
  EXPECT_EQ(result(not_ready, kReadiness, false, kBegin), ProbeVerdict::kNothing);
  EXPECT_EQ(result(not_ready, kReadiness, true, kBegin + 10s), ProbeVerdict::kReady);
}

// A prober on a loop of its own, whose verdicts are waited for.
class Probing {
 public:
  Probing(ReplicaSpec spec, uint16_t port) : loop_(*net::EventLoop::create()) {
    client_ = std::make_unique<net::HttpClient>(net::ClientOptions{}, loop_);
    loop_->post([this, spec = std::move(spec), port] {
      prober_ =
          std::make_unique<Prober>(*loop_, *client_, "127.0.0.1", port,
                                   ProbeSchedule(spec, net::EventLoop::now(), ProbeHistory::kNone),
                                   [this](ProbeVerdict verdict, const std::string& why) {
                                     const std::lock_guard lock(mutex_);
                                     told_.emplace_back(verdict, why);
                                     changed_.notify_all();
                                   });
    });
    thread_ = std::thread([this] { loop_->run(); });
  }
  ~Probing() {
    loop_->stop();
    thread_.join();
    prober_.reset();
  }

  // The n-th verdict, from 0.
  std::pair<ProbeVerdict, std::string> verdict(size_t n) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, testing::kPatience, [&] { return told_.size() > n; });
    return came ? told_[n] : std::pair(ProbeVerdict::kNothing, std::string("none came"));
  }

 private:
  std::shared_ptr<net::EventLoop> loop_;
  std::unique_ptr<net::HttpClient> client_;
  std::unique_ptr<Prober> prober_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<ProbeVerdict, std::string>> told_;
  std::thread thread_;
};

class Statuses final : public net::HttpHandler {
 public:
  explicit Statuses(std::vector<int> statuses) : statuses_(std::move(statuses)) {}
  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override {
    const std::lock_guard lock(mutex_);
    paths.push_back(request.target + " " + std::string(request.header("x-asks")));
    const size_t at = std::min(paths.size(), statuses_.size()) - 1;
    responder->send({.status = statuses_[at], .headers = {}, .body = "x"});
  }

  std::vector<std::string> paths;

 private:
  std::mutex mutex_;
  const std::vector<int> statuses_;
};

TEST(Prober, AsksOverHttp) {
  const auto handler = std::make_shared<Statuses>(std::vector{503, 404, 302, 200, 500});
  net::ServerOptions options;
  options.host = "127.0.0.1";
  const auto server = *net::HttpServer::start(options, handler);
  const Probe probe{.path = "/r?x=1",
                    .headers = {{"X-Asks", "me"}},
                    .period = 5ms,
                    .success_threshold = 2,
                    .failure_threshold = 3};
  Probing probing(spec_of({}, probe, {}), server->port());
  EXPECT_EQ(probing.verdict(0).first, ProbeVerdict::kReady);
  const auto [second, why] = probing.verdict(1);
  EXPECT_EQ(second, ProbeVerdict::kNotReady);
  EXPECT_NE(why.find("readiness probe"), std::string::npos) << why;
  EXPECT_NE(why.find("status 500"), std::string::npos) << why;
  EXPECT_EQ(handler->paths[0], "/r?x=1 me");
}

TEST(Prober, TakesAnyCertificate) {
  const testing::TestFolder folder;
  const net::testing::Certificate authority(folder.path(), "authority");
  const net::testing::Certificate server_name(folder.path(), "server", "DNS:elsewhere.test",
                                              &authority);
  net::ServerOptions options;
  options.host = "127.0.0.1";
  options.tls = *net::TlsContext::for_server({.identities = {server_name.identity()}});
  const auto server =
      *net::HttpServer::start(options, std::make_shared<Statuses>(std::vector{200}));
  Probing probing(spec_of({}, Probe{.https = true}, {}), server->port());
  EXPECT_EQ(probing.verdict(0).first, ProbeVerdict::kReady);
}

TEST(Prober, ConnectsOverTcp) {
  net::Fd listener = *net::listen_on("127.0.0.1", 0);
  const uint16_t port = net::local_port(listener.get());
  const Probe probe{.kind = Probe::Kind::kTcp, .period = 5ms, .failure_threshold = 2};
  Probing probing(spec_of(probe, {}, probe), port);
  EXPECT_EQ(probing.verdict(0).first, ProbeVerdict::kReady);
  listener.reset();
  const auto [second, why] = probing.verdict(1);
  EXPECT_EQ(second, ProbeVerdict::kNotLive);
  EXPECT_NE(why.find("refused"), std::string::npos) << why;
}

TEST(Prober, ASilentServerRunsOutOfTime) {
  // Takes connections and says nothing.
  const net::Fd listener = *net::listen_on("127.0.0.1", 0);
  const Probe probe{.period = 10ms, .timeout = 10ms, .failure_threshold = 3};
  Probing probing(spec_of(probe, {}, {}), net::local_port(listener.get()));
  EXPECT_EQ(probing.verdict(0).first, ProbeVerdict::kStartTimeout);
}

}  // namespace
}  // namespace sluice::process
