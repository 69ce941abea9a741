// One transfer by libcurl with our options set. Only download.cc includes this.
#pragma once

#include <curl/curl.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/download.h"

namespace sluice::net {

class CurlSession {
 public:
  CurlSession(const std::string& url, const DownloadOptions& options);
  CurlSession(const CurlSession&) = delete;
  CurlSession& operator=(const CurlSession&) = delete;

  // Before run().
  void add_header(const std::string& line);
  // Called with each piece of a final answer's body; an error stops the transfer.
  std::function<Outcome(std::string_view)> on_body;
  // Bytes that have come and that were announced (0: unknown), of this transfer.
  std::function<bool(uint64_t done, uint64_t total)> on_progress;

  Outcome run();

  // Of the last answer; valid once on_body was called or run() has returned.
  int status() const;
  const Headers& headers() const { return headers_; }  // names in lower case
  std::string final_url() const;

 private:
  static size_t write(char* data, size_t size, size_t count, void* self);
  static size_t header(char* data, size_t size, size_t count, void* self);
  static int progress(void* self, curl_off_t total, curl_off_t now, curl_off_t, curl_off_t);
  static curl_socket_t open_socket(void* self, curlsocktype, curl_sockaddr* address);
  void set_options(const std::string& url);
  void on_header_line(std::string_view line);
  Status failure(CURLcode code) const;

  const DownloadOptions& options_;
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_;
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> lines_;
  Headers headers_;
  size_t header_bytes_ = 0;
  Outcome outcome_;  // of our own callbacks
  std::string error_text_;
};

}  // namespace sluice::net
