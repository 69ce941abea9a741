// Files read whole, and files that appear whole or not at all. Model weights are mapped instead
// (tensor/mapped_file.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice {

// The file's bytes; a file of more than `max_bytes` is refused unread.
Result<std::string> read_file(const std::filesystem::path& path, size_t max_bytes);

// A file under way: a temporary neighbour that commit() syncs and renames over `path`, so that
// readers see the old bytes or the new ones, never half. Without a commit the neighbour is removed.
// One owner, one thread.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& path, unsigned mode = 0600);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  // Takes the place for so many bytes, where the file system can: a full disk is found out before
  // anything is written.
  Outcome reserve(uint64_t bytes);
  Outcome write(std::string_view bytes);
  Outcome commit();
  // Takes what was committed out of the system's memory, to be read from the disk again.
  void forget();

 private:
  AtomicFile(int fd, std::filesystem::path path, std::filesystem::path temporary);

  int fd_;
  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty: committed
};

// The same of bytes that are all there.
Outcome write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace sluice
