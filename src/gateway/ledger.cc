#include "gateway/ledger.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "store/database.h"

namespace sluice::gateway {
namespace {

using store::Database;
using store::Durability;
using store::Statement;

constexpr int64_t kMillion = 1'000'000;
constexpr std::chrono::milliseconds kRequestWait{200};
// Rows of the minute are kept for longer than any window looks back.
constexpr double kKeepSeconds = 180;
constexpr size_t kWrittenTogether = 64;
constexpr size_t kMostUnwritten = 16384;  // past it nothing more is reserved

// Under load nothing ever sees the log at rest: past so many pages of 4 KiB requests wait while it
// is emptied.
constexpr int64_t kMostLogPages = 16384;
// Numbers of reservations that a process takes at a time; no other process has them.
constexpr int64_t kIdRange = int64_t{1} << 40;

constexpr std::array<std::string_view, 2> kMigrations = {R"sql(
CREATE TABLE reservation (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  owner TEXT NOT NULL,
  at REAL NOT NULL,
  tenant TEXT NOT NULL, key TEXT NOT NULL, route TEXT NOT NULL, model TEXT NOT NULL,
  prompt INTEGER NOT NULL, completion INTEGER NOT NULL,
  prompt_price INTEGER NOT NULL, completion_price INTEGER NOT NULL
);
CREATE TABLE spent (
  id INTEGER PRIMARY KEY,
  reserved_at REAL NOT NULL, settled_at REAL NOT NULL,
  tenant TEXT NOT NULL, key TEXT NOT NULL,
  tokens INTEGER NOT NULL, micros INTEGER NOT NULL
);
CREATE INDEX spent_by_time ON spent (settled_at);
CREATE TABLE usage (
  day INTEGER NOT NULL,
  tenant TEXT NOT NULL, key TEXT NOT NULL, route TEXT NOT NULL, model TEXT NOT NULL,
  version TEXT NOT NULL,
  requests INTEGER NOT NULL, unsettled INTEGER NOT NULL,
  prompt INTEGER NOT NULL, completion INTEGER NOT NULL, micros INTEGER NOT NULL,
  PRIMARY KEY (day, tenant, key, route, model, version)
) WITHOUT ROWID;
)sql",
                                                         // A reservation writes one page.
                                                         R"sql(
CREATE TABLE id_range (next INTEGER NOT NULL);
INSERT INTO id_range SELECT 1 + max((SELECT coalesce(max(id), 0) FROM reservation),
                                    (SELECT coalesce(max(id), 0) FROM spent));
ALTER TABLE reservation RENAME TO old_reservation;
CREATE TABLE reservation (
  id INTEGER PRIMARY KEY,
  owner TEXT NOT NULL,
  at REAL NOT NULL,
  tenant TEXT NOT NULL, key TEXT NOT NULL, route TEXT NOT NULL, model TEXT NOT NULL,
  prompt INTEGER NOT NULL, completion INTEGER NOT NULL,
  prompt_price INTEGER NOT NULL, completion_price INTEGER NOT NULL
);
INSERT INTO reservation SELECT * FROM old_reservation;
DROP TABLE old_reservation;
)sql"};

int64_t micros_of(const TokenUse& tokens, const plan::Price& price) {
  const auto part = [](int64_t count, int64_t per_million) {
    return static_cast<__int128>(count) * per_million;
  };
  const __int128 sum =
      part(tokens.prompt, price.prompt) + part(tokens.completion, price.completion);
  return static_cast<int64_t>(std::min<__int128>((sum + kMillion - 1) / kMillion, kMostMicros));
}

// A process by pid and start time, so that a pid used again is another one.
std::string process_name(int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string line((std::istreambuf_iterator<char>(file)), {});
  // The fields after the command's name, which may hold anything; the start time is the 20th.
  size_t at = line.rfind(')');
  for (int field = 0; field < 20 && at != std::string::npos; ++field) at = line.find(' ', at + 1);
  if (at == std::string::npos) return {};
  const size_t end = line.find(' ', at + 1);
  return fmt::format("{}@{}", pid, line.substr(at + 1, end - at - 1));
}

bool lives(const std::string& owner) {
  const int64_t pid = std::atoll(owner.c_str());
  return pid > 0 && process_name(pid) == owner;
}

}  // namespace

