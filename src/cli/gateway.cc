#include "cli/gateway.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/build_info.h"
#include "base/log.h"
#include "base/memory_info.h"
#include "base/worker_pool.h"
#include "cli/config_watch.h"
#include "cli/drain.h"
#include "cli/http_metrics.h"
#include "cli/signals.h"
#include "cli/supervisor.h"
#include "cli/tls_source.h"
#include "cli/tracing.h"
#include "endpoint/endpoints.h"
#include "gateway/gateway.h"
#include "gateway/graph.h"
#include "gateway/typed_door.h"
#include "gateway/unbroken_front.h"
#include "net/event_loop.h"
#include "net/forwarded.h"
#include "net/server.h"
#include "plan/parse.h"
#include "plan/plan_reader.h"
#include "rpc/server.h"
#include "telemetry/metrics.h"

namespace sluice::cli {
namespace {

constexpr int kWorkerThreads = 8;  // they wait for replicas and name servers, too
constexpr size_t kWorkerQueue = 1024;
constexpr auto kReadyPatience = std::chrono::seconds(3);
constexpr std::chrono::milliseconds kReadyLook{10};
constexpr std::chrono::hours kLongestRequest{24};  // a route's timeouts.total ends it before

std::string shown_address(const plan::Plan& plan, const std::string& host, uint16_t port) {
  const std::string_view scheme = plan.server.tls ? "https" : "http";
  return host.find(':') == std::string::npos ? fmt::format("{}://{}:{}", scheme, host, port)
                                             : fmt::format("{}://[{}]:{}", scheme, host, port);
}

net::TlsServerOptions tls_options(const plan::ServerTlsPlan& plan) {
  net::TlsServerOptions options{.identities = {},
                                .client_ca_file = plan.client_ca,
                                .client_certificate_required = plan.client_certificate_required};
  for (const plan::CertificateFiles& files : plan.certificates) {
    options.identities.push_back({files.certificate, files.key});
  }
  return options;
}

// Where to listen: what the plan says, else the flags.
plan::Listener listener_of(const plan::Plan& plan, const GatewayOptions& options) {
  if (!plan.listeners.empty()) return plan.listeners.front();
  return {.host = options.host, .port = static_cast<uint16_t>(options.port)};
}

// Over TLS with the first of the plan's certificates: gRPC shows one to everybody.
rpc::RpcOptions rpc_options(const plan::Plan& plan, const GatewayOptions& options,
                            std::optional<int> socket, gateway::TypedDoor& door) {
  rpc::RpcOptions rpc;
  rpc.host = listener_of(plan, options).host;
  rpc.port = static_cast<uint16_t>(options.grpc_port);
  rpc.listen_fd = socket;
  rpc.request_timeout = kLongestRequest;
  if (plan.server.tls) {
    const plan::ServerTlsPlan& tls = *plan.server.tls;
    rpc.tls = rpc::RpcTls{.certificate_file = tls.certificates.front().certificate,
                          .key_file = tls.certificates.front().key,
                          .client_ca_file = tls.client_ca,
                          .client_certificate_required = tls.client_certificate_required,
                          .look_again = std::chrono::seconds(options.reload_seconds)};
  }
  rpc.authorize = [&door](const rpc::CallHeaders& headers,
                          const std::string& peer) -> Result<rpc::Caller> {
    SLUICE_ASSIGN_OR_RETURN(auto caller, door.identify(headers, peer));
    return rpc::Caller{.tenant = std::string(caller->caller.tenant_name()),
                       .context = std::move(caller)};
  };
  rpc.authorize_admin = [&door](const rpc::CallHeaders& headers) {
    return door.check_admin(headers);
  };
  rpc.may_use = [&door](const rpc::Caller& caller, const std::string& model) {
    return door.may_use(*static_cast<const gateway::TypedCaller*>(caller.context.get()), model);
  };
  return rpc;
}

// The parts of a running gateway. They end in the order opposite to that in which they stand: first
// the server, with its loops, which hands work to the workers; then the workers, whose tasks use
// the front and the gateway.
class GatewayProcess {
 public:
  static Result<std::unique_ptr<GatewayProcess>> start(
      const std::shared_ptr<const plan::Plan>& plan, const GatewayOptions& options) {
    std::vector<std::shared_ptr<net::EventLoop>> loops;
    for (int i = 0; i < options.io_threads; ++i) {
      SLUICE_ASSIGN_OR_RETURN(auto loop, net::EventLoop::create());
      loops.push_back(std::move(loop));
    }
    auto workers = std::make_unique<WorkerPool>(kWorkerThreads, kWorkerQueue);
    std::unique_ptr<GatewayProcess> process(new GatewayProcess(plan, loops, std::move(workers)));
    SLUICE_ASSIGN_OR_RETURN(process->tracing_, open_tracing(options.otlp_traces_endpoint,
                                                            "sluice-gateway", process->metrics_));
    if (process->tracing_) process->gateway_->set_tracer(&process->tracing_->tracer());
    SLUICE_RETURN_IF_ERROR(process->gateway_->open());
    const plan::Listener listener = listener_of(*plan, options);
    net::ServerOptions http;
    http.host = listener.host;
    http.port = listener.port;
    // A supervisor's: HTTP's, then gRPC's where there is one.
    const std::vector<int> handed = take_inherited_sockets(2);
    if (!handed.empty()) http.listen_fd = handed.front();
    const auto grpc_socket = handed.size() > 1 ? std::optional(handed.back()) : std::nullopt;
    http.loops = loops;
    http.limits.connections = plan->server.max_connections;
    http.limits.body_bytes = plan->server.max_body_bytes;
    http.error_body = endpoint::Endpoints::error_page;
    if (!plan->server.trusted_proxies.empty()) {
      http.trusted_proxies =
          std::make_shared<const net::TrustedProxies>(plan->server.trusted_proxies);
    }
    if (plan->server.tls) {
      SLUICE_ASSIGN_OR_RETURN(process->tls_, TlsSource::open(tls_options(*plan->server.tls)));
      http.tls = process->tls_->context();
    }
    SLUICE_ASSIGN_OR_RETURN(process->http_, net::HttpServer::start(http, process->gateway_));
    report_http(process->metrics_, [&http = *process->http_] { return http.stats(); });
    if (options.grpc_port >= 0) {
      SLUICE_ASSIGN_OR_RETURN(
          process->rpc_,
          rpc::RpcServer::start(process->door_, process->metrics_, *process->workers_,
                                rpc_options(*plan, options, grpc_socket, process->door_)));
    }
    process->gateway_->begin();
    return process;
  }

