// Downloads from elsewhere by libcurl: redirects, TLS, resume, limits, address policy.
//
// Callable from any thread; blocks until done. The process must ignore SIGPIPE, which TLS libraries
// raise when a peer leaves.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "net/http.h"

namespace sluice::net {

// Which addresses a connection may go to; checked on the address itself, after the name was
// resolved and again for each redirect.
enum class AddressPolicy {
  kAny,         // a URL that the operator gave
  kPublicOnly,  // a URL that a stranger gave: no loopback, private, link-local, … address, no proxy
};

struct DownloadOptions {
  Headers headers;          // Authorization goes to the first host only, not to where it redirects
  bool allow_http = false;  // https only, also for redirects, unless set
  AddressPolicy addresses = AddressPolicy::kAny;
  int max_redirects = 8;
  uint64_t max_bytes = UINT64_MAX;
  Duration connect_timeout = std::chrono::seconds(20);
  Duration stall_timeout = std::chrono::seconds(60);  // less than 1 KiB/s for so long
  std::string etag;  // of the partial file: it is continued only if the server still has that one
  // Called once, before the file is written, with the ETag of what will be in it.
  std::function<void(const std::string& etag)> on_begin;
  // Called now and then with the bytes on disk and the size (0: not known). False stops.
  std::function<bool(uint64_t done, uint64_t total)> on_progress;
};

struct DownloadResult {
  uint64_t bytes = 0;  // the file's size
  uint64_t resumed_from = 0;
  std::string etag;
  std::string final_url;
};

// Fetches `url` into `path`. An existing file is taken as the beginning and continued by a range
// request; where the server does not go along, it is begun anew. On failure the file keeps what
// has come, for the next try. An HTTP status of 400 and up is an error that names it and leaves
// the file as it was.
Result<DownloadResult> download(const std::string& url, const std::filesystem::path& path,
                                const DownloadOptions& options);

// A small document into memory (max_bytes applies; 16 MiB at most). Every status is a response,
// after redirects.
Result<HttpResponse> fetch_url(const std::string& url, const DownloadOptions& options);

}  // namespace sluice::net
