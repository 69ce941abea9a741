// The platform's services in figures, in Prometheus' text format. They are written anew for each
// scrape, so that those of services that are gone are gone too.
#pragma once

#include <string>

#include "control/object_store.h"

namespace sluice::cli {

// Any thread.
std::string service_metrics(const control::ObjectStore& store);

}  // namespace sluice::cli