Amount amount_of(const TokenUse& tokens, const plan::Price& price) {
  return {tokens.prompt + tokens.completion, micros_of(tokens, price)};
}

struct Ledger::Impl {
  // A reservation that counts in the budgets.
  struct Open {
    std::string tenant, key, route, model;
    plan::Price price;
    TokenUse most;
    Moment reserved_at;
    double unix_seconds = 0;
    bool foreign = false;  // of another process
  };
  using OpenReservations = std::unordered_map<ReservationId, Open>;
  struct Settlement {
    ReservationId id = 0;
    TokenUse used;
    std::string version;
    bool unsettled = false;
  };
  // It counts in the budgets; the database still has the reservation.
  struct Unwritten {
    Open open;
    Settlement settlement;
    double settled_at = 0;
  };

  Impl(Database the_database, const Clock& the_clock)
      : database(std::move(the_database)), clock(the_clock) {}

  Outcome prepare();
  Outcome take_ids();
  Outcome restore();
  Outcome restore_budgets();
  Outcome restore_reservations();
  Outcome write_settlement(const Open& open, const Settlement& settlement, double now);
  Outcome write_rows(const Open& open, const Settlement& settlement, double now);
  Outcome write_some();
  Outcome adopt_foreign_settlements();
  Open settle_budgets(OpenReservations::iterator found, const Amount& spent);

  Moment moment(double unix_seconds) const { return moment_at(clock.now(), unix_seconds); }
  Budget& budget(char kind, std::string_view tenant, std::string_view name) {
    return budgets[fmt::format("{}\n{}\n{}", kind, tenant, name)];  // in no name
  }
  void in_both(std::string_view tenant, std::string_view key, const auto& apply) {
    apply(budget('t', tenant, ""));
    apply(budget('k', tenant, key));
  }

  std::mutex mutex;  // guards all but `side`
  Database database;
  // A connection of its own for what takes long: checkpoints, which wait for the disk, and reports.
  std::mutex side_mutex;
  std::optional<Database> side;
  const Clock& clock;
  std::string owner = process_name(::getpid());
  std::unordered_map<std::string, Budget> budgets;
  OpenReservations open_reservations;
  std::deque<Unwritten> unwritten;
  ReservationId next_id = 0;

  std::optional<Statement> insert_reservation, delete_reservation, insert_spent, add_usage, prune;
};

