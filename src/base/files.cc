#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/rng.h"

namespace sluice {
namespace {

std::unexpected<Status> os_failure(std::string_view what, const std::filesystem::path& path,
                                   int error) {
  const Code code = error == ENOENT   ? Code::kNotFound
                    : error == EACCES ? Code::kPermissionDenied
                                      : Code::kUnavailable;
  return fail(code, fmt::format("{} {}: {}", what, path.string(), std::strerror(error)));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Outcome write_all(int fd, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return os_failure("cannot write", path, errno);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, size_t max_bytes) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return os_failure("cannot open", path, errno);
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return os_failure("cannot stat", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return invalid(fmt::format("{} is not a regular file", path.string()));
  }
  if (static_cast<size_t>(info.st_size) > max_bytes) {
    return fail(Code::kTooLarge, fmt::format("{} has {} bytes; at most {} are read", path.string(),
                                             info.st_size, max_bytes));
  }
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_failure("cannot read", path, errno);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

AtomicFile::AtomicFile(int fd, std::filesystem::path path, std::filesystem::path temporary)
    : fd_(fd), path_(std::move(path)), temporary_(std::move(temporary)) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})) {}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& path, unsigned mode) {
  // Processes of several containers may share a folder, and their numbers.
  const std::filesystem::path temporary = path.string() + fmt::format(".tmp{:x}", random_seed());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return os_failure("cannot create", temporary, errno);
  return AtomicFile(fd, path, temporary);
}

Outcome AtomicFile::reserve(uint64_t bytes) {
  if (bytes == 0) return {};
  while (::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP) return {};
    return os_failure("no room for", temporary_, errno);
  }
  return {};
}

Outcome AtomicFile::write(std::string_view bytes) { return write_all(fd_, bytes, temporary_); }

Outcome AtomicFile::commit() {
  if (::fsync(fd_) != 0) return os_failure("cannot sync", temporary_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return os_failure("cannot rename to", path_, errno);
  }
  temporary_.clear();
  return {};
}

void AtomicFile::forget() { ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED); }

Outcome write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  SLUICE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  SLUICE_RETURN_IF_ERROR(file.write(bytes));
  return file.commit();
}

}  // namespace sluice
