// ProcessBackend: replicas as processes of this machine, each with a keeper (process/keeper.h) and
// a folder of its own below one folder:
//
//   FOLDER/ID         a replica that lives, or has ended and was not forgotten
//   FOLDER/.old/ID    forgotten ones, for their logs: an hour, at most 64
//   FOLDER/.backend   its lock is held by the one backend that works here
//
// Replicas outlive the backend; the next one over the folder adopts them as it opens. What a call
// does is in ReplicaBackend. The listener is called on the backend's own thread.
//
// An id's folder is made by start() and, when that fails, taken away again. A damaged file in one
// folder is told of in the log, and concerns that replica alone: a living one's keeper writes it
// anew.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/replica_backend.h"
#include "process/keeper_order.h"

namespace sluice::platform {

struct ProcessBackendOptions {
  std::filesystem::path folder;  // made when it is not there; must be this user's own
  // That knows `keep FOLDER --lock N`; empty: this process's own program.
  std::filesystem::path program;
  // What replicas may have together; nothing: what the machine or this process's control group has,
  // less a reserve for everything else.
  std::optional<uint64_t> memory_bytes;
  std::optional<double> cpus;
  bool control_groups = true;  // for limits, where they can be written
  process::LogLimits logs;
  std::chrono::seconds keep_logs{3600};  // of forgotten replicas
  size_t keep_logs_of = 64;              // of them
};

class ProcessBackend final : public ReplicaBackend {
 public:
  // Fails when the folder cannot be used, is somebody else's, or another backend works there.
  static Result<std::unique_ptr<ProcessBackend>> open(ProcessBackendOptions options);
  // Replicas run on.
  ~ProcessBackend() override;
  ProcessBackend(const ProcessBackend&) = delete;
  ProcessBackend& operator=(const ProcessBackend&) = delete;

  Outcome start(const process::ReplicaSpec& spec) override;
  void drain(std::string_view id) override;
  void kill(std::string_view id) override;
  void forget(std::string_view id) override;
  std::vector<ReplicaView> list() override;
  std::optional<ReplicaView> find(std::string_view id) override;
  MachineRoom room() override;
  // Is told of every replica that is there already as well.
  void on_change(std::function<void(const std::string& id)> listener) override;
  Result<std::string> log_tail(std::string_view id, size_t max_bytes) override;

 private:
  struct Impl;
  explicit ProcessBackend(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::platform
