// How long the gateway takes to follow a plan of many services in which one has changed: reading it
// with its secrets, whole or with what is known of the plan before, and putting it in force. The
// plan is as the platform writes it.
//   reload [services] [rounds]

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/worker_pool.h"
#include "gateway/gateway.h"
#include "net/event_loop.h"
#include "plan/parse.h"
#include "plan/plan_reader.h"
#include "telemetry/metrics.h"

namespace {

using namespace sluice;

// `moved`: the service whose replica has another port in this round.
std::string plan_text(const std::filesystem::path& folder, int services, int moved, int round) {
  std::string upstreams;
  std::string by_host;
  std::string by_model;
  for (int i = 0; i < services; ++i) {
    const std::string name = fmt::format("s{:04}", i);
    const char* comma = i + 1 == services ? "\n" : ",\n";
    const int port = i == moved ? 30'000 + round : 20'000 + i;
    upstreams += fmt::format(
        R"(  {{"name":"default/{0}-predictor-00001","kind":"sluice","endpoints":[{{"name":)"
        R"("{0}-predictor-00001-abcde","url":"http://127.0.0.1:{1}"}}],"internal_token":)"
        R"({{"file":"{2}/{0}"}},"hold":{{"max_wait":"30000ms","max_held":100}}}}{3})",
        name, port, folder.string(), comma);
    const std::string targets = fmt::format(
        R"("targets":[{{"upstream":"default/{0}-predictor-00001","weight":100,"model":"{0}"}}])",
        name);
    by_host += fmt::format(
        R"(  {{"name":"default/{0}@host",{1},"public":true,"match":{{"hosts":["{0}.default"]}},)"
        R"("listed":false}},)"
        "\n",
        name, targets);
    by_model +=
        fmt::format(R"(  {{"name":"default/{0}",{1},"match":{{"models":["{0}","default/{0}"]}},)"
                    R"("public":true}}{2})",
                    name, targets, comma);
  }
  return fmt::format("{{\n\"upstreams\": [\n{}],\n\"routes\": [\n{}{}],\n\"tenants\": []\n}}\n",
                     upstreams, by_host, by_model);
}

void show(const char* name, std::vector<double>& times) {
  std::ranges::sort(times);
  std::printf("%-8s median %6.2f ms   best %6.2f ms   worst %6.2f ms\n", name,
              times[times.size() / 2] * 1e3, times.front() * 1e3, times.back() * 1e3);
}

void must(const Outcome& outcome) {
  if (outcome) return;
  std::fprintf(stderr, "%s\n", std::string(outcome.error().message()).c_str());
  std::exit(1);
}

template <typename T>
T must(Result<T> result) {
  if (!result) must(Outcome(std::unexpected(result.error())));
  return *std::move(result);
}

int run(int services, int rounds, const std::filesystem::path& folder) {
  for (int i = 0; i < services; ++i) {
    std::ofstream(folder / fmt::format("s{:04}", i)) << "token-" << i;
  }
  const auto file = folder / "gateway.json";
  must(write_file_atomically(file, plan_text(folder, services, -1, 0)));
  plan::SecretFiles secrets(plan::system_secrets(), Duration::zero());
  plan::PlanReader reader(file, plan::system_secrets(), Duration::zero());
  auto plan = must(reader.read());
  telemetry::Metrics metrics;
  WorkerPool workers(1, 64);
  auto loop = must(net::EventLoop::create());
  gateway::Gateway gateway(plan, {loop}, workers, metrics);
  std::vector<double> whole;
  std::vector<double> read;
  std::vector<double> applied;
  for (int round = 1; round <= rounds; ++round) {
    must(write_file_atomically(file, plan_text(folder, services, round % services, round)));
    const TimePoint before = system_clock().now();
    must(plan::load_plan(file, secrets.source()));
    const TimePoint began = system_clock().now();
    plan = must(reader.read());
    const TimePoint between = system_clock().now();
    must(gateway.apply(plan));
    const TimePoint ended = system_clock().now();
    whole.push_back(to_seconds(began - before));
    read.push_back(to_seconds(between - began));
    applied.push_back(to_seconds(ended - between));
  }
  show("whole", whole);
  show("read", read);
  show("apply", applied);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const int services = argc > 1 ? std::atoi(argv[1]) : 1000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 50;
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("sluice_reload_{}", ::getpid());
  std::filesystem::create_directories(folder);
  const int status = run(std::max(services, 1), std::max(rounds, 1), folder);
  std::filesystem::remove_all(folder);
  return status;
}
