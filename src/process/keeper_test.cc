// Real keepers over real programs. This binary is the keeper, and some of the programs: see main().
#include "process/keeper.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "net/client.h"
#include "process/control_group.h"
#include "process/folder.h"
#include "process/keeper_order.h"
#include "process/leftovers.h"
#include "process/records.h"
#include "process/spawn_keeper.h"
#include "process/test_processes.h"

namespace sluice::process {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::text_of;
using testing::this_program;
using testing::wait_ended;
using testing::wait_file;
using testing::wait_in;

// A replica's folder and its keeper. What is still there at the end is killed.
class Kept {
 public:
  explicit Kept(std::vector<std::string> command,
                const std::function<void(KeeperOrder&)>& change = {}) {
    order_.token = new_id("");
    order_.control_groups = false;
    order_.spec.id = "r";
    order_.spec.command = std::move(command);
    if (change) change(order_);
    EXPECT_TRUE(write_record(path() / kSpecFile, order_text(order_)));
    start();
  }
  ~Kept() {
    signal(SIGKILL);
    reap();
    kill_leftovers(order_.token, nullptr);
  }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

  const fs::path& path() const { return folder_.path(); }
  const std::string& token() const { return order_.token; }
  void signal(int number) { signal_process(keeper_, number); }

  // Once the program runs.
  ReplicaState state() {
    EXPECT_TRUE(wait_file(path() / kStateFile));
    const auto state = parse_state(text_of(path() / kStateFile));
    EXPECT_TRUE(state) << text_of(path() / kExitFile);
    return state.value_or(ReplicaState{});
  }
  ReplicaEnd end() {
    EXPECT_TRUE(wait_file(path() / kExitFile)) << text_of(path() / kKeeperLogFile);
    return parse_end(text_of(path() / kExitFile)).value_or(ReplicaEnd{});
  }
  std::string log() const { return text_of(path() / kLogFile); }
  bool wait_log(std::string_view text) {
    return wait_in(path(), [&] { return log().find(text) != std::string::npos; });
  }
  // The keeper's exit status.
  int reap() {
    siginfo_t info{};
    if (!keeper_.valid()) return -1;
    ::waitid(P_PIDFD, static_cast<id_t>(keeper_.get()), &info, WEXITED);
    keeper_.reset();
    return info.si_status;
  }

 private:
  void start() {
    auto lock = lock_folder(path());
    ASSERT_TRUE(lock && *lock);
    auto keeper = spawn_keeper(this_program(), path(), **lock);
    ASSERT_TRUE(keeper) << keeper.error().message();
    keeper_ = *std::move(keeper);
  }

  testing::TestFolder folder_;
  KeeperOrder order_;
  net::Fd keeper_;
};

std::vector<std::string> shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

// Numbers that the program wrote to files of these names where it runs.
int64_t number_in(Kept& kept, const std::string& name) {
  kept.state();  // from then on there is the folder
  const fs::path file = kept.path() / kWorkFolder / name;
  EXPECT_TRUE(wait_file(file));
  EXPECT_TRUE(wait_in(file.parent_path(), [&] { return text_of(file).ends_with('\n'); }));
  return std::atoll(text_of(file).c_str());
}

TEST(Keeper, TellsHowItEnded) {
  Kept good(shell("echo fine; exit 0"));
  EXPECT_EQ(good.end().reason, kCompleted);
  EXPECT_EQ(good.reap(), 0);
  EXPECT_EQ(good.log(), "fine\n");
  EXPECT_EQ(good.end().token, good.token());

  Kept bad(shell("echo to the log; echo and the reason >&2; exit 7"));
  const ReplicaEnd end = bad.end();
  EXPECT_EQ(end.reason, kError);
  EXPECT_EQ(end.code, 7);
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.message, "to the log\nand the reason");
  EXPECT_GT(end.at_unix, 1e9);

  Kept crashed(shell("kill -SEGV $$"));
  EXPECT_EQ(crashed.end().reason, kError);
  EXPECT_EQ(crashed.end().signal, SIGSEGV);
}

