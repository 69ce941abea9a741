#include "registry/partial_blob.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/files.h"

namespace sluice::registry {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxEtagBytes = 1024;
constexpr mode_t kReadOnly = 0444;

std::unexpected<Status> os_failure(std::string_view what, const fs::path& path) {
  const int error = errno;
  const Code code = error == EACCES ? Code::kPermissionDenied : Code::kFailedPrecondition;
  return fail(code, net::errno_text(std::string(what) + " " + path.string(), error));
}

// What is locked may have been moved away by the holder before.
bool still_there(int fd, const fs::path& path) {
  struct stat mine{};
  struct stat named{};
  return ::fstat(fd, &mine) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

}  // namespace

Result<net::Fd> lock_file(const fs::path& path, const std::function<void()>& on_wait) {
  while (true) {
    net::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!fd.valid()) return os_failure("cannot open", path);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return os_failure("cannot lock", path);
      if (on_wait) on_wait();
      while (::flock(fd.get(), LOCK_EX) != 0) {
        if (errno != EINTR) return os_failure("cannot lock", path);
      }
    }
    if (still_there(fd.get(), path)) return fd;
  }
}

Result<PartialBlob> PartialBlob::open(const fs::path& path, const std::function<void()>& on_wait) {
  SLUICE_ASSIGN_OR_RETURN(net::Fd fd, lock_file(path, on_wait));
  return PartialBlob(path, std::move(fd));
}

uint64_t PartialBlob::bytes() const {
  struct stat info{};
  return ::fstat(fd_.get(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

std::string PartialBlob::etag() const { return read_file(etag_path(), kMaxEtagBytes).value_or(""); }

void PartialBlob::set_etag(const std::string& etag) {
  std::error_code ignored;
  const bool strong = etag.starts_with('"') && etag.size() <= kMaxEtagBytes;
  // Without the tag the next try begins anew, so a failure to keep it costs time only.
  if (!strong || !write_file_atomically(etag_path(), etag)) fs::remove(etag_path(), ignored);
}

Outcome PartialBlob::discard() {
  std::error_code ignored;
  fs::remove(etag_path(), ignored);
  if (::ftruncate(fd_.get(), 0) != 0) return os_failure("cannot truncate", path_);
  return {};
}

Outcome PartialBlob::publish(const fs::path& blob) {
  std::error_code ignored;
  fs::remove(etag_path(), ignored);
  if (::fchmod(fd_.get(), kReadOnly) != 0) return os_failure("cannot protect", path_);
  if (::fsync(fd_.get()) != 0) return os_failure("cannot sync", path_);
  if (::rename(path_.c_str(), blob.c_str()) != 0) return os_failure("cannot rename to", blob);
  return {};
}

}  // namespace sluice::registry
