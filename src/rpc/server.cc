#include "rpc/server.h"

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "rpc/call_kit.h"
#include "rpc/connection_source.h"
#include "rpc/oip_service.h"

namespace sluice::rpc {
namespace {

constexpr int kMaxStreams = 1024;                  // calls at a time on one connection
constexpr size_t kQuotaBytes = size_t{512} << 20;  // buffers of all connections together
constexpr std::chrono::seconds kFarewell{1};       // for what takes no part in the drain
constexpr int kIdleMs = 600'000;                   // a connection without calls is closed then

std::string address(const RpcOptions& options) {
  const bool v6 = options.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", options.host, options.port)
            : fmt::format("{}:{}", options.host, options.port);
}

void set_limits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits::kMaxBodyBytes));
  builder.SetResourceQuota(grpc::ResourceQuota("sluice").Resize(kQuotaBytes));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a second server there must fail
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(limits::kMaxHeaderBytes));
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             static_cast<int>(limits::kHeaderTimeout.count() * 1000));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
}

std::shared_ptr<grpc::ServerCredentials> credentials(const std::optional<RpcTls>& tls) {
  if (!tls) return grpc::InsecureServerCredentials();
  using grpc::experimental::FileWatcherCertificateProvider;
  constexpr unsigned kNever = 0x7fffffff;
  const auto seconds = static_cast<unsigned>(tls->look_again.count());
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<FileWatcherCertificateProvider>(tls->key_file, tls->certificate_file,
                                                       tls->client_ca_file,
                                                       seconds > 0 ? seconds : kNever));
  options.watch_identity_key_cert_pairs();
  if (!tls->client_ca_file.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(tls->client_certificate_required
                                      ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                      : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

int port_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  return address.ss_family == AF_INET6
             ? ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port)
             : ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

// gRPC writes lines of its own to standard error: its errors come into the log, the rest goes.
void log_for_grpc(gpr_log_func_args* line) {
  if (line->severity == GPR_LOG_SEVERITY_ERROR) log_warn("grpc: {}", line->message);
}

}  // namespace

struct RpcServer::Impl {
  KitPtr kit;
  OipService service;
  // Of a handed socket: who takes connections, and who brings them.
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor{};
  std::unique_ptr<grpc::Server> server{};
  std::unique_ptr<ConnectionSource> source{};
  int port = 0;

  void listen(grpc::ServerBuilder& builder);
  Outcome accept();
};

void RpcServer::Impl::listen(grpc::ServerBuilder& builder) {
  const RpcOptions& options = kit->options;
  if (!options.listen_fd) {
    builder.AddListeningPort(address(options), credentials(options.tls), &port);
    return;
  }
  port = port_of(*options.listen_fd);
  acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      credentials(options.tls));
}

Outcome RpcServer::Impl::accept() {
  if (!acceptor) return {};
  SLUICE_ASSIGN_OR_RETURN(
      source, ConnectionSource::start(*kit->options.listen_fd, [this](int listener, int taken) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
        parameters.listener_fd = listener;
        parameters.fd = taken;
        acceptor->HandleNewConnection(&parameters);
      }));
  return {};
}

Result<std::unique_ptr<RpcServer>> RpcServer::start(completion::Backend& backend,
                                                    telemetry::Metrics& metrics,
                                                    WorkerPool& workers, RpcOptions options,
                                                    const Clock& clock) {
  const std::string where = address(options);
  auto kit = std::make_shared<const CallKit>(backend, metrics, workers, std::move(options), clock);
  auto impl = std::unique_ptr<Impl>(new Impl{.kit = kit, .service = OipService(kit)});
  gpr_set_log_function(log_for_grpc);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  set_limits(builder);
  impl->listen(builder);
  builder.RegisterService(&impl->service);
  impl->server = builder.BuildAndStart();
  if (!impl->server || impl->port == 0) {
    return fail(Code::kUnavailable,
                fmt::format("cannot listen for gRPC on {}: is the port taken?", where));
  }
  SLUICE_RETURN_IF_ERROR(impl->accept());
  return std::unique_ptr<RpcServer>(new RpcServer(std::move(impl)));
}

RpcServer::RpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

RpcServer::~RpcServer() { drain(Duration::zero()); }

uint16_t RpcServer::port() const { return static_cast<uint16_t>(impl_->port); }

void RpcServer::leave() {
  if (impl_->source) impl_->source->end();
  impl_->kit->running.leave();
  if (auto* health = impl_->server->GetHealthCheckService()) health->SetServingStatus(false);
}

bool RpcServer::drain(Duration patience) {
  const TimePoint until = sluice::system_clock().now() + patience;
  leave();
  const size_t cut = impl_->kit->running.wait_until(until);
  // Streams that wait for a request and watchers of the health service never end by themselves.
  const Duration rest = std::clamp<Duration>(until - sluice::system_clock().now(), {}, kFarewell);
  impl_->server->Shutdown(std::chrono::system_clock::now() + rest);
  return cut == 0;
}

}  // namespace sluice::rpc
