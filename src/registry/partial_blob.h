// PartialBlob: a blob on its way into the cache, and the lock that keeps others from writing it.
//
// The lock is the kernel's (flock) and lies on the partial file itself, between threads as between
// processes; it ends with its holder, however that ends, and the bytes stay for the next try.
// One thread at a time uses an instance.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/status.h"
#include "net/socket.h"

namespace sluice::registry {

// An exclusive lock on `path`, which is created if need be. Waits for its holder, after `on_wait`.
Result<net::Fd> lock_file(const std::filesystem::path& path, const std::function<void()>& on_wait);

class PartialBlob {
 public:
  // Takes the lock. The folder must exist.
  static Result<PartialBlob> open(const std::filesystem::path& path,
                                  const std::function<void()>& on_wait);

  const std::filesystem::path& path() const { return path_; }
  int fd() const { return fd_.get(); }
  uint64_t bytes() const;

  // The version of the remote file that these bytes are of; empty when not known.
  std::string etag() const;
  // Weak tags say nothing about bytes and are not kept.
  void set_etag(const std::string& etag);

  // Back to no bytes.
  Outcome discard();
  // Moves the complete file to `blob`, read-only. Nothing may be called afterwards.
  Outcome publish(const std::filesystem::path& blob);

 private:
  PartialBlob(std::filesystem::path path, net::Fd fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}
  std::filesystem::path etag_path() const { return path_.string() + ".etag"; }

  std::filesystem::path path_;
  net::Fd fd_;
};

}  // namespace sluice::registry
