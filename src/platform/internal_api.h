// InternalApi: where gateways tell the controller of their load: HTTP on loopback, bearer token.
//
//   POST /internal/v1/load   a plan::LoadReport; answered 204
//   GET  /health             200, for anybody
//
// Owns its server and one thread. The listener is called on that thread and must not block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace sluice::net {
class HttpServer;
}

namespace sluice::platform {

class LoadBook;

struct InternalApiOptions {
  uint16_t port = 0;  // 0: any free one
  std::string token;  // that gateways send; not empty
};

class InternalApi {
 public:
  // Called for every report that was taken, with the upstreams that requests wait for.
  using OnReport = std::function<void(const std::vector<std::string>& awaited)>;

  // `book` outlives it.
  static Result<std::unique_ptr<InternalApi>> start(const InternalApiOptions& options,
                                                    LoadBook& book, OnReport on_report,
                                                    const Clock& clock = system_clock());
  ~InternalApi();

  uint16_t port() const;
  std::string url() const;  // http://127.0.0.1:PORT

 private:
  explicit InternalApi(std::unique_ptr<net::HttpServer> server);
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace sluice::platform
