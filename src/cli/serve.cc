#include "cli/serve.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <thread>
#include <utility>

#include "base/build_info.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sizes.h"
#include "base/thread_team.h"
#include "base/worker_pool.h"
#include "cli/drain.h"
#include "cli/http_metrics.h"
#include "cli/model_path.h"
#include "cli/signals.h"
#include "cli/speculative_config.h"
#include "cli/supervisor.h"
#include "cli/tls_source.h"
#include "cli/tracing.h"
#include "endpoint/endpoints.h"
#include "net/server.h"
#include "rpc/server.h"
#include "serving/local_backend.h"
#include "serving/on_demand_backend.h"
#include "telemetry/metrics.h"

namespace sluice::cli {
namespace {

constexpr int kWorkerThreads = 2;
constexpr size_t kWorkerQueue = 1024;
constexpr auto kTlsLook = std::chrono::seconds(1);

int default_threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

// None for auto.
Result<std::optional<model::KvType>> parse_kv_type(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "f16" || name == "fp16" || name == "float16") {
    return model::KvType::kF16;
  }
  if (name == "bf16" || name == "bfloat16") return model::KvType::kBf16;
  if (name == "f32" || name == "fp32" || name == "float32") return model::KvType::kF32;
  if (name == "int8") return model::KvType::kInt8;
  return invalid(
      fmt::format("--kv-cache-dtype must be auto, f16, bf16, f32 or int8, not '{}'", name));
}

// A template given as text has a brace; anything else names a file.
Result<std::string> read_template(const std::string& given) {
  if (given.find('{') != std::string::npos) return given;
  return read_file(given, limits::kMaxTemplateBytes);
}

Result<serving::ModelSettings> model_settings(const ServeOptions& options) {
  serving::ModelSettings settings;
  if (options.isa != "auto") {
    SLUICE_ASSIGN_OR_RETURN(settings.isa, kernels::parse_isa(options.isa));
    if (!kernels::isa_supported(settings.isa)) {
      return invalid(fmt::format("--isa {}: this processor does not have it", options.isa));
    }
  }
  SLUICE_ASSIGN_OR_RETURN(settings.kv_type, parse_kv_type(options.kv_cache_dtype));
  settings.max_model_len = options.max_model_len;
  settings.max_num_seqs = options.max_num_seqs;
  settings.max_num_batched_tokens = options.max_num_batched_tokens;
  settings.max_step_stretch = options.max_step_stretch;
  SLUICE_ASSIGN_OR_RETURN(const SpeculativeConfig speculative,
                          parse_speculative_config(options.speculative_config));
  settings.speculation = speculative.options;
  if (!speculative.draft_model.empty()) {
    SLUICE_ASSIGN_OR_RETURN(const auto draft, resolve_model(speculative.draft_model));
    settings.draft_model = draft.path;
  }
  settings.block_size = options.block_size;
  if (!options.kv_cache_memory.empty()) {
    SLUICE_ASSIGN_OR_RETURN(settings.kv_cache_bytes, parse_size(options.kv_cache_memory));
  }
  settings.prefix_caching = options.prefix_caching;
  settings.weights_cache_dir = options.weights_cache_dir;
  settings.max_queued_requests = static_cast<size_t>(options.max_queued_requests);
  settings.max_queued_tokens = static_cast<size_t>(options.max_queued_tokens);
  settings.seeded = options.seed >= 0;
  settings.seed = static_cast<uint64_t>(options.seed);
  if (!options.chat_template.empty()) {
    SLUICE_ASSIGN_OR_RETURN(settings.chat_template, read_template(options.chat_template));
  }
  return settings;
}

Result<std::vector<serving::ModelPath>> model_paths(const ServeOptions& options) {
  std::vector<serving::ModelPath> paths;
  if (options.models.empty() && options.model_repository.empty()) {
    return invalid("give a MODEL, or a folder of models with --model-repository");
  }
  for (const std::string& given : options.models) {
    SLUICE_ASSIGN_OR_RETURN(auto path, resolve_model(given));
    if (paths.empty() && !options.served_model_names.empty()) {
      path.names = options.served_model_names;
    }
    paths.push_back(std::move(path));
  }
  if (options.model_repository.empty()) return paths;
  SLUICE_ASSIGN_OR_RETURN(auto found, models_in(options.model_repository));
  std::ranges::move(found, std::back_inserter(paths));
  return paths;
}

// Models on demand where there are more of them than memory, else as they are all loaded now.
Result<std::unique_ptr<serving::ServingBackend>> make_backend(const ServeOptions& options,
                                                              ThreadTeam& team,
                                                              telemetry::Metrics& metrics) {
  if (options.model_memory.empty() && options.model_repository.empty()) {
    return std::make_unique<serving::LocalBackend>(team, metrics);
  }
  serving::OnDemandOptions on_demand;
  if (!options.model_memory.empty()) {
    SLUICE_ASSIGN_OR_RETURN(on_demand.memory_bytes, parse_size(options.model_memory));
    if (on_demand.memory_bytes <= 0) return invalid("--model-memory-bytes must be above 0");
  }
  on_demand.load_patience = std::chrono::seconds(options.model_load_timeout_seconds);
  on_demand.max_waiting = static_cast<size_t>(options.max_queued_requests);
  auto backend = std::make_unique<serving::OnDemandBackend>(on_demand, team, metrics);
  log_info("models are loaded on demand, {} at most", show_size(backend->memory_bytes()));
  return backend;
}

// None: in the clear.
Result<std::unique_ptr<TlsSource>> tls_source(const ServeOptions& options) {
  if (options.ssl_certfile.empty() != options.ssl_keyfile.empty()) {
    return invalid("--ssl-certfile and --ssl-keyfile go together");
  }
  if ((options.ssl_cert_reqs > 0) != !options.ssl_ca_certs.empty()) {
    return invalid("--ssl-ca-certs and --ssl-cert-reqs 1 or 2 go together");
  }
  if (options.ssl_certfile.empty()) {
    if (options.ssl_ca_certs.empty()) return nullptr;
    return invalid("--ssl-ca-certs needs --ssl-certfile and --ssl-keyfile");
  }
  return TlsSource::open({.identities = {{options.ssl_certfile, options.ssl_keyfile}},
                          .client_ca_file = options.ssl_ca_certs,
                          .client_certificate_required = options.ssl_cert_reqs == 2});
}

// What gRPC's callers send, checked as HTTP's headers are.
rpc::RpcOptions rpc_options(const ServeOptions& options) {
  const auto auth = std::make_shared<endpoint::Auth>(
      endpoint::public_keys(options.api_keys, options.admin_keys), std::string());
  const auto admin_auth = std::make_shared<endpoint::AdminAuth>(options.admin_keys);
  const auto request = [](const rpc::CallHeaders& headers) {
    net::HttpRequest out;
    out.headers = headers;
    return out;
  };
  rpc::RpcOptions rpc;
  rpc.host = options.host;
  rpc.port = static_cast<uint16_t>(options.grpc_port);
  if (!options.ssl_certfile.empty()) {
    rpc.tls = rpc::RpcTls{.certificate_file = options.ssl_certfile,
                          .key_file = options.ssl_keyfile,
                          .client_ca_file = options.ssl_ca_certs,
                          .client_certificate_required = options.ssl_cert_reqs == 2,
                          .look_again = options.ssl_refresh ? kTlsLook : std::chrono::seconds(0)};
  }
  rpc.request_timeout = std::chrono::seconds(options.request_timeout_seconds);
  rpc.authorize = [=](const rpc::CallHeaders& headers, const std::string&) -> Result<rpc::Caller> {
    const net::HttpRequest like = request(headers);
    SLUICE_ASSIGN_OR_RETURN(auto tenant, auth->check(like));
    rpc::Caller caller{.tenant = std::move(tenant)};
    if (const auto trace = telemetry::parse_traceparent(like.header("traceparent"))) {
      caller.trace = *trace;
    }
    return caller;
  };
  rpc.authorize_admin = [=](const rpc::CallHeaders& headers) {
    return admin_auth->check(request(headers));
  };
  return rpc;
}

// The parts of a running server, in the order in which they depend on each other.
class Server {
 public:
  static Result<std::unique_ptr<Server>> start(const ServeOptions& options) {
    SLUICE_ASSIGN_OR_RETURN(auto settings, model_settings(options));
    SLUICE_ASSIGN_OR_RETURN(const auto paths, model_paths(options));
    SLUICE_ASSIGN_OR_RETURN(auto tls, tls_source(options));
    std::unique_ptr<Server> server(new Server(options));
    SLUICE_ASSIGN_OR_RETURN(server->backend_,
                            make_backend(options, server->team_, server->metrics_));
    server->add_endpoints(options);
    server->tls_ = std::move(tls);
    SLUICE_ASSIGN_OR_RETURN(server->tracing_,
                            open_tracing(options.otlp_traces_endpoint, "sluice", server->metrics_));
    if (server->tracing_) settings.tracer = &server->tracing_->tracer();
    for (const serving::ModelPath& path : paths) {
      const Outcome added = server->backend_->add_model(path, settings);
      if (!added) return std::unexpected(added.error().at(path.path.string()));
    }
    // Before HTTP, one of whose routes tells gRPC to leave.
    if (options.grpc_port >= 0) {
      SLUICE_ASSIGN_OR_RETURN(server->rpc_,
                              rpc::RpcServer::start(*server->backend_, server->metrics_,
                                                    *server->workers_, rpc_options(options)));
    }
    net::ServerOptions http;
    http.host = options.host;
    http.port = static_cast<uint16_t>(options.port);
    http.listen_fd = take_inherited_socket();  // of a keeper, or systemd
    http.error_body = endpoint::Endpoints::error_page;
    if (server->tls_) http.tls = server->tls_->context();
    SLUICE_ASSIGN_OR_RETURN(server->http_, net::HttpServer::start(http, server->endpoints_));
    report_http(server->metrics_, [&http = *server->http_] { return http.stats(); });
    return server;
  }

