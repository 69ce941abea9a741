#include "gateway/ledger.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>

#include "store/database.h"

namespace sluice::gateway {
namespace {

using namespace std::chrono_literals;

class LedgerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(::testing::TempDir()) /
            (std::string("ledger_") +
             ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".db");
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(path_.string() + suffix);
    }
  }
  std::unique_ptr<Ledger> open() { return open(path_); }
  std::unique_ptr<Ledger> open(const std::filesystem::path& path) {
    auto ledger = Ledger::open(path, clock_);
    EXPECT_TRUE(ledger) << ledger.error().message();
    return *std::move(ledger);
  }
  Charge charge(int64_t prompt, int64_t completion) const {
    return {.tenant = "acme",
            .key = "web",
            .route = "chat",
            .model = "story",
            .tenant_limits = &tenant_,
            .key_limits = &key_,
            .price = {.prompt = 2'000'000, .completion = 6'000'000},
            .prompt_tokens = prompt,
            .most_completion_tokens = completion};
  }
  std::vector<UsageRow> usage(Ledger& ledger) {
    auto rows = ledger.usage(0, 1'000'000);
    EXPECT_TRUE(rows);
    return *std::move(rows);
  }

  std::filesystem::path path_;
  ManualClock clock_;
  plan::Limits tenant_{.tokens_per_minute = 1000};
  plan::Limits key_{};
};

TEST_F(LedgerTest, ReportsWhatWasUsed) {
  const auto ledger = open({});
  const auto id = ledger->reserve(charge(10, 90));
  ASSERT_TRUE(id);
  ledger->settle(*id, {.prompt = 10, .completion = 5}, "v1");
  ledger->settle(*id, {.prompt = 10, .completion = 5}, "v1");  // once only
  const auto rows = usage(*ledger);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].tenant, "acme");
  EXPECT_EQ(rows[0].version, "v1");
  EXPECT_EQ(rows[0].requests, 1);
  EXPECT_EQ(rows[0].unsettled, 0);
  EXPECT_EQ(rows[0].tokens.completion, 5);
  EXPECT_EQ(rows[0].micros, 10 * 2 + 5 * 6);
}

TEST_F(LedgerTest, DeniesByTenantAndByKey) {
  const auto ledger = open({});
  ASSERT_TRUE(ledger->reserve(charge(500, 400)));
  const auto by_tenant = ledger->reserve(charge(100, 1));
  ASSERT_FALSE(by_tenant);
  EXPECT_EQ(by_tenant.error().subject, "tenant");
  EXPECT_EQ(by_tenant.error().refusal->limit, LimitKind::kTokensPerMinute);
  key_.max_concurrent = 1;
  const auto by_key = ledger->reserve(charge(1, 1));
  ASSERT_FALSE(by_key);
  EXPECT_EQ(by_key.error().subject, "key");
  const auto left = ledger->minute_left("acme", "web");
  ASSERT_TRUE(left.tokens);
  EXPECT_EQ(left.tokens->left, 100);
  EXPECT_FALSE(left.requests);
}

TEST_F(LedgerTest, ARestartKeepsTheMinuteTheDayAndTheReport) {
  tenant_.tokens_per_day = 2000;
  {
    const auto ledger = open();
    const auto id = ledger->reserve(charge(300, 300));
    ledger->settle(*id, {.prompt = 300, .completion = 200}, "v1");
  }
  clock_.advance(10s);
  const auto ledger = open();
  EXPECT_FALSE(ledger->reserve(charge(501, 0)));
  EXPECT_TRUE(ledger->reserve(charge(500, 0)));
  clock_.advance(51s);  // the 500 settled tokens are out of the minute; 500 are reserved
  EXPECT_TRUE(ledger->reserve(charge(500, 0)));
  clock_.advance(61s);
  const auto over_day = ledger->reserve(charge(501, 0));
  ASSERT_FALSE(over_day);
  EXPECT_EQ(usage(*ledger)[0].tokens.completion, 200);
}

