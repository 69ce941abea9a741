#include "process/records.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>

#include "process/keeper_order.h"
#include "process/ports.h"
#include "process/proc_info.h"
#include "process/program.h"
#include "process/test_processes.h"

namespace sluice::process {
namespace {

using namespace std::chrono_literals;
using testing::TestFolder;

KeeperOrder full_order() {
  KeeperOrder order;
  order.token = "0123abc";
  order.control_groups = false;
  order.logs = {.file_bytes = 5000, .files = 2, .bytes_per_second = 77, .burst_bytes = 9999};
  ReplicaSpec& spec = order.spec;
  spec.id = "story-predictor-00001.a";
  spec.command = {"sluice", "serve", "--port", "$(PORT)", "ü \"quoted\"\n"};
  spec.environment = {{"KEY", "s3cret=="}, {"EMPTY", ""}};
  spec.working_folder = "/tmp";
  spec.takes_socket = true;
  spec.memory_bytes = 123u << 20;
  spec.cpus = 1.5;
  spec.grace = 12s;
  spec.startup = Probe{.kind = Probe::Kind::kTcp, .period = 3s, .failure_threshold = 60};
  spec.readiness =
      Probe{.path = "/ready?full=1", .https = true, .headers = {{"X-Key", "v"}}, .timeout = 250ms};
  spec.liveness = Probe{.initial_delay = 5s, .success_threshold = 2};
  return order;
}

TEST(KeeperOrder, ComesBackAsItWas) {
  const KeeperOrder order = full_order();
  const auto again = parse_order(order_text(order));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, order);
  KeeperOrder plain;
  plain.token = "t";
  plain.spec.id = "a";
  plain.spec.command = {"true"};
  const auto plain_again = parse_order(order_text(plain));
  ASSERT_TRUE(plain_again) << plain_again.error().message();
  EXPECT_EQ(*plain_again, plain);
}

TEST(KeeperOrder, SaysWhatIsWrong) {
  struct Case {
    std::string from, to, said;
  };
  const std::string good = order_text(full_order());
  for (const Case& c : std::vector<Case>{
           {"\"version\":1", "\"version\":2", "version: expected an integer from 1 to 1"},
           {"\"token\":\"0123abc\"", "\"token\":\"../x\"", "token"},
           {"\"token\":\"0123abc\",", "", "token: it must be there"},
           {"\"grace_ms\":12000", "\"grace_ms\":\"12 s\"", "replica.grace_ms: expected an integer"},
           {"\"grace_ms\":12000", "\"grace_ms\":-1", "replica.grace_ms"},
           {"\"takes_socket\":true", "\"takes_socket\":1", "true or false, found an integer"},
           {"\"cpus\":1.5E0", "\"cpus\":-1", "replica.cpus"},
           {"\"kind\":\"tcp\"", "\"kind\":\"exec\"", "replica.startup.kind: expected http or tcp"},
           {"\"path\":\"/ready?full=1\"", "\"path\":\"ready\"", "readiness.path"},
           {"[\"KEY\",\"s3cret==\"]", "[\"KEY\"]", "replica.environment: expected pairs"},
           {"[\"KEY\",\"s3cret==\"]", "[\"K=Y\",\"\"]", "environment"},
           {"\"files\":2", "\"files\":2,\"more\":0", "logs.more: there is no such field"},
           {"\"id\":\"story-predictor-00001.a\"", "\"id\":\"../../etc\"", "id"},
           {"\"working_folder\":\"/tmp\"", "\"working_folder\":\"tmp\"", "working_folder"},
           {"\"memory_bytes\":128974848", "\"memory_bytes\":5", "memory_bytes"},
           {"}\n", "", "JSON"}}) {
    std::string text = good;
    const size_t at = text.find(c.from);
    ASSERT_NE(at, std::string::npos) << c.from;
    text.replace(at, c.from.size(), c.to);
    const auto order = parse_order(text);
    ASSERT_FALSE(order) << c.to;
    EXPECT_NE(order.error().message().find(c.said), std::string::npos) << order.error().message();
    // A secret is in no message.
    EXPECT_EQ(order.error().message().find("s3cret"), std::string::npos);
  }
}

TEST(KeeperOrder, RefusesWhatCanNeverRun) {
  const auto field = [](const std::function<void(ReplicaSpec&)>& spoil) {
    ReplicaSpec spec = full_order().spec;
    spoil(spec);
    const auto checked = check_spec(spec);
    return checked ? std::string("nothing") : checked.error().param();
  };
  EXPECT_EQ(field([](ReplicaSpec&) {}), "nothing");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.id = ".hidden"; }), "id");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.id = std::string(201, 'a'); }), "id");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.command.clear(); }), "command");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.command[1] = std::string("a\0b", 3); }), "command");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.command[1] = "\xff"; }), "command");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.command[1] = std::string(200'000, 'a'); }), "command");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.command.assign(20, std::string(100'000, 'a')); }),
            "command");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.environment[0].first = ""; }), "environment");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.grace = -1s; }), "grace");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.cpus = std::numeric_limits<double>::quiet_NaN(); }),
            "cpus");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.liveness->period = 0s; }), "liveness.period");
  EXPECT_EQ(field([](ReplicaSpec& s) { s.readiness->headers[0].second = "a\r\nb"; }),
            "readiness.headers");
}

