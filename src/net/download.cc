#include "net/download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/curl_session.h"
#include "net/socket.h"
#include "net/syntax.h"

namespace sluice::net {

namespace {

constexpr uint64_t kMaxDocumentBytes = 16u << 20;
constexpr std::chrono::milliseconds kProgressEvery{100};

// "bytes 100-199/200" and "bytes */200".
struct ContentRange {
  uint64_t first = 0;
  uint64_t total = 0;  // 0: not known
};

std::optional<ContentRange> parse_content_range(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  ContentRange range;
  range.total = parse_decimal(text.substr(slash + 1)).value_or(0);
  if (text.front() == '*') return range;
  const auto first = parse_decimal(text.substr(0, text.find('-')));
  if (!first) return std::nullopt;
  range.first = *first;
  return range;
}

Status status_failure(const std::string& url, int status) {
  Code code = Code::kUnavailable;
  if (status == 401) code = Code::kUnauthenticated;
  if (status == 403) code = Code::kPermissionDenied;
  if (status == 404 || status == 410) code = Code::kNotFound;
  if (status == 429) code = Code::kResourceExhausted;
  // Queries of redirected URLs hold signatures, so only what the caller gave is named, and of that
  // only the path.
  return {code, fmt::format("{} answered {} {}", url.substr(0, url.find('?')), status,
                            reason_phrase(status))};
}

// The file that grows. Its length is what was written or found.
class PartialFile {
 public:
  static Result<PartialFile> open(const std::filesystem::path& path) {
    Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    struct stat info{};
    if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
      return fail(Code::kFailedPrecondition, errno_text("cannot open " + path.string(), errno));
    }
    if (!S_ISREG(info.st_mode)) {
      return fail(Code::kFailedPrecondition, path.string() + " is not a plain file");
    }
    return PartialFile(std::move(fd), static_cast<uint64_t>(info.st_size));
  }

  uint64_t size() const { return size_; }

  Outcome restart() {
    if (size_ == 0) return {};
    if (::ftruncate(fd_.get(), 0) != 0) return failure();
    size_ = 0;
    return {};
  }

  Outcome append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count =
          ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(size_));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return failure();
      size_ += static_cast<uint64_t>(count);
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return {};
  }

  Outcome sync() {
    if (::fsync(fd_.get()) != 0) return failure();
    return {};
  }

 private:
  PartialFile(Fd fd, uint64_t size) : fd_(std::move(fd)), size_(size) {}

  static std::unexpected<Status> failure() {
    return fail(Code::kFailedPrecondition, errno_text("cannot write the file", errno));
  }

  Fd fd_;
  uint64_t size_;
};

class Download {
 public:
  Download(const std::string& url, PartialFile& file, const DownloadOptions& options)
      : url_(url), file_(file), options_(options), session_(url, options) {}

  Result<DownloadResult> run() {
    resume_at_ = file_.size();
    if (resume_at_ > 0) {
      session_.add_header(fmt::format("Range: bytes={}-", resume_at_));
      if (!options_.etag.empty()) session_.add_header("If-Range: " + options_.etag);
    }
    session_.on_body = [this](std::string_view bytes) { return on_body(bytes); };
    if (options_.on_progress) {
      session_.on_progress = [this](uint64_t, uint64_t total) { return on_progress(total); };
    }
    SLUICE_RETURN_IF_ERROR(session_.run());
    SLUICE_RETURN_IF_ERROR(begin_body());  // an empty body has not done it
    SLUICE_RETURN_IF_ERROR(file_.sync());
    return DownloadResult{.bytes = file_.size(),
                          .resumed_from = resume_at_,
                          .etag = std::string(find_header(session_.headers(), "etag")),
                          .final_url = session_.final_url()};
  }

  // The server has less than we do, or something else.
  bool range_refused() const { return range_refused_; }

 private:
  Outcome begin_body() {
    if (std::exchange(begun_, true)) return {};
    const int status = session_.status();
    const auto range = parse_content_range(find_header(session_.headers(), "content-range"));
    if (status == 416 && range && range->total == resume_at_) {
      complete_ = true;  // there was nothing left to fetch
      return {};
    }
    range_refused_ = status == 416 || (status == 206 && (!range || range->first != resume_at_));
    if (status >= 300 || status < 200 || range_refused_) {
      return std::unexpected(status_failure(url_, status));
    }
    if (status != 206) {
      resume_at_ = 0;
      SLUICE_RETURN_IF_ERROR(file_.restart());
    }
    if (options_.on_begin) {
      options_.on_begin(std::string(find_header(session_.headers(), "etag")));
    }
    const uint64_t announced =
        parse_decimal(find_header(session_.headers(), "content-length")).value_or(0);
    return check_size(file_.size() + announced);
  }

  Outcome check_size(uint64_t bytes) const {
    if (bytes <= options_.max_bytes) return {};
    return fail(Code::kTooLarge,
                fmt::format("{} has {} bytes or more; at most {} are taken",
                            url_.substr(0, url_.find('?')), bytes, options_.max_bytes));
  }

  Outcome on_body(std::string_view bytes) {
    SLUICE_RETURN_IF_ERROR(begin_body());
    if (complete_) return {};
    SLUICE_RETURN_IF_ERROR(check_size(file_.size() + bytes.size()));
    return file_.append(bytes);
  }

  bool on_progress(uint64_t total) {
    const TimePoint now = system_clock().now();
    if (now < next_progress_) return true;
    next_progress_ = now + kProgressEvery;
    return options_.on_progress(file_.size(), total == 0 ? 0 : total + resume_at_);
  }

  const std::string& url_;
  PartialFile& file_;
  const DownloadOptions& options_;
  CurlSession session_;
  uint64_t resume_at_ = 0;
  bool begun_ = false;
  bool complete_ = false;
  bool range_refused_ = false;
  TimePoint next_progress_{};
};

}  // namespace

Result<DownloadResult> download(const std::string& url, const std::filesystem::path& path,
                                const DownloadOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(PartialFile file, PartialFile::open(path));
  Download first(url, file, options);
  auto result = first.run();
  if (result || !first.range_refused()) return result;
  SLUICE_RETURN_IF_ERROR(file.restart());
  return Download(url, file, options).run();
}

Result<HttpResponse> fetch_url(const std::string& url, const DownloadOptions& options) {
  CurlSession session(url, options);
  HttpResponse response;
  const uint64_t limit = std::min(options.max_bytes, kMaxDocumentBytes);
  session.on_body = [&](std::string_view bytes) -> Outcome {
    if (response.body.size() + bytes.size() > limit) {
      return fail(Code::kTooLarge, fmt::format("the answer has more than {} bytes", limit));
    }
    response.body += bytes;
    return {};
  };
  SLUICE_RETURN_IF_ERROR(session.run());
  response.status = session.status();
  response.headers = session.headers();
  return response;
}

}  // namespace sluice::net
