// MappedFile: a file's bytes, mapped read-only for as long as the object lives.
//
// The bytes are those of the file on disk: a program that truncates the file meanwhile ends this
// process (SIGBUS), so model files are replaced by renaming, never rewritten in place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

#include "base/status.h"

namespace sluice::tensor {

// Node, size in bytes, nanoseconds of the last changes of content and of the node.
using FileStamp = std::array<uint64_t, 4>;

// Movable; views into bytes() stay valid when it moves. Reading is safe from any thread.
class MappedFile {
 public:
  // Refused: what cannot be opened and what is no regular file (a FIFO is never waited for).
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), stamp_(other.stamp_) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(stamp_, other.stamp_);
    return *this;
  }
  ~MappedFile();

  // Empty for an empty file.
  std::span<const std::byte> bytes() const { return bytes_; }

  // What the system says of the file as it was opened: node, size, and when content and node last
  // changed. A file with an equal stamp has equal bytes, as long as nobody sets the clock back.
  const FileStamp& stamp() const { return stamp_; }

  // From here on the system reads the file in large pages where it can: fewer steps through page
  // tables, for bytes that are read over and over.
  void prefer_large_pages() const;

  // Takes the whole pages of `part` out of the process's memory until they are read again; a part
  // that is not of this file is left alone. Any thread may read meanwhile.
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile(std::span<const std::byte> bytes, const FileStamp& stamp)
      : bytes_(bytes), stamp_(stamp) {}

  std::span<const std::byte> bytes_;
  FileStamp stamp_{};
};

}  // namespace sluice::tensor