TEST(Records, ComeBackAsTheyWere) {
  const ReplicaState state{.token = "abc",
                           .boot = "b-1",
                           .keeper = {.pid = 12, .start_ticks = 345},
                           .program = {.pid = 13, .start_ticks = 346},
                           .port = 20'001,
                           .started_unix = 1.75e9,
                           .memory_limit = "watchdog",
                           .cpu_limit = "affinity",
                           .control_groups = {"/sys/fs/cgroup/memory/x"}};
  EXPECT_EQ(parse_state(record_text(state)).value(), state);
  const ReplicaEnd end{.token = "abc",
                       .code = 0,
                       .signal = 9,
                       .reason = std::string(kOutOfMemory),
                       .message = "a\n\tb ü",
                       .at_unix = 1.75e9};
  EXPECT_EQ(parse_end(record_text(end)).value(), end);
  const EndOrder order{.reason = std::string(kNotLive), .message = "m", .grace = 1500ms};
  EXPECT_EQ(parse_end_order(record_text(order)).value(), order);
  EXPECT_EQ(parse_end_order(record_text(EndOrder{})).value(), EndOrder{});
}

TEST(Records, RefuseDamage) {
  for (const char* text : {"", "{", "[]", "{}", "7", "{\"token\":7}"}) {
    EXPECT_FALSE(parse_state(text)) << text;
    EXPECT_FALSE(parse_end(text)) << text;
  }
  EXPECT_FALSE(parse_end(R"({"token":"a","code":300,"signal":0,"reason":"Error"})"));
  EXPECT_FALSE(parse_end_order(R"({"grace_ms":1.5})"));
  EXPECT_FALSE(parse_state(std::string(kMaxRecordBytes + 1, ' ')));
}

