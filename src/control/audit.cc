#include "control/audit.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/log.h"
#include "control/limits.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

void put(json::object& line, std::string_view key, const std::string& value) {
  if (!value.empty()) line[key] = value;
}

std::string line_of(const AuditEntry& entry, double now) {
  json::object line{{"time", micro_time_text(now)}};
  put(line, "user", entry.user);
  put(line, "role", entry.role);
  put(line, "verb", entry.verb);
  put(line, "resource", entry.resource);
  put(line, "subresource", entry.subresource);
  put(line, "namespace", entry.ns);
  put(line, "name", entry.name);
  if (entry.code != 0) line["code"] = entry.code;
  if (entry.dry_run) line["dryRun"] = true;
  put(line, "resourceVersion", entry.version);
  put(line, "fieldManager", entry.manager);
  put(line, "reason", entry.reason);
  put(line, "peer", entry.peer);
  put(line, "userAgent", entry.agent);
  return json::serialize(line) + "\n";
}

}  // namespace

Result<std::unique_ptr<Audit>> Audit::open(const std::filesystem::path& path, const Clock& clock) {
  std::unique_ptr<Audit> audit(new Audit(path, clock));
  if (!path.empty()) SLUICE_RETURN_IF_ERROR(audit->reopen());
  return audit;
}

Audit::~Audit() {
  if (file_ >= 0) ::close(file_);
}

Outcome Audit::reopen() {
  if (file_ >= 0) ::close(file_);
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file_ < 0) {
    return fail(Code::kPermissionDenied, fmt::format("cannot open the audit log {}: {}",
                                                     path_.string(), std::strerror(errno)));
  }
  struct stat facts{};
  bytes_ = ::fstat(file_, &facts) == 0 ? static_cast<size_t>(facts.st_size) : 0;
  return {};
}

void Audit::write(const AuditEntry& entry) {
  if (path_.empty()) return;
  const std::string line = line_of(entry, clock_.unix_seconds());
  const std::lock_guard lock(mutex_);
  if (bytes_ + line.size() > limits::kMaxAuditBytes) {
    std::error_code error;
    std::filesystem::rename(path_, path_.string() + ".1", error);
    if (!reopen()) log_warn("the audit log cannot be begun anew");
  }
  if (file_ >= 0 && ::write(file_, line.data(), line.size()) == static_cast<ssize_t>(line.size())) {
    bytes_ += line.size();
  } else if (lost_++ == 0) {
    log_warn("a line of the audit log is lost: {}", std::strerror(errno));
  }
}

size_t Audit::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

}  // namespace sluice::control
