// MappedFile: a file's bytes, mapped read-only for as long as the object lives.
//
// The bytes are those of the file on disk: a program that truncates the file meanwhile ends this
// process (SIGBUS), so model files are replaced by renaming, never rewritten in place.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "base/status.h"

namespace sluice::tensor {

// Movable; views into bytes() stay valid when it moves. Reading is safe from any thread.
class MappedFile {
 public:
  // Refused: what cannot be opened and what is no regular file (a FIFO is never waited for).
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  // Empty for an empty file.
  std::span<const std::byte> bytes() const { return bytes_; }

  // Takes the whole pages of `part` out of the process's memory until they are read again; a part
  // that is not of this file is left alone. Any thread may read meanwhile.
  void release(std::span<const std::byte> part) const;

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace sluice::tensor
