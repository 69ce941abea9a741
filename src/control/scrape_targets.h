// Scrape targets: the replicas' pages of metrics as Prometheus' HTTP service discovery wants them
// (prometheus.io/docs, "Writing HTTP service discovery"), behind this server's own address:
// .../replicas/NAME/metrics passes a replica's page on.
//
// Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "control/object_store.h"

namespace sluice::control {

// Of the replicas that take requests, by name. `host` is how whoever asks calls this server.
std::string scrape_targets(const ObjectStore& store, std::string_view host);

}  // namespace sluice::control