  ~GatewayProcess() {
    rpc_.reset();  // its calls are given up on the loops, which run until http_ ends
    if (http_) gateway_->end();
    http_.reset();
    front_.end();
  }

  uint16_t port() const { return http_->port(); }
  // None: gRPC is off.
  std::optional<uint16_t> grpc_port() const {
    return rpc_ ? std::optional(rpc_->port()) : std::nullopt;
  }
  gateway::Gateway& gateway() { return *gateway_; }

  // Whole or not at all: the certificates are read before the plan is taken.
  Outcome apply(const std::shared_ptr<const plan::Plan>& plan) {
    std::unique_ptr<TlsSource> tls;
    if (plan->server.tls) {
      SLUICE_ASSIGN_OR_RETURN(tls, TlsSource::open(tls_options(*plan->server.tls)));
    }
    SLUICE_RETURN_IF_ERROR(gateway_->apply(plan));
    if (tls) {
      tls_ = std::move(tls);
      http_->set_tls(tls_->context());
    }
    return {};
  }

  // The TLS files may have changed.
  void refresh_tls() {
    if (tls_ && tls_->refresh()) http_->set_tls(tls_->context());
  }

  bool drain(Duration patience) {
    const TimePoint until = system_clock().now() + patience;
    gateway_->drain();
    if (rpc_) rpc_->leave();
    bool answered = http_->drain(patience);
    if (rpc_) {
      const Duration left = std::max(Duration::zero(), until - system_clock().now());
      answered = rpc_->drain(left) && answered;
    }
    gateway_->end_reports();
    return answered;
  }

 private:
  GatewayProcess(std::shared_ptr<const plan::Plan> plan,
                 const std::vector<std::shared_ptr<net::EventLoop>>& loops,
                 std::unique_ptr<WorkerPool> workers)
      : gateway_(std::make_shared<gateway::Gateway>(std::move(plan), loops, *workers, metrics_)),
        front_(
            gateway_->relay_host(), [this] { return gateway_->snapshot(); }, gateway_->chooser(),
            *workers, metrics_, [this] { return gateway_->quota(); }),
        door_(*gateway_, front_, *loops.front(), *workers),
        workers_(std::move(workers)) {
    gateway_->set_sluice_handler(
        [this](gateway::RelayRequest request) { front_.answer(std::move(request)); });
  }

  telemetry::Metrics metrics_;
  std::unique_ptr<Tracing> tracing_;  // null: nothing is traced
  std::shared_ptr<gateway::Gateway> gateway_;
  gateway::UnbrokenFront front_;
  gateway::TypedDoor door_;
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<TlsSource> tls_;
  std::unique_ptr<net::HttpServer> http_;
  std::unique_ptr<rpc::RpcServer> rpc_;
};

// Takes the configuration anew when its files have changed, or on SIGHUP.
class Reloader {
 public:
  // `stamp` is of before the plan in force was read by `reader`.
  Reloader(GatewayProcess& process, const GatewayOptions& options, plan::PlanReader& reader,
           std::string stamp)
      : process_(process), options_(options), reader_(reader), stamp_(std::move(stamp)) {}

