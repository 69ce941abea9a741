#include "store/database.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

namespace sluice::store {
namespace {

class DatabaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(::testing::TempDir()) /
            (std::string("store_") +
             ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".db");
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(path_.string() + suffix);
    }
  }
  Database open() {
    auto database = Database::open(path_, Durability::kProcess);
    EXPECT_TRUE(database) << database.error().message();
    return *std::move(database);
  }
  std::filesystem::path path_;
};

constexpr std::array<std::string_view, 1> kFirst = {
    "CREATE TABLE used (name TEXT PRIMARY KEY, tokens INTEGER NOT NULL)"};

TEST_F(DatabaseTest, KeepsWhatWasCommitted) {
  {
    Database database = open();
    ASSERT_TRUE(migrate(database, kFirst));
    auto insert = database.prepare("INSERT INTO used VALUES (?1, ?2)");
    ASSERT_TRUE(insert);
    ASSERT_TRUE(insert->bind(1, "alice").bind(2, int64_t{41}).run());
    ASSERT_TRUE(insert->bind(1, "bob").bind(2, int64_t{-9007199254740993}).run());
    EXPECT_EQ(database.changes(), 1);
  }
  Database database = open();
  auto query = database.prepare("SELECT name, tokens, NULL FROM used ORDER BY name");
  ASSERT_TRUE(query);
  ASSERT_TRUE(query->step().value());
  EXPECT_EQ(query->text(0), "alice");
  EXPECT_EQ(query->integer(1), 41);
  EXPECT_TRUE(query->is_null(2));
  ASSERT_TRUE(query->step().value());
  EXPECT_EQ(query->integer(1), -9007199254740993);
  EXPECT_FALSE(query->step().value());
}

TEST_F(DatabaseTest, RollsBackAFailedTransaction) {
  Database database = open();
  ASSERT_TRUE(migrate(database, kFirst));
  const Outcome done = database.transact([&]() -> Outcome {
    SLUICE_RETURN_IF_ERROR(database.execute("INSERT INTO used VALUES ('a', 1)"));
    return database.execute("INSERT INTO used VALUES ('a', 2)");
  });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), Code::kAlreadyExists);
  auto count = database.prepare("SELECT COUNT(*) FROM used");
  ASSERT_TRUE(count->step().value());
  EXPECT_EQ(count->integer(0), 0);
}

TEST_F(DatabaseTest, MigratesOnceAndRefusesANewerSchema) {
  Database database = open();
  ASSERT_TRUE(migrate(database, kFirst));
  constexpr std::array<std::string_view, 2> kSecond = {
      kFirst[0], "ALTER TABLE used ADD COLUMN cost INTEGER DEFAULT 7"};
  ASSERT_TRUE(migrate(database, kSecond));
  ASSERT_TRUE(migrate(database, kSecond));
  ASSERT_TRUE(database.execute("INSERT INTO used (name, tokens) VALUES ('a', 1)"));
  const Outcome old = migrate(database, kFirst);
  ASSERT_FALSE(old);
  EXPECT_NE(old.error().message().find("version 2"), std::string::npos);
}

TEST_F(DatabaseTest, AMigratedFileIsOpenedWithoutAWrite) {
  Database database = open();
  ASSERT_TRUE(migrate(database, kFirst));
  ASSERT_TRUE(database.empty_log());
  ASSERT_TRUE(migrate(database, kFirst));
  EXPECT_EQ(database.checkpoint().value(), 0) << "pages in the log: a full disk has no room";
}

TEST_F(DatabaseTest, AFailedMigrationLeavesTheOldSchema) {
  Database database = open();
  constexpr std::array<std::string_view, 2> kBroken = {kFirst[0], "CREATE NONSENSE"};
  EXPECT_FALSE(migrate(database, kBroken));
  EXPECT_FALSE(database.prepare("SELECT * FROM used"));
  EXPECT_TRUE(migrate(database, kFirst));
}

TEST_F(DatabaseTest, RefusesWhatIsNoDatabase) {
  std::ofstream(path_) << std::string(4096, 'x');
  const auto database = Database::open(path_, Durability::kProcess);
  ASSERT_FALSE(database);
  EXPECT_EQ(database.error().code(), Code::kDataLoss);
  EXPECT_NE(database.error().message().find(path_.string()), std::string::npos);
}

TEST_F(DatabaseTest, TheFileIsTheOwnersAlone) {
  Database database = open();
  ASSERT_TRUE(migrate(database, kFirst));
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(DatabaseTest, ReadersSeeTheStateBeforeAnOpenTransaction) {
  Database writer = open();
  ASSERT_TRUE(migrate(writer, kFirst));
  Database reader = open();
  ASSERT_TRUE(writer.execute("BEGIN IMMEDIATE; INSERT INTO used VALUES ('a', 1)"));
  auto count = reader.prepare("SELECT COUNT(*) FROM used");
  ASSERT_TRUE(count->step().value());
  EXPECT_EQ(count->integer(0), 0);
  count->reset();
  ASSERT_TRUE(writer.execute("COMMIT"));
  ASSERT_TRUE(count->step().value());
  EXPECT_EQ(count->integer(0), 1);
}

// Whether another process would find the file unlocked, as one does that opens a database nobody
// uses: it may then take the write-ahead log away.
bool unlocked_for_others(const std::filesystem::path& path) {
  const pid_t child = ::fork();
  if (child == 0) {
    struct flock lock{
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
    const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    ::_exit(::fcntl(file, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK ? 1 : 0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WEXITSTATUS(status) == 1;
}

TEST_F(DatabaseTest, ASecondConnectionLeavesTheFirstItsLocks) {
  {
    Database first = open();
    ASSERT_TRUE(migrate(first, kFirst));
    EXPECT_FALSE(unlocked_for_others(path_));
    Database second = open();
    EXPECT_FALSE(unlocked_for_others(path_));
  }
  EXPECT_TRUE(unlocked_for_others(path_)) << "the test could not fail";
}

}  // namespace
}  // namespace sluice::store
