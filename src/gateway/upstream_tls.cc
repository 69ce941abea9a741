#include "gateway/upstream_tls.h"

#include <fmt/format.h>

#include <utility>

namespace sluice::gateway {

Result<UpstreamTls> open_upstream_tls(const plan::Plan& plan) {
  UpstreamTls out;
  for (const plan::Upstream& upstream : plan.upstreams) {
    if (!upstream.tls) continue;
    const plan::UpstreamTlsPlan& tls = *upstream.tls;
    auto context = net::TlsContext::for_client(
        {.ca_file = tls.ca, .identity = {tls.identity.certificate, tls.identity.key}});
    if (!context) {
      return std::unexpected(context.error().at(fmt::format("upstream {}: tls", upstream.name)));
    }
    out.emplace(upstream.name, *std::move(context));
  }
  return out;
}

}  // namespace sluice::gateway
