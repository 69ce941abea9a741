#include "cli/tls_source.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <utility>

#include "base/log.h"

namespace sluice::cli {

Result<std::unique_ptr<TlsSource>> TlsSource::open(net::TlsServerOptions options) {
  std::unique_ptr<TlsSource> source(new TlsSource(std::move(options)));
  // Before the files are read: a change behind it is seen as one.
  source->stamp_ = source->stamp();
  SLUICE_ASSIGN_OR_RETURN(source->context_, net::TlsContext::for_server(source->options_));
  return source;
}

bool TlsSource::refresh() {
  std::string now = stamp();
  if (now == stamp_) return false;
  stamp_ = std::move(now);
  auto context = net::TlsContext::for_server(options_);
  if (!context) {
    log_error("the TLS files have changed and were refused, those before stay in use: {}",
              context.error().message());
    return false;
  }
  context_ = *std::move(context);
  log_info("new TLS certificates are in use");
  return true;
}

std::string TlsSource::stamp() const {
  std::string all;
  const auto add = [&](const std::string& path) {
    struct stat info{};
    if (path.empty() || ::stat(path.c_str(), &info) != 0) {
      all += "-;";
      return;
    }
    all += fmt::format("{} {} {}.{};", info.st_ino, info.st_size, info.st_mtim.tv_sec,
                       info.st_mtim.tv_nsec);
  };
  for (const net::TlsIdentity& identity : options_.identities) {
    add(identity.certificate_file);
    add(identity.key_file);
  }
  add(options_.client_ca_file);
  return all;
}

}  // namespace sluice::cli