TEST(Keeper, SaysWhyItCannotStart) {
  Kept missing({"no-such-program-at-all"});
  EXPECT_EQ(missing.end().reason, kCannotStart);
  EXPECT_NE(missing.end().message.find("no-such-program-at-all"), std::string::npos);
  EXPECT_FALSE(fs::exists(missing.path() / kStateFile));

  const testing::TestFolder other;
  const std::string script = other.path() / "script";
  EXPECT_TRUE(write_record(script, "#!/no/such/interpreter\n"));
  fs::permissions(script, fs::perms::owner_read);
  Kept forbidden({script});
  EXPECT_NE(forbidden.end().message.find("chmod +x"), std::string::npos);
  fs::permissions(script, fs::perms::owner_all);
  Kept without_interpreter({script});
  EXPECT_EQ(without_interpreter.end().reason, kCannotStart);
  EXPECT_NE(without_interpreter.end().message.find("interpreter"), std::string::npos);
  Kept no_folder(shell("true"), [](KeeperOrder& o) { o.spec.working_folder = "/no/such/folder"; });
  EXPECT_NE(no_folder.end().message.find("/no/such/folder"), std::string::npos);
  EXPECT_EQ(no_folder.reap(), 0);
}

TEST(Keeper, ADamagedOrderIsAnEnd) {
  const testing::TestFolder folder;
  EXPECT_TRUE(write_record(folder.path() / kSpecFile, "{\"version\":1,"));
  auto lock = lock_folder(folder.path());
  const auto keeper = spawn_keeper(this_program(), folder.path(), **lock);
  ASSERT_TRUE(keeper);
  ASSERT_TRUE(wait_file(folder.path() / kExitFile));
  const auto end = parse_end(text_of(folder.path() / kExitFile));
  EXPECT_EQ(end->reason, kCannotStart);
  EXPECT_NE(end->message.find("spec.json"), std::string::npos) << end->message;
  siginfo_t info{};
  ::waitid(P_PIDFD, static_cast<id_t>(keeper->get()), &info, WEXITED);
}

TEST(Keeper, OneFolderHasOneKeeperAndOneLife) {
  Kept kept(shell("exec sleep 1000"));
  kept.state();
  EXPECT_FALSE(lock_folder(kept.path())->has_value());
  EXPECT_TRUE(*is_locked(kept.path()));
  // By hand, without the lock.
  const auto second = [&kept] {
    const std::string log = kept.path() / "second.log";
    return std::system((this_program() + " keep " + kept.path().string() + " 2>" + log).c_str());
  };
  EXPECT_NE(second(), 0);
  EXPECT_NE(text_of(kept.path() / "second.log").find("another keeper"), std::string::npos);
  kept.signal(SIGUSR1);
  kept.end();
  kept.reap();
  EXPECT_FALSE(*is_locked(kept.path()));
  EXPECT_NE(second(), 0);
  EXPECT_NE(text_of(kept.path() / "second.log").find("has run already"), std::string::npos);
}

TEST(Keeper, DrainsWithinTheGrace) {
  Kept polite(shell("trap 'echo going; exit 0' TERM; echo up; while :; do sleep 0.01; done"));
  ASSERT_TRUE(polite.wait_log("up"));
  polite.signal(SIGTERM);
  EXPECT_EQ(polite.end().reason, kCompleted);
  EXPECT_EQ(polite.log(), "up\ngoing\n");

  // Without a handler the signal ends it, as it was told to.
  Kept plain(shell("echo up; exec sleep 1000"));
  ASSERT_TRUE(plain.wait_log("up"));
  plain.signal(SIGTERM);
  EXPECT_EQ(plain.end().reason, kCompleted);
  EXPECT_EQ(plain.end().signal, SIGTERM);

  Kept stubborn(shell("trap '' TERM; echo up; while :; do sleep 0.01; done"),
                [](KeeperOrder& o) { o.spec.grace = 100ms; });
  ASSERT_TRUE(stubborn.wait_log("up"));
  stubborn.signal(SIGTERM);
  const ReplicaEnd end = stubborn.end();
  EXPECT_EQ(end.reason, kError);
  EXPECT_EQ(end.signal, SIGKILL);
  EXPECT_NE(end.message.find("grace"), std::string::npos);
}

TEST(Keeper, ASignalDuringItsOwnStartIsNotLost) {
  Kept kept(shell("exec sleep 1000"));
  kept.signal(SIGTERM);
  EXPECT_EQ(kept.end().reason, kCompleted);
  EXPECT_EQ(kept.reap(), 0);
}

