#include "registry/transfer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <vector>

#include "base/files.h"
#include "registry/digest.h"
#include "registry/names.h"

namespace sluice::registry {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPieceBytes = 4u << 20;
constexpr uint64_t kSpareBytes = 64u << 20;  // a disk is not filled to the last block
constexpr std::string_view kGgufMagic = "GGUF";

void note(const TransferOptions& options, const std::string& text) {
  if (options.pull.on_note) options.pull.on_note(text);
}

bool may_pass(const Status& status) {
  return status.code() == Code::kUnavailable || status.code() == Code::kDeadlineExceeded ||
         status.code() == Code::kResourceExhausted;
}

std::string hex_of(const std::string& digest) { return digest.substr(digest.find(':') + 1); }

// What answers in place of a file (a login page, an LFS pointer) shows before it has a name.
Outcome check_magic(PartialBlob& blob, const ModelFile& file) {
  if (!file.path.ends_with(".gguf")) return {};
  std::string begin(kGgufMagic.size(), '\0');
  if (::pread(blob.fd(), begin.data(), begin.size(), 0) == static_cast<ssize_t>(begin.size()) &&
      begin == kGgufMagic) {
    return {};
  }
  SLUICE_RETURN_IF_ERROR(blob.discard());
  return fail(Code::kDataLoss,
              fmt::format("{}: what came is no GGUF file; it is expected to begin with \"{}\", "
                          "found \"{}\"",
                          shown(file.path), kGgufMagic, shown(begin)));
}

Result<ModelFile> finish(const TransferOptions& options, PartialBlob blob, const ModelFile& file) {
  SLUICE_RETURN_IF_ERROR(check_magic(blob, file));
  return options.cache.finish_blob(std::move(blob), file);
}

// Bytes that may be fetched when the source does not say how many there are.
Result<uint64_t> room_for(const TransferOptions& options, const PartialBlob& blob) {
  SLUICE_ASSIGN_OR_RETURN(const uint64_t free, options.cache.free_bytes());
  const uint64_t usable = free > kSpareBytes ? free - kSpareBytes : 0;
  return std::min(kMaxModelFileBytes, usable + blob.bytes());
}

Result<net::DownloadResult> download_once(const TransferOptions& options, const std::string& url,
                                          const ModelFile& file, PartialBlob& blob) {
  // Bytes of an unknown version may be continued only if the end can be checked.
  if (file.digest.empty() && blob.etag().empty()) SLUICE_RETURN_IF_ERROR(blob.discard());
  if (file.bytes != 0 && blob.bytes() > file.bytes) SLUICE_RETURN_IF_ERROR(blob.discard());
  if (file.bytes != 0 && blob.bytes() == file.bytes) {
    net::DownloadResult complete;
    complete.bytes = complete.resumed_from = file.bytes;
    return complete;
  }
  SLUICE_ASSIGN_OR_RETURN(const uint64_t room, room_for(options, blob));
  const std::string had_etag = blob.etag();
  net::DownloadOptions transfer;
  transfer.headers = options.headers;
  transfer.allow_http = options.pull.plain_http == PlainHttp::kAllowed;
  transfer.max_bytes = file.bytes != 0 ? file.bytes : room;
  transfer.etag = had_etag;
  transfer.on_begin = [&](const std::string& etag) {
    if (blob.bytes() == 0) blob.set_etag(etag);  // else the tag is that of the bytes before
  };
  transfer.on_progress = options.on_progress;
  auto result = net::download(url, blob.path(), transfer);
  if (!result && result.error().code() == Code::kTooLarge) {
    return fail(Code::kTooLarge, fmt::format("{}; {}", result.error().message(),
                                             file.bytes != 0 ? "that is the size it was listed with"
                                                             : "that is the room in the cache at " +
                                                                   options.cache.root().string()));
  }
  // A server that does not heed If-Range.
  if (result && result->resumed_from > 0 && !had_etag.empty() && result->etag != had_etag) {
    SLUICE_RETURN_IF_ERROR(blob.discard());
    return fail(Code::kUnavailable, shown(file.path) + " was replaced while it was fetched");
  }
  return result;
}

Result<net::DownloadResult> download(const TransferOptions& options, const std::string& url,
                                     const ModelFile& file, PartialBlob& blob) {
  for (int attempt = 1;; ++attempt) {
    auto result = download_once(options, url, file, blob);
    if (result || !try_again(options.pull, result.error(), attempt)) return result;
  }
}

struct stat status_of(int fd) {
  struct stat info{};
  ::fstat(fd, &info);
  return info;
}

Outcome copy_bytes(const TransferOptions& options, int from, int to, const fs::path& path) {
  const auto failure = [&](std::string_view what) {
    return fail(Code::kFailedPrecondition,
                net::errno_text(fmt::format("cannot {} {}", what, path.string()), errno));
  };
  const auto total = static_cast<uint64_t>(status_of(from).st_size);
  if (::ioctl(to, FICLONE, from) == 0) return {};
  std::vector<char> piece(kPieceBytes);
  off_t at = 0;
  while (true) {
    const ssize_t count = ::read(from, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failure("read");
    if (count == 0) return {};
    for (ssize_t done = 0; done < count;) {
      const ssize_t written =
          ::pwrite(to, piece.data() + done, static_cast<size_t>(count - done), at);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return failure("copy into the cache");
      done += written;
      at += written;
    }
    if (options.on_progress && !options.on_progress(static_cast<uint64_t>(at), total)) {
      return fail(Code::kCancelled, "the copy was stopped");
    }
  }
}

}  // namespace

bool try_again(const PullOptions& options, const Status& failure, int attempt) {
  if (!may_pass(failure) || attempt >= options.attempts) return false;
  if (options.on_note) {
    options.on_note(fmt::format("{}; trying again ({} of {})", failure.message(), attempt + 1,
                                options.attempts));
  }
  if (options.pause) {
    options.pause(attempt);
  } else {
    // On the thread of a command that has nothing else to do: backoff between tries of a download.
    std::this_thread::sleep_for(std::chrono::seconds(1 << std::min(attempt - 1, 6)));
  }
  return true;
}

// Known bytes have one partial file wherever they come from.
std::string partial_key(const ModelFile& file, const std::string& url) {
  return file.digest.empty() ? "url-" + hex_of(sha256_text(url)) : "sha256-" + hex_of(file.digest);
}

Result<ModelFile> fetch_file(const TransferOptions& options, const std::string& url,
                             const ModelFile& file) {
  const std::string key = partial_key(file, url);
  const auto waiting = [&] { note(options, "another pull fetches " + file.path + "; waiting"); };
  while (true) {
    SLUICE_ASSIGN_OR_RETURN(PartialBlob blob, options.cache.begin_blob(key, waiting));
    if (const auto bytes = options.cache.blob_bytes(file)) {
      std::error_code ignored;
      fs::remove(blob.path(), ignored);
      return ModelFile{.path = file.path, .bytes = *bytes, .digest = file.digest};
    }
    SLUICE_ASSIGN_OR_RETURN(const auto done, download(options, url, file, blob));
    auto stored = finish(options, std::move(blob), file);
    // What an earlier try had left may be to blame, so the first bytes get one more chance.
    if (stored || done.resumed_from == 0 || stored.error().code() != Code::kDataLoss) {
      return stored;
    }
    note(options, stored.error().message() + "; fetching it anew");
  }
}

Result<ModelFile> copy_file(const TransferOptions& options, const fs::path& from,
                            const ModelFile& file) {
  const net::Fd source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  const struct stat before = status_of(source.get());
  if (!source.valid() || !S_ISREG(before.st_mode)) {
    return fail(Code::kNotFound, from.string() + " is no file that can be read");
  }
  const auto waiting = [&] { note(options, "another pull copies " + file.path + "; waiting"); };
  const std::string key = "copy-" + hex_of(sha256_text(from.string()));
  SLUICE_ASSIGN_OR_RETURN(PartialBlob blob, options.cache.begin_blob(key, waiting));
  SLUICE_RETURN_IF_ERROR(blob.discard());
  const Outcome copied = copy_bytes(options, source.get(), blob.fd(), from);
  if (!copied) {
    SLUICE_RETURN_IF_ERROR(blob.discard());
    return std::unexpected(copied.error());
  }
  const struct stat after = status_of(source.get());
  if (after.st_size != before.st_size || after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
      after.st_mtim.tv_nsec != before.st_mtim.tv_nsec) {
    SLUICE_RETURN_IF_ERROR(blob.discard());
    return fail(Code::kDataLoss, from.string() + " changed while it was read; pull it again");
  }
  ModelFile expected = file;
  expected.bytes = static_cast<uint64_t>(before.st_size);
  return finish(options, std::move(blob), expected);
}

}  // namespace sluice::registry
