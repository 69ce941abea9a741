// The audit log: one JSON line for each change, each reading of secrets and each refusal, with who
// asked.
//
// Callable from any thread. A line never holds an object, a token or a secret. Past
// kMaxAuditBytes the file is put aside as FILE.1, and the one before that goes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/status.h"

namespace sluice::control {

struct AuditEntry {
  std::string user;
  std::string role;
  std::string verb;
  std::string resource;  // plural.group
  std::string subresource;
  std::string ns;
  std::string name;
  std::string peer;
  std::string agent;
  std::string manager;
  std::string reason;   // of a refusal; of a change that the control plane made by itself
  std::string version;  // of the object after the change
  int code = 0;
  bool dry_run = false;
};

class Audit {
 public:
  // An empty path: nothing is written.
  static Result<std::unique_ptr<Audit>> open(const std::filesystem::path& path,
                                             const Clock& clock = system_clock());
  ~Audit();
  Audit(const Audit&) = delete;
  Audit& operator=(const Audit&) = delete;

  void write(const AuditEntry& entry);
  // Lines that could not be written.
  size_t lost() const;

 private:
  Audit(std::filesystem::path path, const Clock& clock) : path_(std::move(path)), clock_(clock) {}
  Outcome reopen();

  const std::filesystem::path path_;
  const Clock& clock_;
  mutable std::mutex mutex_;  // guards what follows
  int file_ = -1;
  size_t bytes_ = 0;
  size_t lost_ = 0;
};

}  // namespace sluice::control
