#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

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

Outcome write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  const std::filesystem::path temporary =
      path.string() + fmt::format(".tmp{}", static_cast<int>(::getpid()));
  {
    const Descriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (file.get() < 0) return os_failure("cannot create", temporary, errno);
    SLUICE_RETURN_IF_ERROR(write_all(file.get(), bytes, temporary));
    if (::fsync(file.get()) != 0) return os_failure("cannot sync", temporary, errno);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return os_failure("cannot rename to", path, errno);
  }
  return {};
}

}  // namespace sluice
