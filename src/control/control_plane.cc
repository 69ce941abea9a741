#include "control/control_plane.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "control/credentials.h"
#include "control/events.h"
#include "control/limits.h"
#include "net/tls.h"

namespace sluice::control {
namespace {

constexpr std::chrono::seconds kTick{1};
constexpr int kTicksPerExpiry = 30;

net::ServerOptions server_options(const ControlOptions& options) {
  net::ServerOptions http;
  http.host = options.host;
  http.port = options.port;
  http.listen_fd = options.listen_fd;
  http.limits.body_bytes = limits::kMaxBodyBytes;
  http.limits.connections = 2 * limits::kMaxWatchers;
  http.error_body = ApiServer::error_page;
  return http;
}

std::vector<std::string> host_names(const std::string& host) {
  std::vector<std::string> names = {"127.0.0.1", "::1", "localhost"};
  if (host != "0.0.0.0" && host != "::") names.push_back(host);
  return names;
}

}  // namespace

Result<std::unique_ptr<ControlPlane>> ControlPlane::start(const ControlOptions& options) {
  std::unique_ptr<ControlPlane> plane(new ControlPlane());
  SLUICE_RETURN_IF_ERROR(plane->open(options));
  return plane;
}

ControlPlane::~ControlPlane() {
  if (housekeeper_.joinable()) {
    housekeeper_.request_stop();
    housekeeper_.join();
  }
  if (store_) store_->end_watchers();
  if (api_) api_->logs().end();
  http_.reset();
  api_.reset();
  if (lock_ >= 0) ::close(lock_);
}

Outcome ControlPlane::lock_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return fail(Code::kPermissionDenied,
                fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
  }
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  const std::filesystem::path path = folder / "lock";
  lock_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0) {
    return fail(Code::kPermissionDenied,
                fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  }
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    return fail(
        Code::kFailedPrecondition,
        fmt::format("another controller uses {}: end it, or give another --data", folder.string()));
  }
  return {};
}

Outcome ControlPlane::open(const ControlOptions& options) {
  SLUICE_RETURN_IF_ERROR(lock_folder(options.folder));
  SLUICE_ASSIGN_OR_RETURN(audit_, Audit::open(options.folder / "audit.log"));
  // Kubeconfigs are written once there are objects.
  std::error_code error;
  const bool used = std::filesystem::exists(kubeconfig_path(options.folder, Role::kAdmin), error);
  SLUICE_ASSIGN_OR_RETURN(store_, ObjectStore::open(options.folder / "control.db", {},
                                                    used ? ObjectStore::Expect::kObjects
                                                         : ObjectStore::Expect::kAnything));
  objects_ = std::make_unique<Objects>(*store_, options.policy);
  if (const ApiOutcome made = objects_->bootstrap(); !made) {
    return fail(Code::kInternal, made.error().message);
  }
  SLUICE_ASSIGN_OR_RETURN(const Certificate certificate,
                          ensure_certificate(options.folder, options.host));
  SLUICE_ASSIGN_OR_RETURN(std::vector<Token> tokens, ensure_tokens(options.folder));
  api_ = std::make_shared<ApiServer>(*objects_, Access(std::move(tokens), host_names(options.host)),
                                     *audit_, metrics_);
  net::ServerOptions http = server_options(options);
  SLUICE_ASSIGN_OR_RETURN(
      http.tls, net::TlsContext::for_server(
                    {.identities = {{.certificate_file = certificate.certificate_file.string(),
                                     .key_file = certificate.key_file.string()}}}));
  SLUICE_ASSIGN_OR_RETURN(http_, net::HttpServer::start(std::move(http), api_));
  SLUICE_RETURN_IF_ERROR(
      write_kubeconfigs(options.folder, options.host, http_->port(), certificate));
  housekeeper_ = std::jthread([this](const std::stop_token& stop) { keep_house(stop); });
  return {};
}

// Bookmarks and ends of watches once a second, old events every half minute.
void ControlPlane::keep_house(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (int tick = 0; !stop.stop_requested(); ++tick) {
    wake_.wait_for(lock, stop, kTick, [] { return false; });
    if (stop.stop_requested()) return;
    if (store_->watchers() > 0) store_->poll_watchers();
    objects_->sweep();
    if (tick % kTicksPerExpiry == 0) {
      expire_events(*objects_);
      // What a burst of changes has left behind is the system's again.
      malloc_trim(0);
    }
  }
}

bool ControlPlane::drain(Duration patience) {
  api_->set_draining();
  http_->stop_accepting();
  store_->end_watchers();
  api_->logs().end();
  return http_->drain(patience);
}

}  // namespace sluice::control
