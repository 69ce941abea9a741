#include "store/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace sluice::store {
namespace {

// The longest part of a statement that an error repeats.
constexpr size_t kShownSql = 120;

Code code_of(int error) {
  switch (error & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Code::kUnavailable;
    case SQLITE_FULL:
      return Code::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Code::kDataLoss;
    case SQLITE_CONSTRAINT:
      return Code::kAlreadyExists;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return Code::kPermissionDenied;
    default:
      return Code::kInternal;
  }
}

Status error_of(sqlite3* handle, std::string_view sql) {
  const int error = sqlite3_extended_errcode(handle);
  return Status(code_of(error), fmt::format("the database answered \"{}\" to: {}",
                                            sqlite3_errmsg(handle), sql.substr(0, kShownSql)));
}

}  // namespace

Statement::Statement(Statement&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

Statement::~Statement() { sqlite3_finalize(handle_); }

Statement& Statement::bind(int parameter, int64_t value) {
  sqlite3_bind_int64(handle_, parameter, value);
  return *this;
}

Statement& Statement::bind(int parameter, double value) {
  sqlite3_bind_double(handle_, parameter, value);
  return *this;
}

Statement& Statement::bind(int parameter, std::string_view text) {
  sqlite3_bind_text64(handle_, parameter, text.data() == nullptr ? "" : text.data(), text.size(),
                      SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind_null(int parameter) {
  sqlite3_bind_null(handle_, parameter);
  return *this;
}

Result<bool> Statement::step() {
  switch (sqlite3_step(handle_)) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default: {
      Status status = error_of(sqlite3_db_handle(handle_), sqlite3_sql(handle_));
      sqlite3_reset(handle_);
      return std::unexpected(std::move(status));
    }
  }
}

Outcome Statement::run() {
  while (true) {
    auto row = step();
    if (!row) {
      reset();
      return std::unexpected(std::move(row).error());
    }
    if (!*row) break;
  }
  reset();
  return {};
}

void Statement::reset() {
  sqlite3_reset(handle_);
  sqlite3_clear_bindings(handle_);
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }

double Statement::real(int column) const { return sqlite3_column_double(handle_, column); }

std::string Statement::text(int column) const {
  const auto* bytes = sqlite3_column_text(handle_, column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes),
          static_cast<size_t>(sqlite3_column_bytes(handle_, column))};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

Result<Database> Database::open(const std::filesystem::path& path, Durability durability) {
  // SQLite gives its own files beside it the mode of this one. A file that exists must not be
  // opened and closed here: that would give up this process's locks on it, those of its other
  // connections too, and another process could then take the write-ahead log away under them.
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file >= 0) ::close(file);
  sqlite3* handle = nullptr;
  const int opened =
      sqlite3_open_v2(path.c_str(), &handle,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(handle);
  if (opened != SQLITE_OK) {
    return fail(code_of(opened), fmt::format("cannot open the database {}: {}", path.string(),
                                             sqlite3_errstr(opened)));
  }
  sqlite3_busy_timeout(handle, static_cast<int>(kBusyWait.count()));
  const std::string set_up = fmt::format(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = {}; PRAGMA foreign_keys = ON; "
      "PRAGMA trusted_schema = OFF",
      durability == Durability::kMachine ? "FULL" : "OFF");
  if (Outcome done = database.execute(set_up); !done) {
    return std::unexpected(done.error().at(path.string()));
  }
  return database;
}

Result<Database> Database::open_in_memory() {
  sqlite3* handle = nullptr;
  const int opened = sqlite3_open(":memory:", &handle);
  Database database(handle);
  if (opened != SQLITE_OK) {
    return fail(code_of(opened),
                fmt::format("cannot open a database in memory: {}", sqlite3_errstr(opened)));
  }
  return database;
}

Database::Database(Database&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

Database::~Database() { sqlite3_close_v2(handle_); }

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                         SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) {
    return std::unexpected(error_of(handle_, sql));
  }
  return Statement(statement);
}

Outcome Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return std::unexpected(error_of(handle_, sql));
  }
  return {};
}

void Database::set_busy_wait(std::chrono::milliseconds longest) {
  sqlite3_busy_timeout(handle_, static_cast<int>(longest.count()));
}

int64_t Database::changes() const { return sqlite3_changes64(handle_); }

int64_t Database::last_insert_id() const { return sqlite3_last_insert_rowid(handle_); }

Result<int64_t> Database::checkpoint() {
  int pages = 0;
  if (sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages, nullptr) !=
      SQLITE_OK) {
    return std::unexpected(error_of(handle_, "checkpoint"));
  }
  return std::max(pages, 0);
}

Outcome Database::empty_log() {
  if (sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr) !=
      SQLITE_OK) {
    return std::unexpected(error_of(handle_, "checkpoint"));
  }
  return {};
}

Outcome migrate(Database& database, std::span<const std::string_view> migrations) {
  return database.transact([&]() -> Outcome {
    SLUICE_ASSIGN_OR_RETURN(Statement query, database.prepare("PRAGMA user_version"));
    SLUICE_ASSIGN_OR_RETURN(const bool row, query.step());
    const int64_t version = row ? query.integer(0) : 0;
    query.reset();
    const auto known = static_cast<int64_t>(migrations.size());
    if (version > known) {
      return fail(Code::kFailedPrecondition,
                  fmt::format("the database has version {}, this program knows up to {}: use the "
                              "program that wrote it, or a newer one",
                              version, known));
    }
    // Nothing is written where nothing changes: a full disk keeps nobody from reading.
    if (version == known) return {};
    for (int64_t at = version; at < known; ++at) {
      SLUICE_RETURN_IF_ERROR(database.execute(std::string(migrations[static_cast<size_t>(at)])));
    }
    return database.execute(fmt::format("PRAGMA user_version = {}", known));
  });
}

}  // namespace sluice::store