TEST(Records, TailsAreReadable) {
  EXPECT_EQ(readable_tail("one\ntwo\n\n"), "one\ntwo");
  EXPECT_EQ(readable_tail("\x1b[31mred\xff\xc0\xaf ü \xed\xa0\x80"), "?[31mred??? ü ???");
  const std::string long_text = std::string(kMaxMessageBytes, 'x') + "\nlast\n";
  EXPECT_EQ(readable_tail(long_text), "last");
  EXPECT_EQ(readable_tail(std::string(10'000, 'y')).size(), kMaxMessageBytes);
}

TEST(ProcInfo, ReadsOurselves) {
  const auto stat = read_stat(::getpid());
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, ::getpid());
  EXPECT_EQ(stat->parent, ::getppid());
  EXPECT_EQ(stat->session, ::getsid(0));
  EXPECT_GT(private_memory(::getpid()), 64u << 10);
  EXPECT_TRUE(open_process(name_process(::getpid())).valid());
  EXPECT_FALSE(open_process({.pid = ::getpid(), .start_ticks = stat->start_ticks + 1}).valid());
  EXPECT_EQ(boot_id().size(), 36u);
}

TEST(ProcInfo, ANameMayHoldAnything) {
  const auto stat = parse_stat(
      "41 (a) S 7 (b) R 1 2 3 0 -1 4194304 0 0 0 0 100 50 10 5 20 0 1 0 987654 0 0 "
      "18446744073709551615");
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 41);
  EXPECT_EQ(stat->state, 'R');
  EXPECT_EQ(stat->parent, 1);
  EXPECT_EQ(stat->session, 3);
  EXPECT_EQ(stat->start_ticks, 987654u);
  for (const char* text : {"", "41", "41 (a", "41 (a)", "x (a) R 1 2 3", ") ( R"}) {
    EXPECT_FALSE(parse_stat(text)) << text;
  }
  EXPECT_EQ(
      parse_private_memory("Name:\tRssAnon:\nRssAnon:\t  10 kB\nRssShmem:\t 2 kB\nVmSwap:\t1 kB"),
      13u * 1024);
  EXPECT_EQ(parse_private_memory("\nRssAnon:"), 0u);
}

TEST(Program, IsToldItsPort) {
  EXPECT_EQ(with_port("--port=$(PORT) $(PORT)$(PORT2)", 81), "--port=81 81$(PORT2)");
  EXPECT_EQ(with_port("$$(PORT) $(PORT", 81), "$(PORT) $(PORT");
}

TEST(Program, EnvironmentIsOfTheMachineAndTheSpec) {
  const ReplicaSpec spec{.id = "r1",
                         .command = {"x"},
                         .environment = {{"HOME", "/elsewhere"},
                                         {"ADDRESS", "127.0.0.1:$(PORT)"},
                                         {"SLUICE_REPLICA_TOKEN", "forged"}}};
  std::vector<std::string> own = {"PATH=/bin", "HOME=/root", "SLUICE_ADMIN_KEY=secret",
                                  "LC_ALL=C.UTF-8", "AWS_SECRET=no"};
  std::vector<char*> pointers;
  pointers.reserve(own.size() + 1);
  for (std::string& each : own) pointers.push_back(each.data());
  pointers.push_back(nullptr);
  const ReplicaGroup none;
  const ProgramStart start{.spec = spec, .token = "tok", .folder = {}, .port = 81, .group = none};
  const auto got = program_environment(start, pointers.data());
  const std::vector<std::string> wanted = {
      "SLUICE_REPLICA_TOKEN=tok", "PATH=/bin",       "LC_ALL=C.UTF-8",      "PORT=81",
      "SLUICE_REPLICA=r1",        "HOME=/elsewhere", "ADDRESS=127.0.0.1:81"};
  EXPECT_EQ(got, wanted);
}

TEST(Program, SaysWhyItCannotBeFound) {
  const TestFolder folder;
  const std::string file = folder.path() / "thing";
  testing::touch(file);
  const auto said = [](const std::string& name, const std::vector<std::string>& environment) {
    const auto found = find_program(name, environment);
    return found ? *found : found.error().message();
  };
  EXPECT_EQ(said("/nowhere/thing", {}), "there is no program /nowhere/thing");
  EXPECT_NE(said(file, {}).find("chmod +x"), std::string::npos);
  EXPECT_NE(said(folder.path(), {}).find("chmod +x"), std::string::npos);
  EXPECT_NE(said("no-such-thing", {"PATH=/a:/b"}).find("PATH (/a:/b)"), std::string::npos);
  EXPECT_NE(said("thing", {"PATH=/a:" + folder.path().string()}).find("chmod +x"),
            std::string::npos);
  EXPECT_EQ(said("sh", {"PATH=/nowhere:/bin"}), "/bin/sh");
}

TEST(Ports, AreGivenToOneOnly) {
  std::vector<ReservedPort> all;
  all.reserve(50);
  for (int i = 0; i < 50; ++i) all.push_back(*reserve_port());
  std::ranges::sort(all, {}, &ReservedPort::port);
  EXPECT_EQ(std::ranges::adjacent_find(all, {}, &ReservedPort::port), all.end());
  for (const ReservedPort& each : all) {
    EXPECT_TRUE(net::listen_on("127.0.0.1", each.port)) << each.port;
  }
}

}  // namespace
}  // namespace sluice::process
