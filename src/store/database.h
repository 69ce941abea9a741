// A SQLite database: one connection, prepared statements, transactions.
//
// One thread at a time per Database. Several connections, of several processes too, may be open on
// one file: it is in WAL mode, and who finds it locked waits up to kBusyWait.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sluice::store {

inline constexpr std::chrono::milliseconds kBusyWait{5000};

// What a committed transaction outlives.
enum class Durability {
  // The end of the process at any moment. This connection never waits for the disk; another one to
  // the same file, of kMachine, is to make the checkpoints.
  kProcess,
  kMachine,  // the end of the machine too; an fsync at each commit
};

// A prepared statement. Belongs to its Database and must not outlive it.
//
//   statement.bind(1, key);
//   while (true) { ASSIGN_OR_RETURN(bool row, statement.step()); if (!row) break; … }
//   statement.reset();
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  // Parameters count from 1. Text is copied.
  Statement& bind(int parameter, int64_t value);
  Statement& bind(int parameter, double value);
  Statement& bind(int parameter, std::string_view text);
  Statement& bind_null(int parameter);

  // True: a row is there. False: done.
  Result<bool> step();
  // Steps to the end, drops the rows, resets.
  Outcome run();
  // For the next use; bindings are cleared.
  void reset();

  // Columns count from 0, of the present row.
  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  bool is_null(int column) const;

 private:
  friend class Database;
  explicit Statement(sqlite3_stmt* handle) : handle_(handle) {}
  sqlite3_stmt* handle_;
};

class Database {
 public:
  // Opens or creates the file (mode 0600) and sets WAL. A file that is no database is refused by
  // name.
  static Result<Database> open(const std::filesystem::path& path, Durability durability);

  // Gone with the object.
  static Result<Database> open_in_memory();

  Database(Database&& other) noexcept;
  Database& operator=(Database&&) = delete;
  ~Database();

  Result<Statement> prepare(std::string_view sql);
  // One or more statements without parameters or rows.
  Outcome execute(const std::string& sql);

  // Runs `body` in a transaction: commits when it succeeds, rolls back when not.
  template <typename Body>
  Outcome transact(Body&& body) {
    SLUICE_RETURN_IF_ERROR(execute("BEGIN IMMEDIATE"));
    Outcome done = body();
    if (done) done = execute("COMMIT");
    if (!done) static_cast<void>(execute("ROLLBACK"));
    return done;
  }

  // How long to wait for whoever holds the database locked, instead of kBusyWait.
  void set_busy_wait(std::chrono::milliseconds longest);

  int64_t changes() const;         // rows that the last statement changed
  int64_t last_insert_id() const;  // rowid of the last insert

  // Moves the write-ahead log into the file, as far as no reader needs it; nobody waits meanwhile.
  // Gives the pages that the log holds. It begins anew only when nothing was written meanwhile.
  Result<int64_t> checkpoint();
  // The same to the end, and empties the log. Writers wait for as long.
  Outcome empty_log();

 private:
  explicit Database(sqlite3* handle) : handle_(handle) {}
  sqlite3* handle_;
};

// Brings the schema up to date: migrations[i] (SQL) leads from version i to i + 1, all in one
// transaction. A file of a newer version than is known is refused.
Outcome migrate(Database& database, std::span<const std::string_view> migrations);

}  // namespace sluice::store