  ~Server() {
    if (rpc_) rpc_->drain(Duration::zero());
    http_.reset();
    workers_.reset();  // their tasks refer to the endpoints
  }

  uint16_t port() const { return http_->port(); }
  // None: gRPC is off.
  std::optional<uint16_t> grpc_port() const {
    return rpc_ ? std::optional(rpc_->port()) : std::nullopt;
  }
  bool secured() const { return tls_ != nullptr; }
  // The TLS files may have changed.
  void refresh_tls() {
    if (tls_ && tls_->refresh()) http_->set_tls(tls_->context());
  }
  std::vector<completion::ModelCard> models() const { return backend_->models(); }

  // New requests are refused from here on, as unavailable; true when all others were answered in
  // time.
  bool drain(Duration patience) {
    const TimePoint until = system_clock().now() + patience;
    refuse();
    endpoints_->leave();
    const bool answered = http_->drain(patience);
    if (!rpc_) return answered;
    return rpc_->drain(std::max(Duration::zero(), until - system_clock().now())) && answered;
  }

 private:
  void refuse() {
    backend_->drain();
    if (rpc_) rpc_->leave();
  }

  explicit Server(const ServeOptions& options)
      : team_(options.threads > 0 ? options.threads : default_threads()),
        workers_(std::make_unique<WorkerPool>(kWorkerThreads, kWorkerQueue)) {}

