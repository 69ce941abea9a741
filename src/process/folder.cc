#include "process/folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "process/proc_info.h"

namespace sluice::process {
namespace {

namespace fs = std::filesystem;

std::unexpected<Status> os_failure(std::string_view what, const fs::path& path, int error) {
  const Code code = error == ENOENT   ? Code::kNotFound
                    : error == EACCES ? Code::kPermissionDenied
                                      : Code::kUnavailable;
  return fail(code, net::errno_text(fmt::format("{} {}", what, path.string()), error));
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// Blocks that pread() may be asked for; fewer at the file's end.
std::string read_part(int fd, off_t from, size_t bytes) {
  std::string out(bytes, '\0');
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        ::pread(fd, out.data() + done, bytes - done, from + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  out.resize(done);
  return out;
}

}  // namespace

Outcome write_record(const fs::path& path, std::string_view bytes) {
  const fs::path temporary = path.string() + new_id(".tmp");
  const net::Fd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return os_failure("cannot create", temporary, errno);
  int error = 0;
  if (!write_all(file.get(), bytes) || ::rename(temporary.c_str(), path.c_str()) != 0) {
    error = errno;
    ::unlink(temporary.c_str());
  }
  if (error != 0) return os_failure("cannot write", path, error);
  return {};
}

ReservedRecord::ReservedRecord(net::Fd file, fs::path path)
    : file_(std::move(file)), path_(std::move(path)) {}

ReservedRecord::~ReservedRecord() {
  if (file_.valid()) ::unlink(temporary().c_str());
}

fs::path ReservedRecord::temporary() const { return path_.string() + ".reserved"; }

Result<ReservedRecord> ReservedRecord::reserve(const fs::path& path, size_t bytes) {
  const fs::path temporary = path.string() + ".reserved";
  net::Fd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return os_failure("cannot create", temporary, errno);
  ReservedRecord out(std::move(file), path);
  while (::fallocate(out.file_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP) break;
    return os_failure("no room for", temporary, errno);
  }
  return out;
}

Outcome ReservedRecord::write(std::string_view bytes) {
  if (::lseek(file_.get(), 0, SEEK_SET) != 0 || !write_all(file_.get(), bytes) ||
      ::ftruncate(file_.get(), static_cast<off_t>(bytes.size())) != 0 ||
      ::rename(temporary().c_str(), path_.c_str()) != 0) {
    return os_failure("cannot write", path_, errno);
  }
  file_.reset();
  return {};
}

Result<std::optional<net::Fd>> lock_folder(const fs::path& folder) {
  const fs::path path = folder / kLockFile;
  net::Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) return os_failure("cannot open", path, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno == EWOULDBLOCK) return std::nullopt;
  return os_failure("cannot lock", path, errno);
}

Result<bool> is_locked(const fs::path& folder) {
  const fs::path path = folder / kLockFile;
  const net::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() && errno == ENOENT) return false;
  if (!file.valid()) return os_failure("cannot open", path, errno);
  // Shared: several may look at a time.
  if (::flock(file.get(), LOCK_SH | LOCK_NB) == 0) return false;
  if (errno == EWOULDBLOCK) return true;
  return os_failure("cannot lock", path, errno);
}

ProcessName find_lock_holder(const fs::path& folder) {
  ProcessName oldest;
  struct stat wanted{};
  if (::stat((folder / kLockFile).c_str(), &wanted) != 0) return oldest;
  for (const int64_t pid : all_processes()) {
    // Named before it is looked at: whoever has the number later is not taken for it.
    const ProcessName name = name_process(pid);
    if (pid == ::getpid() || name.start_ticks == 0) continue;
    std::error_code none;
    for (const auto& file : fs::directory_iterator(fmt::format("/proc/{}/fd", pid), none)) {
      struct stat info{};
      if (::stat(file.path().c_str(), &info) != 0 || info.st_ino != wanted.st_ino ||
          info.st_dev != wanted.st_dev) {
        continue;
      }
      if (oldest.pid == 0 || name.start_ticks < oldest.start_ticks) oldest = name;
    }
  }
  return oldest;
}

Outcome own_folder(const fs::path& folder) {
  std::error_code error;
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), error);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return os_failure("cannot create the folder", folder, errno);
  }
  struct stat info{};
  if (::lstat(folder.c_str(), &info) != 0) return os_failure("cannot look at", folder, errno);
  if (!S_ISDIR(info.st_mode)) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} is no folder; move it away", folder.string()));
  }
  if (info.st_uid != ::geteuid()) {
    return fail(Code::kPermissionDenied,
                fmt::format("the folder {} belongs to user {}, not to {}, who runs this; choose "
                            "another",
                            folder.string(), info.st_uid, ::geteuid()));
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail(Code::kPermissionDenied,
                fmt::format("others may write in the folder {}: chmod go-w it", folder.string()));
  }
  return {};
}

fs::path log_path(const fs::path& folder, int age) {
  return folder / (age == 0 ? std::string(kLogFile) : fmt::format("{}.{}", kLogFile, age));
}

Result<std::string> read_log_tail(const fs::path& folder, size_t max_bytes) {
  std::string out;
  std::vector<ino_t> seen;
  bool cut = false;
  for (int age = 0; age <= 100 && !cut; ++age) {
    const fs::path path = log_path(folder, age);
    const net::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid() && errno == ENOENT && age > 0) break;
    if (!file.valid() && errno == ENOENT) continue;
    struct stat info{};
    if (!file.valid() || ::fstat(file.get(), &info) != 0) {
      return os_failure("cannot read", path, errno);
    }
    // A file that got another name meanwhile has been read.
    if (std::ranges::find(seen, info.st_ino) != seen.end()) continue;
    seen.push_back(info.st_ino);
    const auto size = static_cast<size_t>(info.st_size);
    const size_t part = std::min(size, max_bytes - out.size());
    cut = part < size;
    out.insert(0, read_part(file.get(), static_cast<off_t>(size - part), part));
  }
  const size_t line = cut ? out.find('\n') : std::string::npos;
  if (line != std::string::npos && line + 1 < out.size()) out.erase(0, line + 1);
  return out;
}

}  // namespace sluice::process