TEST(Keeper, TheOrderToEndSaysWhy) {
  Kept kept(shell("echo last words; exec sleep 1000"));
  ASSERT_TRUE(kept.wait_log("last words"));
  EXPECT_TRUE(write_record(
      kept.path() / kEndFile,
      record_text(EndOrder{.reason = std::string(kNotLive), .message = "no answer", .grace = 5s})));
  kept.signal(SIGTERM);
  EXPECT_EQ(kept.end().reason, kNotLive);
  EXPECT_EQ(kept.end().message, "no answer\nlast words");
}

TEST(Keeper, LeavesNoChildBehind) {
  // One child in the group, one in a session of its own, one whose parent has gone.
  const std::string script =
      "sleep 1000 & echo $! >one; setsid sh -c 'echo $$ >two; exec sleep 1000' & "
      "sh -c 'setsid sleep 1000 & echo $! >three'; echo $$ >self; "
      "while [ ! -s two ] || [ ! -s three ]; do sleep 0.01; done; ";
  for (const std::string& last : {std::string("exit 0"), std::string("exec sleep 1000")}) {
    Kept kept(shell(script + last));
    const std::vector<int64_t> all = {number_in(kept, "one"), number_in(kept, "two"),
                                      number_in(kept, "three"), number_in(kept, "self")};
    if (last != "exit 0") kept.signal(SIGUSR1);
    const std::string_view reason = last == "exit 0" ? kCompleted : kError;
    EXPECT_EQ(kept.end().reason, reason);
    for (const int64_t pid : all) EXPECT_TRUE(!read_stat(pid)) << pid;
  }
}

TEST(Keeper, ItsDeathIsTheProgramsDeath) {
  Kept kept(shell("setsid sleep 1000 & echo $! >child; echo $$ >self; exec sleep 1000"));
  const int64_t program = number_in(kept, "self");
  const int64_t child = number_in(kept, "child");
  const ReplicaState state = kept.state();
  kept.signal(SIGKILL);
  kept.reap();
  EXPECT_TRUE(wait_ended(program));
  EXPECT_FALSE(fs::exists(kept.path() / kExitFile));
  // What the kernel does not find, the token does.
  EXPECT_TRUE(read_stat(child));
  EXPECT_GE(kill_leftovers(kept.token(), &state), 1u);
  EXPECT_TRUE(wait_ended(child));
  EXPECT_EQ(kill_leftovers(kept.token(), &state), 0u);
}

TEST(Keeper, EndsWhoHasTooMuchMemory) {
  Kept hog(testing::hog(), [](KeeperOrder& o) { o.spec.memory_bytes = 64u << 20; });
  EXPECT_EQ(hog.state().memory_limit, "watchdog");
  const ReplicaEnd end = hog.end();
  EXPECT_EQ(end.reason, kOutOfMemory);
  EXPECT_EQ(end.signal, SIGKILL);
  EXPECT_NE(end.message.find("67108864"), std::string::npos) << end.message;
}

// Kills itself as the kernel would, once it has so many MiB and the keeper has seen them.
std::vector<std::string> killed_with(int mebibytes) {
  return {"python3", "-c",
          fmt::format("import os, time\nall = b'x' * ({} << 20)\ntime.sleep(1)\n"
                      "os.kill(os.getpid(), 9)",
                      mebibytes)};
}

TEST(Keeper, WhoIsKilledNearItsLimitWasFasterThanTheWatchdog) {
  const auto limit = [](KeeperOrder& o) { o.spec.memory_bytes = 200u << 20; };
  Kept near(killed_with(185), limit);
  Kept far(killed_with(20), limit);
  const ReplicaEnd end = near.end();
  EXPECT_EQ(end.reason, kOutOfMemory);
  EXPECT_EQ(end.signal, SIGKILL);
  EXPECT_NE(end.message.find("of its 209715200 bytes"), std::string::npos) << end.message;
  EXPECT_EQ(far.end().reason, kError);
}

TEST(Keeper, AControlGroupLimitsWhereItCanBeMade) {
  const auto made = [] {
    ReplicaGroup group = ReplicaGroup::create(ControlGroups::of_this_process(),
                                              "sluice-" + new_id(""), 64u << 20, 0);
    const bool limits = group.limits_memory();
    group.remove();
    return limits;
  };
  if (!made()) GTEST_SKIP() << "control groups of memory cannot be made here";
  Kept hog(testing::hog(), [](KeeperOrder& o) {
    o.control_groups = true;
    o.spec.memory_bytes = 64u << 20;
    o.spec.cpus = 0.5;
  });
  const ReplicaState state = hog.state();
  EXPECT_EQ(state.memory_limit, "cgroup");
  const ReplicaEnd end = hog.end();
  EXPECT_EQ(end.reason, kOutOfMemory) << end.message;
  EXPECT_EQ(hog.reap(), 0);
  for (const std::string& folder : state.control_groups) EXPECT_FALSE(fs::exists(folder));
}