// The kernel ends the process between a reservation and its settlement.
TEST_F(LedgerTest, WhatAKilledProcessHadReservedIsSpent) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto ledger = Ledger::open(path_, clock_);
    if (!ledger) ::_exit(1);
    const auto settled = (*ledger)->reserve(charge(100, 100));
    (*ledger)->settle(*settled, {.prompt = 100, .completion = 1}, "v1");
    if (!(*ledger)->write()) ::_exit(2);
    // Settled, but not written when the end comes: as if it never were.
    const auto lost = (*ledger)->reserve(charge(50, 150));
    (*ledger)->settle(*lost, {.prompt = 50, .completion = 1}, "v1");
    if (!(*ledger)->reserve(charge(50, 450))) ::_exit(2);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
  const auto ledger = open();
  EXPECT_FALSE(ledger->reserve(charge(200, 0)));
  EXPECT_TRUE(ledger->reserve(charge(199, 0)));
  int64_t unsettled = 0;
  int64_t tokens = 0;
  for (const UsageRow& row : usage(*ledger)) {
    unsettled += row.unsettled;
    tokens += row.tokens.prompt + row.tokens.completion;
  }
  EXPECT_EQ(unsettled, 2);
  EXPECT_EQ(tokens, 101 + 200 + 500);
}

