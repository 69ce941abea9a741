// Platform: the control plane's hands: watches the objects of a ControlPlane, runs replicas by a
// ReplicaBackend, scales them by the gateways' load reports, and writes the gateway's plan.
//
//   auto plane = ControlPlane::start(…);
//   auto backend = …;
//   auto platform = Platform::start(**plane, *backend, {.folder = data, …});
//
// In its folder: gateway.json (the plan), secrets/ (that it names), internal-token (by which
// gateways report), platform-key (from which replicas' tokens follow), models/ unless told
// otherwise. One at a time uses a folder; ControlPlane's lock sees to it.
//
// Replicas outlive it: the next one finds them by the backend. start() and the destructor on any
// thread; it has one thread for the reconcilers and those of its parts.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "platform/context.h"

namespace sluice::control {
class ControlPlane;
}

namespace sluice::platform {

class ReplicaBackend;
struct ModelStoreOptions;

struct PlatformOptions {
  std::filesystem::path folder;
  std::filesystem::path sluice_program;  // empty: this very program
  // Where clients reach the gateway; services have names below its host.
  std::string gateway_host = "localhost";
  uint16_t gateway_port = 8000;
  std::string gateway_address = "127.0.0.1";       // where replicas of this machine reach it
  uint16_t internal_port = 0;                      // of load reports, on 127.0.0.1; 0: any free one
  json::object plan_base = {};                     // further fields of the plan
  std::vector<std::string> domains = {};           // of host names, besides the usual ones
  std::shared_ptr<ModelStoreOptions> models = {};  // null: the cache of `sluice pull`, no volumes
  CheckModel check_model = {};  // of those who share a process; null: models are not looked into
  PlatformTiming timing = {};
};

class Platform {
 public:
  // Both outlive it.
  static Result<std::unique_ptr<Platform>> start(control::ControlPlane& plane,
                                                 ReplicaBackend& backend, PlatformOptions options);
  // Stops reconciling; replicas go on.
  ~Platform();

  std::filesystem::path plan_file() const;
  std::string internal_url() const;

 private:
  struct Parts;
  explicit Platform(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::platform
