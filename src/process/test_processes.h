// For tests: the test binary as keeper and as replica, and waiting for what processes do.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/ids.h"
#include "net/server.h"
#include "process/keeper.h"
#include "process/proc_info.h"

namespace sluice::process::testing {

namespace fs = std::filesystem;

inline constexpr std::chrono::seconds kPatience{30};  // only ever waited for when a test fails

// An HTTP server on the handed socket, else on PORT: every path is answered with 200, unless a file
// of its name with the word "-fails" lies where it runs (/ready: "ready-fails"). Says "up" when it
// listens. SIGTERM ends it.
class TestReplica final : public net::HttpHandler {
 public:
  static int run() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    net::ServerOptions options;
    options.host = "127.0.0.1";
    const char* port = std::getenv("PORT");
    options.port = static_cast<uint16_t>(port == nullptr ? 0 : std::atoi(port));
    if (std::getenv("LISTEN_FDS") != nullptr) options.listen_fd = 3;
    const auto server = net::HttpServer::start(options, std::make_shared<TestReplica>());
    if (!server || ::write(STDOUT_FILENO, "up\n", 3) != 3) return 3;
    int signal = 0;
    ::sigwait(&set, &signal);
    return 0;
  }

  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override {
    const std::string file = request.target.substr(1) + "-fails";
    responder->send({.status = fs::exists(file) ? 503 : 200, .headers = {}, .body = "here\n"});
  }
};

// Takes memory until it is ended, half a gigabyte a second at most. Not this binary: a sanitizer's
// own memory is beyond any limit.
inline std::vector<std::string> hog() {
  return {
      "python3", "-c",
      "import time\nall = []\nwhile True:\n  all.append(b'x' * (1 << 20))\n  time.sleep(0.002)"};
}

// What main() of a test binary does first: "keep FOLDER --lock N", or "replica".
inline std::optional<int> run_as_process(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.empty()) return std::nullopt;
  if (words[0] == "keep" && words.size() >= 2) {
    const int lock = words.size() == 4 ? std::atoi(argv[4]) : -1;
    return run_keeper({.folder = fs::path(words[1]), .lock = lock});
  }
  if (words[0] == "replica") return TestReplica::run();
  return std::nullopt;
}

inline std::string this_program() { return fs::read_symlink("/proc/self/exe").string(); }

// A folder that goes with the test.
class TestFolder {
 public:
  TestFolder() : path_(fs::temp_directory_path() / new_id("sluice-process-")) {
    fs::create_directory(path_);
    fs::permissions(path_, fs::perms::owner_all);
  }
  ~TestFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  const fs::path path_;
};

// Until it holds; looked at whenever something in the folder changes. False when it never did.
inline bool wait_in(const fs::path& folder, const std::function<bool()>& holds) {
  const net::Fd notify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ::inotify_add_watch(notify.get(), folder.c_str(),
                      IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_CLOSE_WRITE | IN_DELETE);
  const TimePoint until = system_clock().now() + kPatience;
  while (!holds()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - system_clock().now());
    pollfd one{.fd = notify.get(), .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || ::poll(&one, 1, static_cast<int>(left.count())) < 0) return false;
    std::array<char, 8192> events;
    while (::read(notify.get(), events.data(), events.size()) > 0) {
    }
  }
  return true;
}

inline bool wait_file(const fs::path& path) {
  return wait_in(path.parent_path(), [&] { return fs::exists(path); });
}

// A zombie has ended.
inline bool wait_ended(int64_t pid) {
  const auto stat = read_stat(pid);
  if (!stat || stat->state == 'Z') return true;
  const net::Fd process = open_process({.pid = pid, .start_ticks = stat->start_ticks});
  pollfd one{.fd = process.get(), .events = POLLIN, .revents = 0};
  const auto patience = std::chrono::milliseconds(kPatience).count();
  return !process.valid() || ::poll(&one, 1, static_cast<int>(patience)) == 1;
}

inline std::string text_of(const fs::path& path) { return read_file(path, 64u << 20).value_or(""); }

inline void touch(const fs::path& path) {
  net::Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

}  // namespace sluice::process::testing
