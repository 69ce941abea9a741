#include "tensor/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace sluice::tensor {
namespace {

std::unexpected<Status> os_failure(std::string_view what, const std::filesystem::path& path,
                                   int error) {
  const Code code = error == ENOENT                      ? Code::kNotFound
                    : error == EACCES || error == EPERM  ? Code::kPermissionDenied
                    : error == ENOTDIR || error == ELOOP ? Code::kInvalidArgument
                                                         : Code::kUnavailable;
  return fail(code, fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(error)));
}

uint64_t nanoseconds(const timespec& t) {
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO would otherwise wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return os_failure("open", path, errno);
  struct stat info{};
  const int failed = ::fstat(fd, &info) != 0 ? errno : 0;
  const bool regular = failed == 0 && S_ISREG(info.st_mode);
  void* address = nullptr;
  int map_error = 0;
  if (regular && info.st_size > 0) {
    address = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) map_error = errno;
  }
  ::close(fd);
  if (failed != 0) return os_failure("stat", path, failed);
  if (!regular) return invalid(fmt::format("{} is not a regular file", path.string()));
  if (map_error != 0) return os_failure("map", path, map_error);
  const FileStamp stamp = {info.st_ino, static_cast<uint64_t>(info.st_size),
                           nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)};
  if (address == nullptr) return MappedFile({}, stamp);
  return MappedFile({static_cast<const std::byte*>(address), static_cast<size_t>(info.st_size)},
                    stamp);
}

void MappedFile::prefer_large_pages() const {
  if (bytes_.empty()) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_HUGEPAGE);
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto begin = reinterpret_cast<uintptr_t>(part.data()), end = begin + part.size();
  const auto first = reinterpret_cast<uintptr_t>(bytes_.data()), last = first + bytes_.size();
  if (begin < first || end > last) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t from = (begin + page - 1) / page * page, to = end / page * page;
  if (from >= to) return;
  // Of a shared mapping this drops no data, and a failure costs memory only.
  ::madvise(const_cast<std::byte*>(part.data()) + (from - begin), to - from, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace sluice::tensor
