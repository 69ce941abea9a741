// For tests: a real redis-server of the test's own, on a socket in a folder of its own.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "net/socket.h"

extern char** environ;

namespace sluice::net::testing {

class RedisServer {
 public:
  // `more`: options such as "--requirepass", "secret". It also listens on port() when `more` is
  // given "--tls-port" or "--port" with port()'s number.
  explicit RedisServer(std::vector<std::string> more = {}) : more_(std::move(more)) { start(); }
  ~RedisServer() {
    kill();
    std::filesystem::remove_all(folder_);
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  static std::string make_folder() {
    std::string name = ::testing::TempDir() + "sluice_redis_XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    return name;
  }

  std::string socket() const { return folder_ + "/redis.sock"; }

  // Returns when it takes connections.
  void start() {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    std::vector<std::string> words = {
        "redis-server", "--port",    "0", "--unixsocket", socket(), "--daemonize",
        "no",           "--save",    "",  "--appendonly", "no",     "--dir",
        folder_,        "--logfile", ""};
    words.insert(words.end(), more_.begin(), more_.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const int error = ::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    ASSERT_EQ(error, 0) << "apt-get install redis-server";
    out_ = Fd(ends[0]);
    std::string said;
    char byte = 0;
    while (!said.contains("accept connections") && ::read(out_.get(), &byte, 1) == 1) said += byte;
    ASSERT_TRUE(said.contains("accept connections")) << said;
  }

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, 0), nullptr, 0);
    out_.reset();
  }
  void stop_running() { ::kill(pid_, SIGSTOP); }
  void go_on() { ::kill(pid_, SIGCONT); }

 private:
  const std::vector<std::string> more_;
  const std::string folder_ = make_folder();
  pid_t pid_ = 0;
  Fd out_;
};

// A port that nobody uses at present.
inline uint16_t free_port() { return local_port(listen_on("127.0.0.1", 0)->get()); }

}  // namespace sluice::net::testing