TEST(Keeper, ProcessorsAreLimitedAsItSays) {
  Kept kept(shell("nproc >count.tmp; mv count.tmp count; exec sleep 1000"),
            [](KeeperOrder& o) { o.spec.cpus = 1; });
  const int64_t count = number_in(kept, "count");
  const bool several = kept.state().cpu_limit == "affinity";
  EXPECT_EQ(count, several ? 1 : count);
}

TEST(Keeper, AFloodNeitherStopsItNorFillsTheDisk) {
  Kept flood(shell("exec yes a line of the flood"), [](KeeperOrder& o) {
    o.logs = {
        .file_bytes = 100'000, .files = 2, .bytes_per_second = 4u << 20, .burst_bytes = 100'000};
  });
  size_t bytes = 0;
  const auto told = [&] {
    bool found = false;
    bytes = 0;
    for (int age = 0; age <= 3; ++age) {
      const std::string text = text_of(log_path(flood.path(), age));
      bytes += text.size();
      found = found || text.find("lines were dropped here") != std::string::npos;
    }
    return found && fs::exists(log_path(flood.path(), 2));
  };
  EXPECT_TRUE(wait_in(flood.path(), told));
  flood.signal(SIGTERM);
  EXPECT_EQ(flood.end().reason, kCompleted);
  EXPECT_TRUE(told());
  EXPECT_LT(bytes, 3u * 110'000);
}

TEST(Keeper, LosesNoLineOfAProgramThatEnds) {
  Kept kept(shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"),
            [](KeeperOrder& o) { o.logs.file_bytes = 4096, o.logs.files = 50; });
  EXPECT_EQ(kept.end().reason, kCompleted);
  std::string wanted;
  for (int i = 0; i < 3000; ++i) wanted += "line " + std::to_string(i) + "\n";
  EXPECT_EQ(*read_log_tail(kept.path(), 1u << 20), wanted);
}

TEST(Keeper, HandsAListeningSocketOver) {
  // Whoever connects before the program listens is answered all the same: the program waits for a
  // file which is made once the request has been sent.
  Kept kept({"/bin/sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; exec \"$0\" replica",
             this_program()},
            [](KeeperOrder& o) { o.spec.takes_socket = true; });
  const ReplicaState state = kept.state();
  const net::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = net::numeric_address("127.0.0.1", state.port);
  ASSERT_EQ(::connect(socket.get(), address->raw(), address->length), 0);
  const std::string request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  ASSERT_EQ(::send(socket.get(), request.data(), request.size(), 0),
            static_cast<ssize_t>(request.size()));
  testing::touch(kept.path() / kWorkFolder / "go");
  std::string answer;
  std::array<char, 4096> part;
  for (ssize_t got = 0; (got = ::recv(socket.get(), part.data(), part.size(), 0)) > 0;) {
    answer.append(part.data(), static_cast<size_t>(got));
  }
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_TRUE(answer.ends_with("here\n")) << answer;
}

TEST(Keeper, TellsAFreePort) {
  Kept kept({this_program(), "replica", "$(PORT)"});
  const ReplicaState state = kept.state();
  ASSERT_TRUE(kept.wait_log("up"));
  net::HttpClient client;
  const auto answer = client.fetch({.url = "http://127.0.0.1:" + std::to_string(state.port) + "/"});
  ASSERT_TRUE(answer) << answer.error().message();
  const std::string path = "/proc/" + std::to_string(state.program.pid) + "/cmdline";
  const std::string words = read_kernel_file(path);
  EXPECT_NE(words.find(std::string(1, '\0') + std::to_string(state.port)), std::string::npos);
}

TEST(Keeper, WritesItsFilesAnew) {
  Kept kept(shell("exec sleep 1000"));
  const ReplicaState state = kept.state();
  const std::string order = text_of(kept.path() / kSpecFile);
  fs::resize_file(kept.path() / kStateFile, 10);
  fs::resize_file(kept.path() / kSpecFile, 0);
  kept.signal(SIGHUP);
  EXPECT_TRUE(wait_in(kept.path(), [&] {
    const auto again = parse_state(text_of(kept.path() / kStateFile));
    return again && *again == state;
  }));
  EXPECT_EQ(text_of(kept.path() / kSpecFile), order);
}

TEST(Folder, IsFoundByWhoHoldsItsLock) {
  Kept kept(shell("exec sleep 1000"));
  EXPECT_EQ(find_lock_holder(kept.path()), kept.state().keeper);
  kept.signal(SIGKILL);
  kept.reap();
  EXPECT_EQ(find_lock_holder(kept.path()).pid, 0);
}

TEST(Folder, IsOurOwnOrRefused) {
  const testing::TestFolder folder;
  EXPECT_TRUE(own_folder(folder.path() / "new"));
  EXPECT_TRUE(own_folder(folder.path() / "new"));
  fs::permissions(folder.path() / "new", fs::perms::all);
  EXPECT_NE(own_folder(folder.path() / "new").error().message().find("chmod go-w"),
            std::string::npos);
  testing::touch(folder.path() / "file");
  EXPECT_EQ(own_folder(folder.path() / "file").error().code(), Code::kFailedPrecondition);
  EXPECT_FALSE(own_folder("/proc/nothing/here"));
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown((folder.path() / "new").c_str(), 12345, 0), 0);
    EXPECT_EQ(own_folder(folder.path() / "new").error().code(), Code::kPermissionDenied);
  }
}