  void add_endpoints(const ServeOptions& options) {
    endpoints_ = std::make_shared<endpoint::Endpoints>(
        *backend_, metrics_, *workers_,
        endpoint::EndpointOptions{
            .api_keys = options.api_keys,
            .admin_keys = options.admin_keys,
            .metrics_public = options.metrics_public,
            .internal_token = options.internal_token,
            .request_timeout = std::chrono::seconds(options.request_timeout_seconds),
            .drain = [this] { refuse(); }});
  }

  ThreadTeam team_;
  telemetry::Metrics metrics_;
  std::unique_ptr<Tracing> tracing_;  // null: nothing is traced
  std::unique_ptr<serving::ServingBackend> backend_;
  std::unique_ptr<WorkerPool> workers_;
  std::shared_ptr<endpoint::Endpoints> endpoints_;
  std::unique_ptr<TlsSource> tls_;
  std::unique_ptr<net::HttpServer> http_;
  std::unique_ptr<rpc::RpcServer> rpc_;
};

}  // namespace

ServeOptions::ServeOptions()
    : max_num_seqs(limits::kMaxSequences),
      max_num_batched_tokens(limits::kMaxBatchedTokens),
      max_step_stretch(limits::kMaxStepStretch),
      speculative_config(R"({"method":"ngram"})"),
      block_size(limits::kBlockSize),
      max_queued_requests(static_cast<int>(limits::kMaxQueuedRequests)),
      max_queued_tokens(static_cast<int64_t>(limits::kMaxQueuedTokens)) {}

int run_serve(const ServeOptions& options) {
  const auto level = parse_log_level(options.log_level);
  if (!level) {
    log_error("{}", level.error().message());
    return 2;
  }
  set_log_level(*level);
  const Signals signals;
  auto server = Server::start(options);
  if (!server) {
    log_error("{}", server.error().message());
    return 1;
  }
  for (const completion::ModelCard& card : (*server)->models()) {
    log_info("model '{}' from {}, context {}", card.id, card.root, card.max_model_len);
  }
  const std::string shown = options.host.find(':') == std::string::npos
                                ? options.host
                                : fmt::format("[{}]", options.host);
  log_info("sluice {} serves on {}://{}:{}", kVersion, (*server)->secured() ? "https" : "http",
           shown, (*server)->port());
  if (const auto port = (*server)->grpc_port()) {
    log_info("sluice serves gRPC on {}:{}", shown, *port);
  }
  int signal = 0;
  while (signal == 0) {
    signal =
        options.ssl_refresh && (*server)->secured() ? signals.wait_for(kTlsLook) : signals.wait();
    if (signal == 0) (*server)->refresh_tls();
  }
  log_info("signal {}: draining", signal);
  return drain_or_exit([&](Duration patience) { return (*server)->drain(patience); }, signals,
                       options.shutdown_timeout_seconds);
}

}  // namespace sluice::cli
