// For the tests of this room: a folder that goes away, and a remote of files on loopback.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "net/server.h"
#include "registry/digest.h"

namespace sluice::registry::testing {

namespace fs = std::filesystem;

class TempFolder {
 public:
  TempFolder() {
    static std::atomic<int> count{0};
    path_ = fs::temp_directory_path() / fmt::format("sluice_registry_{}_{}", ::getpid(), ++count);
    fs::create_directories(path_);
  }
  ~TempFolder() { fs::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const fs::path& path() const { return path_; }
  fs::path write(const std::string& name, std::string_view bytes) const {
    const fs::path path = path_ / name;
    fs::create_directories(path.parent_path());
    EXPECT_TRUE(write_file_atomically(path, bytes));
    return path;
  }

 private:
  fs::path path_;
};

inline std::string read(const fs::path& path) {
  return read_file(path, 1u << 24).value_or("unreadable: " + path.string());
}

// What a target is answered with. Ranges are served from `body`.
struct Page {
  std::string body = {};
  int status = 200;
  net::Headers headers = {};
  int cuts = 0;  // so many answers end after half of what they announced
  int busy = 0;  // so many are 503
};

class Remote : public net::HttpHandler {
 public:
  Remote() = default;

  void set(const std::string& target, Page page) {
    const std::lock_guard lock(mutex_);
    pages_[target] = std::move(page);
  }

  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override {
    const std::lock_guard lock(mutex_);
    seen_.push_back(request);
    const auto found = pages_.find(request.target);
    if (found == pages_.end()) return responder->send({.status = 404, .body = "no such page"});
    Page& page = found->second;
    if (page.busy > 0) {
      --page.busy;
      return responder->send({.status = 503, .body = "busy"});
    }
    answer(page, request, *responder);
  }

  std::vector<net::HttpRequest> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  // Of the requests for `target`, the values of one field.
  std::vector<std::string> seen(const std::string& target, const std::string& field) {
    std::vector<std::string> values;
    for (const net::HttpRequest& request : seen()) {
      if (request.target == target) values.emplace_back(request.header(field));
    }
    return values;
  }

 private:
  static void answer(Page& page, const net::HttpRequest& request, net::Responder& responder) {
    std::string body = page.body;
    int status = page.status;
    net::Headers headers = page.headers;
    const std::string range(request.header("range"));
    const std::string condition(request.header("if-range"));
    const bool same = condition.empty() || condition == net::find_header(headers, "ETag");
    if (status == 200 && range.starts_with("bytes=") && same) {
      const size_t first = std::stoul(range.substr(6));
      headers.emplace_back("Content-Range",
                           first < body.size()
                               ? fmt::format("bytes {}-{}/{}", first, body.size() - 1, body.size())
                               : fmt::format("bytes */{}", body.size()));
      status = first < body.size() ? 206 : 416;
      body = first < body.size() ? body.substr(first) : "";
    }
    if (page.cuts > 0) {
      --page.cuts;
      responder.start(status, headers);
      responder.write(body.substr(0, body.size() / 2));
      return;  // dropping the answer cuts the connection
    }
    responder.send({.status = status, .headers = headers, .body = body});
  }

  std::mutex mutex_;
  std::map<std::string, Page> pages_;
  std::vector<net::HttpRequest> seen_;
};

struct RemoteServer {
  RemoteServer() {
    auto started = net::HttpServer::start({}, remote);
    if (!started) ADD_FAILURE() << started.error().message();
    server = std::move(*started);
  }
  std::string url(const std::string& target = "") const {
    return fmt::format("http://127.0.0.1:{}{}", server->port(), target);
  }

  std::shared_ptr<Remote> remote = std::make_shared<Remote>();
  std::unique_ptr<net::HttpServer> server;
};

}  // namespace sluice::registry::testing
