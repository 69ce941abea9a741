// The certificates of a server, taken anew when their files change.
#pragma once

#include <memory>
#include <string>

#include "net/tls.h"

namespace sluice::cli {

// For one thread.
class TlsSource {
 public:
  // Fails when a file cannot be used.
  static Result<std::unique_ptr<TlsSource>> open(net::TlsServerOptions options);

  const std::shared_ptr<const net::TlsContext>& context() const { return context_; }
  const net::TlsServerOptions& options() const { return options_; }

  // True when the files have changed and context() is a new one. Files that cannot be used (one
  // half of a pair is there before the other) are told to the log; the context stays.
  bool refresh();

 private:
  explicit TlsSource(net::TlsServerOptions options) : options_(std::move(options)) {}
  std::string stamp() const;

  const net::TlsServerOptions options_;
  std::string stamp_;
  std::shared_ptr<const net::TlsContext> context_;
};

}  // namespace sluice::cli