// An old gateway finishes its streams while the new one serves.
TEST_F(LedgerTest, AnotherLivingProcessesReservationsCountUntilItSettlesThem) {
  int to_child[2], to_parent[2];
  ASSERT_EQ(::pipe(to_child), 0);
  ASSERT_EQ(::pipe(to_parent), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto ledger = Ledger::open(path_, clock_);
    if (!ledger) ::_exit(1);
    const auto id = (*ledger)->reserve(charge(0, 900));
    char byte = 'r';
    if (!id || ::write(to_parent[1], &byte, 1) != 1 || ::read(to_child[0], &byte, 1) != 1) {
      ::_exit(2);
    }
    (*ledger)->settle(*id, {.prompt = 0, .completion = 100}, "v1");
    if (!(*ledger)->write()) ::_exit(3);
    if (::write(to_parent[1], &byte, 1) != 1 || ::read(to_child[0], &byte, 1) != 1) ::_exit(3);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(to_parent[0], &byte, 1), 1);
  const auto ledger = open();
  EXPECT_FALSE(ledger->reserve(charge(101, 0)));
  ASSERT_EQ(::write(to_child[1], &byte, 1), 1);
  ASSERT_EQ(::read(to_parent[0], &byte, 1), 1);
  ASSERT_TRUE(ledger->housekeeping());
  EXPECT_FALSE(ledger->reserve(charge(901, 0)));
  EXPECT_TRUE(ledger->reserve(charge(900, 0)));
  ASSERT_EQ(::write(to_child[1], &byte, 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// A gateway that was taken for ended settles late: nothing is counted twice, and housekeeping goes
// on.
TEST_F(LedgerTest, WhatAnotherOneCountedAlreadyIsNotCountedAgain) {
  const auto ledger = open();
  const auto id = ledger->reserve(charge(100, 100));
  ASSERT_TRUE(id);
  auto other = store::Database::open(path_, store::Durability::kProcess);
  ASSERT_TRUE(other);
  ASSERT_TRUE(
      other->execute("DELETE FROM reservation; "
                     "INSERT INTO spent VALUES (1, 0, 0, 'acme', 'web', 200, 0)"));
  ledger->settle(*id, {.prompt = 100, .completion = 1}, "v1");
  EXPECT_TRUE(usage(*ledger).empty());
  EXPECT_TRUE(ledger->housekeeping());
  EXPECT_TRUE(ledger->reserve(charge(800, 0)));
}

// Nothing in a steady load ever leaves the database at rest.
TEST_F(LedgerTest, TheWriteAheadLogIsEmptiedUnderLoad) {
  tenant_ = key_ = {};
  const auto ledger = open();
  const auto log = path_.string() + "-wal";
  for (int i = 0; i < 17'000; ++i) {
    const auto id = ledger->reserve(charge(1, 1));
    ASSERT_TRUE(id);
    ledger->settle(*id, {.prompt = 1, .completion = 1}, "v1");
    if (i % 100 == 0) ASSERT_TRUE(ledger->write());
  }
  EXPECT_GT(std::filesystem::file_size(log), size_t{64} << 20);
  ASSERT_TRUE(ledger->housekeeping());
  EXPECT_EQ(std::filesystem::file_size(log), 0u);
  EXPECT_EQ(usage(*ledger)[0].requests, 17'000);
}

TEST_F(LedgerTest, AFileOfTheFirstVersionIsTakenOver) {
  {
    auto old = store::Database::open(path_, store::Durability::kProcess);
    ASSERT_TRUE(old);
    ASSERT_TRUE(old->execute(R"sql(
CREATE TABLE reservation (
  id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, at REAL NOT NULL,
  tenant TEXT NOT NULL, key TEXT NOT NULL, route TEXT NOT NULL, model TEXT NOT NULL,
  prompt INTEGER NOT NULL, completion INTEGER NOT NULL,
  prompt_price INTEGER NOT NULL, completion_price INTEGER NOT NULL);
CREATE TABLE spent (id INTEGER PRIMARY KEY, reserved_at REAL NOT NULL, settled_at REAL NOT NULL,
  tenant TEXT NOT NULL, key TEXT NOT NULL, tokens INTEGER NOT NULL, micros INTEGER NOT NULL);
CREATE INDEX spent_by_time ON spent (settled_at);
CREATE TABLE usage (
  day INTEGER NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL, route TEXT NOT NULL,
  model TEXT NOT NULL, version TEXT NOT NULL, requests INTEGER NOT NULL, unsettled INTEGER NOT NULL,
  prompt INTEGER NOT NULL, completion INTEGER NOT NULL, micros INTEGER NOT NULL,
  PRIMARY KEY (day, tenant, key, route, model, version)) WITHOUT ROWID;
INSERT INTO reservation VALUES (7, '1@1', 1.7e9, 'acme', 'web', 'r', 'm', 100, 300, 0, 0);
PRAGMA user_version = 1;
)sql"));
  }
  const auto ledger = open();
  EXPECT_EQ(usage(*ledger)[0].unsettled, 1);
  const auto id = ledger->reserve(charge(1, 1));
  ASSERT_TRUE(id);
  EXPECT_GT(*id, 7);
}

TEST_F(LedgerTest, AbsurdAmountsAreRefusedAndLeaveTheAccountInOrder) {
  const auto ledger = open();
  const auto no = ledger->reserve(charge(INT64_MAX, INT64_MAX));
  ASSERT_FALSE(no);
  EXPECT_FALSE(no.error().refusal->retry_after);
  tenant_ = {};
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(ledger->reserve(charge(INT64_MAX, INT64_MAX)));
  tenant_.tokens_per_minute = 1000;
  EXPECT_FALSE(ledger->reserve(charge(1, 0)));
}

TEST_F(LedgerTest, NamesWithSlashesAreNotMixedUp) {
  const auto ledger = open({});
  plan::Limits limits{.max_concurrent = 1};
  Charge one{
      .tenant = "a/b", .key = "c", .route = "r", .model = "m", .key_limits = &limits, .price = {}};
  Charge two{
      .tenant = "a", .key = "b/c", .route = "r", .model = "m", .key_limits = &limits, .price = {}};
  EXPECT_TRUE(ledger->reserve(one));
  EXPECT_TRUE(ledger->reserve(two));
}

TEST_F(LedgerTest, SixtyFourAtOnceNeverPassTheLimit) {
  const auto ledger = open();
  std::atomic<int64_t> admitted{0};
  std::vector<std::jthread> threads;
  threads.reserve(64);
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&] {
      for (int request = 0; request < 8; ++request) {
        const auto id = ledger->reserve(charge(3, 4));
        if (!id) continue;
        admitted += 7;
        ledger->settle(*id, {.prompt = 3, .completion = 4}, "v1");
      }
    });
  }
  threads.clear();
  EXPECT_EQ(admitted, 994);  // the most that sevens can make of 1000
  EXPECT_EQ(usage(*ledger)[0].requests, 142);
}

}  // namespace
}  // namespace sluice::gateway