Outcome Ledger::Impl::prepare() {
  const auto set = [&](std::optional<Statement>& statement, std::string_view sql) -> Outcome {
    SLUICE_ASSIGN_OR_RETURN(Statement prepared, database.prepare(sql));
    statement.emplace(std::move(prepared));
    return {};
  };
  SLUICE_RETURN_IF_ERROR(
      set(insert_reservation,
          "INSERT INTO reservation (owner, at, tenant, key, route, model, prompt, completion, "
          "prompt_price, completion_price, id) "
          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"));
  SLUICE_RETURN_IF_ERROR(set(delete_reservation, "DELETE FROM reservation WHERE id = ?1"));
  SLUICE_RETURN_IF_ERROR(set(insert_spent,
                             "INSERT INTO spent (id, reserved_at, settled_at, tenant, key, tokens, "
                             "micros) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
  SLUICE_RETURN_IF_ERROR(set(prune, "DELETE FROM spent WHERE settled_at < ?1"));
  return set(add_usage,
             "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10) "
             "ON CONFLICT DO UPDATE SET requests = requests + 1, "
             "unsettled = unsettled + excluded.unsettled, prompt = prompt + excluded.prompt, "
             "completion = completion + excluded.completion, micros = micros + excluded.micros");
}

Outcome Ledger::Impl::take_ids() {
  return database.transact([&]() -> Outcome {
    SLUICE_ASSIGN_OR_RETURN(Statement take, database.prepare("UPDATE id_range SET next = next + ?1 "
                                                             "RETURNING next - ?1"));
    SLUICE_ASSIGN_OR_RETURN(const bool row, take.bind(1, kIdRange).step());
    if (!row) return fail(Code::kDataLoss, "the ledger's table id_range is empty");
    next_id = take.integer(0);
    return {};
  });
}

Outcome Ledger::Impl::write_settlement(const Open& open, const Settlement& settlement, double now) {
  return database.transact([&] { return write_rows(open, settlement, now); });
}

Outcome Ledger::Impl::write_rows(const Open& open, const Settlement& settlement, double now) {
  const int64_t micros = micros_of(settlement.used, open.price);
  SLUICE_RETURN_IF_ERROR(delete_reservation->bind(1, settlement.id).run());
  // Another process took this one for ended, and has counted it.
  if (database.changes() == 0) return {};
  SLUICE_RETURN_IF_ERROR(insert_spent->bind(1, settlement.id)
                             .bind(2, open.unix_seconds)
                             .bind(3, now)
                             .bind(4, open.tenant)
                             .bind(5, open.key)
                             .bind(6, settlement.used.prompt + settlement.used.completion)
                             .bind(7, micros)
                             .run());
  return add_usage->bind(1, open.reserved_at.day)
      .bind(2, open.tenant)
      .bind(3, open.key)
      .bind(4, open.route)
      .bind(5, open.model)
      .bind(6, settlement.version)
      .bind(7, int64_t{settlement.unsettled})
      .bind(8, settlement.used.prompt)
      .bind(9, settlement.used.completion)
      .bind(10, micros)
      .run();
}

// The sums of the present day and month, and the last minute's requests one by one.
Outcome Ledger::Impl::restore_budgets() {
  const double now = clock.unix_seconds();
  const Moment at = moment(now);
  SLUICE_ASSIGN_OR_RETURN(
      Statement sums, database.prepare("SELECT day, tenant, key, SUM(prompt + completion), "
                                       "SUM(micros) FROM usage WHERE day >= ?1 GROUP BY 1, 2, 3"));
  sums.bind(1, at.day - 31);
  while (true) {
    SLUICE_ASSIGN_OR_RETURN(const bool row, sums.step());
    if (!row) break;
    const int64_t day = sums.integer(0);
    const Moment when = moment_at({}, static_cast<double>(day) * 86400.0);
    const Amount used{sums.integer(3), sums.integer(4)};
    in_both(sums.text(1), sums.text(2), [&](Budget& b) { b.restore_period(at, when, used); });
  }
  SLUICE_ASSIGN_OR_RETURN(
      Statement minute,
      database.prepare("SELECT tenant, key, tokens, ?1 - settled_at, ?1 - reserved_at FROM spent "
                       "WHERE settled_at > ?1 - 120 ORDER BY settled_at"));
  minute.bind(1, now);
  while (true) {
    SLUICE_ASSIGN_OR_RETURN(const bool row, minute.step());
    if (!row) break;
    const auto ago = [&](int column) {
      return std::chrono::duration_cast<Duration>(
          std::chrono::duration<double>(std::max(0.0, minute.real(column))));
    };
    in_both(minute.text(0), minute.text(1), [&](Budget& b) {
      b.restore_minute(at, ago(3), minute.integer(2));
      b.restore_request(at, ago(4));
    });
  }
  return {};
}

// Of a living process: reserved. Of a dead one: spent.
Outcome Ledger::Impl::restore_reservations() {
  std::map<ReservationId, std::pair<Open, std::string>> found;
  {
    SLUICE_ASSIGN_OR_RETURN(
        Statement rows,
        database.prepare("SELECT id, owner, at, tenant, key, route, model, prompt, completion, "
                         "prompt_price, completion_price FROM reservation"));
    while (true) {
      SLUICE_ASSIGN_OR_RETURN(const bool row, rows.step());
      if (!row) break;
      Open open{.tenant = rows.text(3),
                .key = rows.text(4),
                .route = rows.text(5),
                .model = rows.text(6),
                .price = {rows.integer(9), rows.integer(10)},
                .most = {rows.integer(7), rows.integer(8)},
                .reserved_at = moment(rows.real(2)),
                .unix_seconds = rows.real(2),
                .foreign = true};
      found.emplace(rows.integer(0), std::pair(std::move(open), rows.text(1)));
    }
  }
  int64_t lost = 0;
  for (auto& [id, entry] : found) {
    auto& [open, process] = entry;
    const bool alive = process != owner && lives(process);
    if (!alive) {
      ++lost;
      SLUICE_RETURN_IF_ERROR(
          write_settlement(open, {.id = id, .used = open.most, .version = "", .unsettled = true},
                           clock.unix_seconds()));
      continue;
    }
    in_both(open.tenant, open.key,
            [&](Budget& b) { b.reserve(open.reserved_at, amount_of(open.most, open.price)); });
    open_reservations.emplace(id, std::move(open));
  }
  if (lost > 0) {
    log_warn("{} requests of an earlier process were never settled: counted as spent in full",
             lost);
  }
  return {};
}

Outcome Ledger::Impl::restore() {
  SLUICE_RETURN_IF_ERROR(store::migrate(database, kMigrations));
  // Checkpoints wait for the disk: housekeeping makes them, on a connection of its own. Who holds
  // the database locked for longer than this has no request wait for it.
  database.set_busy_wait(kRequestWait);
  SLUICE_RETURN_IF_ERROR(database.execute("PRAGMA wal_autocheckpoint = 0"));
  SLUICE_RETURN_IF_ERROR(prepare());
  SLUICE_RETURN_IF_ERROR(take_ids());
  SLUICE_RETURN_IF_ERROR(restore_reservations());
  return restore_budgets();
}

Ledger::Ledger(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ledger::~Ledger() { static_cast<void>(write()); }

Result<std::unique_ptr<Ledger>> Ledger::open(const std::filesystem::path& path,
                                             const Clock& clock) {
  SLUICE_ASSIGN_OR_RETURN(Database database, path.empty()
                                                 ? Database::open_in_memory()
                                                 : Database::open(path, Durability::kProcess));
  auto impl = std::make_unique<Impl>(std::move(database), clock);
  if (!path.empty()) {
    SLUICE_ASSIGN_OR_RETURN(Database second, Database::open(path, Durability::kMachine));
    impl->side.emplace(std::move(second));
    impl->side->set_busy_wait(kRequestWait);
  }
  SLUICE_RETURN_IF_ERROR(impl->restore());
  return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
}

std::expected<ReservationId, Ledger::Denial> Ledger::reserve(const Charge& charge) {
  const double now = impl_->clock.unix_seconds();
  Impl::Open open{.tenant = std::string(charge.tenant),
                  .key = std::string(charge.key),
                  .route = std::string(charge.route),
                  .model = std::string(charge.model),
                  .price = charge.price,
                  .most = {std::min(charge.prompt_tokens, kMostTokens),
                           std::min(charge.most_completion_tokens, kMostTokens)},
                  .reserved_at = impl_->moment(now),
                  .unix_seconds = now};
  const Amount most = amount_of(open.most, open.price);
  const std::scoped_lock lock(impl_->mutex);
  if (impl_->unwritten.size() >= kMostUnwritten) {
    return std::unexpected(Denial{
        "tenant", std::nullopt,
        Status(Code::kUnavailable, "what earlier requests used cannot be written at present")});
  }
  Budget& tenant = impl_->budget('t', open.tenant, "");
  Budget& key = impl_->budget('k', open.tenant, open.key);
  tenant.set_limits(charge.tenant_limits != nullptr ? *charge.tenant_limits : plan::Limits{});
  key.set_limits(charge.key_limits != nullptr ? *charge.key_limits : plan::Limits{});
  if (auto no = tenant.refusal(open.reserved_at, most)) {
    return std::unexpected(Denial{"tenant", no, std::nullopt});
  }
  if (auto no = key.refusal(open.reserved_at, most)) {
    return std::unexpected(Denial{"key", no, std::nullopt});
  }
  const Outcome written = impl_->insert_reservation->bind(1, impl_->owner)
                              .bind(2, now)
                              .bind(3, open.tenant)
                              .bind(4, open.key)
                              .bind(5, open.route)
                              .bind(6, open.model)
                              .bind(7, open.most.prompt)
                              .bind(8, open.most.completion)
                              .bind(9, open.price.prompt)
                              .bind(10, open.price.completion)
                              .bind(11, impl_->next_id)
                              .run();
  if (!written) return std::unexpected(Denial{"tenant", std::nullopt, written.error()});
  const ReservationId id = impl_->next_id++;
  tenant.reserve(open.reserved_at, most);
  key.reserve(open.reserved_at, most);
  impl_->open_reservations.emplace(id, std::move(open));
  return id;
}

void Ledger::settle(ReservationId id, const TokenUse& used, std::string_view version) {
  const std::scoped_lock lock(impl_->mutex);
  const auto found = impl_->open_reservations.find(id);
  if (found == impl_->open_reservations.end()) return;
  const Amount spent = amount_of(used, found->second.price);
  impl_->unwritten.push_back(
      {.open = impl_->settle_budgets(found, spent),
       .settlement = {.id = id, .used = used, .version = std::string(version)},
       .settled_at = impl_->clock.unix_seconds()});
}

Outcome Ledger::write() {
  while (true) {
    const std::scoped_lock lock(impl_->mutex);
    if (impl_->unwritten.empty()) return {};
    SLUICE_RETURN_IF_ERROR(impl_->write_some());
  }
}

Ledger::MinuteLeft Ledger::minute_left(std::string_view tenant, std::string_view key) {
  const std::scoped_lock lock(impl_->mutex);
  const Moment at = impl_->moment(impl_->clock.unix_seconds());
  MinuteLeft least;
  const auto smaller = [](std::optional<Budget::Left>& of, std::optional<Budget::Left> other) {
    if (other && (!of || other->left < of->left)) of = other;
  };
  for (Budget* budget : {&impl_->budget('t', tenant, ""), &impl_->budget('k', tenant, key)}) {
    smaller(least.requests, budget->requests_left(at));
    smaller(least.tokens, budget->tokens_left(at));
  }
  return least;
}

Result<std::vector<UsageRow>> Ledger::usage(int64_t from, int64_t to) {
  SLUICE_RETURN_IF_ERROR(write());
  const std::scoped_lock lock(impl_->side ? impl_->side_mutex : impl_->mutex);
  Database& database = impl_->side ? *impl_->side : impl_->database;
  SLUICE_ASSIGN_OR_RETURN(
      Statement rows, database.prepare("SELECT day, tenant, key, route, model, version, requests, "
                                       "unsettled, prompt, completion, micros FROM usage "
                                       "WHERE day BETWEEN ?1 AND ?2 ORDER BY 1, 2, 3, 4, 5, 6"));
  rows.bind(1, from).bind(2, to);
  std::vector<UsageRow> report;
  while (true) {
    SLUICE_ASSIGN_OR_RETURN(const bool row, rows.step());
    if (!row) return report;
    report.push_back({.day = rows.integer(0),
                      .tenant = rows.text(1),
                      .key = rows.text(2),
                      .route = rows.text(3),
                      .model = rows.text(4),
                      .version = rows.text(5),
                      .requests = rows.integer(6),
                      .unsettled = rows.integer(7),
                      .tokens = {rows.integer(8), rows.integer(9)},
                      .micros = rows.integer(10)});
  }
}

// The eldest ones, in one transaction: requests wait for it.
Outcome Ledger::Impl::write_some() {
  const auto end = unwritten.begin() + ptrdiff_t(std::min(unwritten.size(), kWrittenTogether));
  SLUICE_RETURN_IF_ERROR(database.transact([&]() -> Outcome {
    for (auto each = unwritten.begin(); each != end; ++each) {
      SLUICE_RETURN_IF_ERROR(write_rows(each->open, each->settlement, each->settled_at));
    }
    return {};
  }));
  unwritten.erase(unwritten.begin(), end);
  return {};
}

Ledger::Impl::Open Ledger::Impl::settle_budgets(OpenReservations::iterator found,
                                                const Amount& spent) {
  Open open = std::move(found->second);
  open_reservations.erase(found);
  const Moment at = moment(clock.unix_seconds());
  in_both(open.tenant, open.key, [&](Budget& b) {
    b.settle(at, open.reserved_at, amount_of(open.most, open.price), spent);
  });
  return open;
}

// A foreign reservation that is gone was settled by its process; one whose process has ended is
// spent in full.
Outcome Ledger::Impl::adopt_foreign_settlements() {
  std::vector<ReservationId> ids;
  for (const auto& [id, open] : open_reservations) {
    if (open.foreign) ids.push_back(id);
  }
  if (ids.empty()) return {};
  SLUICE_ASSIGN_OR_RETURN(Statement still_open,
                          database.prepare("SELECT owner FROM reservation WHERE id = ?1"));
  SLUICE_ASSIGN_OR_RETURN(Statement settled,
                          database.prepare("SELECT tokens, micros FROM spent WHERE id = ?1"));
  for (const ReservationId id : ids) {
    const auto found = open_reservations.find(id);
    SLUICE_ASSIGN_OR_RETURN(const bool open, still_open.bind(1, id).step());
    const std::string process = open ? still_open.text(0) : std::string();
    still_open.reset();
    Amount spent = amount_of(found->second.most, found->second.price);
    if (open) {
      if (lives(process)) continue;
      SLUICE_RETURN_IF_ERROR(write_settlement(
          found->second, {.id = id, .used = found->second.most, .version = "", .unsettled = true},
          clock.unix_seconds()));
    } else {
      SLUICE_ASSIGN_OR_RETURN(const bool row, settled.bind(1, id).step());
      if (row) spent = {settled.integer(0), settled.integer(1)};
      settled.reset();
    }
    settle_budgets(found, spent);
  }
  return {};
}

Outcome Ledger::housekeeping() {
  // What fails does not keep the rest from being done; the first failure is told.
  Outcome told;
  const auto note = [&told](const Outcome& done) {
    if (told && !done) told = done;
  };
  note(write());
  {
    const std::scoped_lock lock(impl_->mutex);
    note(impl_->adopt_foreign_settlements());
    note(impl_->prune->bind(1, impl_->clock.unix_seconds() - kKeepSeconds).run());
  }
  if (impl_->side) {
    const std::scoped_lock lock(impl_->side_mutex);
    const auto pages = impl_->side->checkpoint();
    if (!pages) {
      note(std::unexpected(pages.error()));
    } else if (*pages > kMostLogPages) {
      // Once more, so that little is left to wait for.
      if (auto again = impl_->side->checkpoint(); !again) note(std::unexpected(again.error()));
      const std::scoped_lock pause(impl_->mutex);
      const Outcome emptied = impl_->side->empty_log();
      // Another process uses it just now.
      if (!emptied && emptied.error().code() != Code::kUnavailable) note(emptied);
    }
  }
  return told;
}

}  // namespace sluice::gateway
