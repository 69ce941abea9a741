// A gateway of the smallest kind for tests: the public endpoints over an UnbrokenBackend whose
// replicas stand on the command line and are taken in turn.
//   unbroken_gateway TOKEN URL…

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/worker_pool.h"
#include "endpoint/endpoints.h"
#include "gateway/unbroken_backend.h"
#include "net/server.h"
#include "telemetry/metrics.h"

namespace {

using namespace sluice;  // NOLINT(google-build-using-namespace)

class InTurn : public gateway::ReplicaChooser, public gateway::UnbrokenRoutes {
 public:
  InTurn(const std::string& token, const std::vector<std::string>& urls) {
    for (const std::string& url : urls) {
      replicas_.push_back(std::make_shared<const gateway::ReplicaInfo>(
          gateway::ReplicaInfo{.name = url,
                               .upstream = "all",
                               .url = url,
                               .kind = gateway::ReplicaKind::kSluice,
                               .internal_token = token,
                               .model = "",
                               .fingerprint = "",
                               .revision = ""}));
    }
  }

  Result<gateway::ReplicaLease> choose(const gateway::ChooseRequest& request) override {
    for (size_t i = 0; i < replicas_.size(); ++i) {
      const auto& replica = replicas_[next_++ % replicas_.size()];
      const auto excluded = std::ranges::find(request.excluded, replica->name);
      if (excluded == request.excluded.end()) return gateway::ReplicaLease(replica, nullptr);
    }
    return fail(Code::kUnavailable, "no replica is left");
  }
  Result<gateway::UnbrokenRoute> route(const completion::Request&) const override {
    return gateway::UnbrokenRoute{};
  }
  Result<std::string> route_of_model(const std::string&) const override { return std::string(); }
  std::vector<std::string> models() const override { return {""}; }

 private:
  std::vector<std::shared_ptr<const gateway::ReplicaInfo>> replicas_;
  std::atomic<size_t> next_{0};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  InTurn replicas(argv[1], std::vector<std::string>(argv + 2, argv + argc));
  telemetry::Metrics metrics;
  net::HttpClient client;
  gateway::UnbrokenBackend backend(replicas, replicas, client, metrics);
  auto workers = std::make_unique<WorkerPool>(2, 1024);
  auto endpoints = std::make_shared<endpoint::Endpoints>(backend, metrics, *workers,
                                                         endpoint::EndpointOptions{});
  net::ServerOptions http;
  http.error_body = endpoint::Endpoints::error_page;
  auto server = net::HttpServer::start(http, endpoints);
  if (!server) return 1;
  std::fprintf(stderr, "serves on http://127.0.0.1:%d\n", static_cast<int>((*server)->port()));
  int signal = 0;
  sigwait(&ends, &signal);
  server->reset();
  workers.reset();  // their tasks refer to the endpoints
  return 0;
}