  void look() {
    process_.refresh_tls();
    if (plan::plan_stamp(options_.config) != stamp_) reload();
  }

  void reload() {
    stamp_ = plan::plan_stamp(options_.config);
    auto plan = reader_.read();
    if (!plan) {
      process_.gateway().note_bad_reload();
      log_error("the configuration was refused, the one before stays in force:\n{}",
                plan.error().message());
      return;
    }
    const Outcome applied = process_.apply(*plan);
    if (!applied) {
      process_.gateway().note_bad_reload();
      log_error("the configuration was refused, the one before stays in force:\n{}",
                applied.error().message());
      return;
    }
    log_info("configuration taken: {} routes, {} upstreams, {} tenants", (*plan)->routes.size(),
             (*plan)->upstreams.size(), (*plan)->tenants.size());
  }

 private:
  GatewayProcess& process_;
  const GatewayOptions& options_;
  plan::PlanReader& reader_;
  std::string stamp_;
};

int check(const GatewayOptions& options) {
  const auto plan = plan::load_plan(options.config);
  if (!plan) {
    fmt::print(stderr, "{}\n", plan.error().message());
    return 1;
  }
  if (const Outcome good = gateway::check_templates(**plan); !good) {
    fmt::print(stderr, "{}\n", good.error().message());
    return 1;
  }
  fmt::print("{}: {} routes, {} upstreams, {} tenants\n", options.config, (*plan)->routes.size(),
             (*plan)->upstreams.size(), (*plan)->tenants.size());
  return 0;
}

int supervise(const GatewayOptions& options) {
  const auto plan = plan::load_plan(options.config);
  if (!plan) {
    log_error("{}", plan.error().message());
    return 1;
  }
  const plan::Listener listener = listener_of(**plan, options);
  SupervisorOptions supervisor{
      .command = {}, .host = listener.host, .port = listener.port, .grpc_port = options.grpc_port};
  std::ranges::remove_copy(options.command, std::back_inserter(supervisor.command), "--supervise");
  return run_supervised(supervisor);
}

}  // namespace

int run_gateway(const GatewayOptions& options) {
  const auto level = parse_log_level(options.log_level);
  if (!level) {
    log_error("{}", level.error().message());
    return 2;
  }
  set_log_level(*level);
  if (options.check) return check(options);
  if (options.supervise) return supervise(options);
  const Signals signals(Signals::kServing);
  ConfigWatch watch(options.config);  // before the file is read: no change is missed
  std::string stamp = plan::plan_stamp(options.config);
  plan::PlanReader reader(options.config);
  auto plan = reader.read();
  if (!plan) {
    log_error("{}", plan.error().message());
    return 1;
  }
  auto process = GatewayProcess::start(*plan, options);
  if (!process) {
    log_error("{}", process.error().message());
    return 1;
  }
  log_info("sluice {} gateway serves on {}", kVersion,
           shown_address(**plan, listener_of(**plan, options).host, (*process)->port()));
  if (const auto port = (*process)->grpc_port()) {
    log_info("sluice gateway serves gRPC on {}:{}", listener_of(**plan, options).host, *port);
  }
  Reloader reloader(**process, options, reader, std::move(stamp));
  // Who waits for this process may send the one before away: discovery should have found somebody.
  const TimePoint ready_until = system_clock().now() + kReadyPatience;
  bool told = false;
  while (true) {
    if (!told && ((*process)->gateway().ready() || system_clock().now() >= ready_until)) {
      notify_ready();
      give_back_start_pages();
      told = true;
    }
    const int signal = signals.wait_for(
        told ? std::chrono::seconds(options.reload_seconds) : kReadyLook, watch.fd());
    if (signal == 0) {
      // What the watch missed is seen with the next look at the files themselves; what happens
      // twice to one file is one change.
      if (watch.changed() || told) reloader.look();
    } else if (signal == SIGHUP) {
      reloader.reload();
    } else if (signal == SIGUSR1) {
      // Whoever sends requests here looks at /ready, and goes elsewhere while all are answered.
      log_info("the end is near: not ready any more, and answering");
      (*process)->gateway().drain();
    } else {
      log_info("signal {}: draining", signal);
      return drain_or_exit([&](Duration patience) { return (*process)->drain(patience); }, signals,
                           options.shutdown_timeout_seconds);
    }
  }
}

}  // namespace sluice::cli