// Files as the kernel shows them, in a folder of the test's.
TEST(ControlGroups, AreReadAndMade) {
  const testing::TestFolder folder;
  const fs::path& root = folder.path();
  const auto write = [&](const fs::path& file, std::string_view text) {
    fs::create_directories((root / file).parent_path());
    EXPECT_TRUE(write_record(root / file, text));
  };
  EXPECT_EQ(ControlGroups::find(root, "0::/a/b\n").version, ControlGroups::Version::kNone);
  write("cgroup.controllers", "cpu memory\n");
  write("a/memory.max", "1000000\n");
  write("a/cpu.max", "150000 100000\n");
  write("a/b/memory.max", "max\n");
  write("a/b/cpu.max", "max 100000\n");
  // A neighbour below was killed: here nobody was.
  write("a/b/memory.events", "oom 2\noom_kill 2\n");
  write("a/b/memory.events.local", "oom 0\noom_kill 0\n");
  const auto here = ReplicaGroup::of_folders({(root / "a/b").string()});
  EXPECT_EQ(here.out_of_memory_kills(), 2u);
  EXPECT_EQ(here.out_of_memory_kills_here(), 0u);
  const auto v2 = ControlGroups::find(root, "0::/a/b\n");
  EXPECT_EQ(v2.version, ControlGroups::Version::kV2);
  EXPECT_EQ(v2.memory_limit(), 1'000'000u);
  EXPECT_DOUBLE_EQ(v2.cpu_limit(), 1.5);
  // A path of another namespace: the mount's root is ours.
  EXPECT_EQ(ControlGroups::find(root, "0::/elsewhere\n").memory, root);

  const testing::TestFolder old;
  fs::create_directories(old.path() / "memory/x");
  fs::create_directories(old.path() / "cpu");
  EXPECT_TRUE(write_record(old.path() / "memory/x/memory.limit_in_bytes", "5000000\n"));
  EXPECT_TRUE(write_record(old.path() / "cpu/cpu.cfs_quota_us", "-1\n"));
  EXPECT_TRUE(write_record(old.path() / "cpu/cpu.cfs_period_us", "100000\n"));
  const auto v1 =
      ControlGroups::find(old.path(), "4:memory:/x\n2:cpu,cpuacct:/y\n1:name=systemd:/\n0::/\n");
  EXPECT_EQ(v1.version, ControlGroups::Version::kV1);
  EXPECT_EQ(v1.memory, old.path() / "memory/x");
  EXPECT_EQ(v1.cpu, old.path() / "cpu");
  EXPECT_EQ(v1.memory_limit(), 5'000'000u);
  EXPECT_EQ(v1.cpu_limit(), 0);
  // Plain folders have no files of the kernel's: nothing is limited, nothing is left.
  const auto group = ReplicaGroup::create(v1, "sluice-t", 1u << 20, 1);
  EXPECT_FALSE(group.limits_memory());
  EXPECT_FALSE(fs::exists(old.path() / "memory/x/sluice-t"));
}

}  // namespace
}  // namespace sluice::process

int main(int argc, char** argv) {
  if (const auto status = sluice::process::testing::run_as_process(argc, argv)) return *status;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
