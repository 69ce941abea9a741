// ReplicaMetrics: fetches a replica's /metrics with the key that only the platform knows, for
// `sluice top` and for Prometheus: GET …/replicas/NAME/metrics of the API.
//
// Any thread; answers come on the HTTP client's. Destroying it ends what is under way.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/status.h"
#include "control/object_store.h"
#include "net/client.h"
#include "net/server.h"

namespace sluice::cli {

class ReplicaMetrics {
 public:
  // `data` holds the platform's key.
  static Result<std::unique_ptr<ReplicaMetrics>> open(const std::filesystem::path& data);

  void answer(const control::ObjectPtr& replica, const std::shared_ptr<net::Responder>& responder);

 private:
  explicit ReplicaMetrics(std::string master) : master_(std::move(master)) {}

  const std::string master_;
  net::HttpClient http_;
};

}  // namespace sluice::cli
