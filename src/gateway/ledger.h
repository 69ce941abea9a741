// Ledger: what tenants and keys have used and reserved, exactly and across restarts.
//
// reserve() asks the budgets of the tenant and of the key, and writes the reservation to the
// database before it answers: the request may then be sent on. settle() replaces it by what was
// used, which write() puts down. A reservation whose process has ended without settling it is
// counted as spent in full. Reservations of another living process on the same file (a gateway that
// is finishing its streams while this one has taken over) count as reserved until that one settles
// them.
//
// Times in the database are Unix seconds. Thread-safe; a call takes tens of microseconds.
#pragma once

#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/budget.h"
#include "plan/limits.h"

namespace sluice::gateway {

// A request is never taken for larger than this, which no limit allows.
inline constexpr int64_t kMostTokens = int64_t{1} << 40;
inline constexpr int64_t kMostMicros = int64_t{1} << 47;

// Who pays for a request, and what it costs. Views live as long as the call.
struct Charge {
  std::string_view tenant;
  std::string_view key;  // the key's name, not the key
  std::string_view route;
  std::string_view model;
  const plan::Limits* tenant_limits = nullptr;  // none: no limit
  const plan::Limits* key_limits = nullptr;
  plan::Price price;
  int64_t prompt_tokens = 0;           // exact, or an upper bound
  int64_t most_completion_tokens = 0;  // of all choices together
};

struct TokenUse {
  int64_t prompt = 0;
  int64_t completion = 0;
};

// What so many tokens cost, rounded up: a fraction of a millionth is charged as a whole one.
Amount amount_of(const TokenUse& tokens, const plan::Price& price);

// One row of the usage report: a day's sum. `unsettled` counts requests whose process ended before
// they did; they stand with all that they had reserved.
struct UsageRow {
  int64_t day = 0;  // since the Unix epoch, UTC
  std::string tenant, key, route, model, version;
  int64_t requests = 0;
  int64_t unsettled = 0;
  TokenUse tokens;
  int64_t micros = 0;
};

using ReservationId = int64_t;

class Ledger {
 public:
  // Refused: by which of the two, and why. Failed: the database would not take it.
  struct Denial {
    std::string subject;  // "tenant" or "key"
    std::optional<Refusal> refusal;
    std::optional<Status> failure;
  };

  // An empty path: in memory, gone with the process.
  static Result<std::unique_ptr<Ledger>> open(const std::filesystem::path& path,
                                              const Clock& clock);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  std::expected<ReservationId, Denial> reserve(const Charge& charge);

  // Once per reservation. `version` is what answered, for the report. The budgets know at once, the
  // database at the next write(): a process that dies before that has spent what it had reserved.
  void settle(ReservationId id, const TokenUse& used, std::string_view version);
  // Writes what was settled, a few at a time, so that no request waits for long. What fails is
  // tried again by the next call.
  Outcome write();

  // What is left of the minute's limits: the tenant's or the key's, whichever leaves less.
  struct MinuteLeft {
    std::optional<Budget::Left> requests, tokens;
  };
  MinuteLeft minute_left(std::string_view tenant, std::string_view key);

  // Days `from` to `to`, both included.
  Result<std::vector<UsageRow>> usage(int64_t from, int64_t to);

  // About once a second, from a thread that may wait for the disk: takes over what other processes
  // settled, drops what no limit needs any more, moves the write-ahead log into the file.
  Outcome housekeeping();

 private:
  struct Impl;
  explicit Ledger(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::gateway
