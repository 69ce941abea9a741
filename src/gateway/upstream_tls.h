// The TLS contexts of a plan's upstreams.
#pragma once

#include <map>
#include <string>

#include "gateway/upstream.h"
#include "plan/plan.h"

namespace sluice::gateway {

using UpstreamTls = std::map<std::string, TlsPtr>;  // by the upstream's name

// Reads the files that upstreams name; the first that cannot be used fails all, with its place in
// the plan. Upstreams that name none are left out. Blocks on the disk.
Result<UpstreamTls> open_upstream_tls(const plan::Plan& plan);

}  // namespace sluice::gateway
