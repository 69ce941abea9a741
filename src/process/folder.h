// The folder of one replica, which is all that is known of it beyond this process:
//
//   spec.json   what is run, 0600 (keeper_order.h); from the controller
//   lock        locked (flock) by the keeper, for exactly as long as it lives
//   state.json  what runs, from the keeper
//   ready       from when it was ready first on: "now" or "not now"; from the controller
//   end.json    how it is to end; from the controller, before its signal to the keeper
//   exit.json   how it ended, from the keeper; nothing of the replica runs any more
//   log, log.1  what it wrote, and older files of that; keeper.log: what its keeper had to say
//   work/       where it runs, unless it was told another folder
//
// Records appear whole or not at all. They are not synced to the disk: processes do not outlive the
// machine's fall either.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "net/socket.h"
#include "process/records.h"

namespace sluice::process {

inline constexpr std::string_view kSpecFile = "spec.json";
inline constexpr std::string_view kLockFile = "lock";
inline constexpr std::string_view kStateFile = "state.json";
inline constexpr std::string_view kReadyFile = "ready";
inline constexpr std::string_view kEndFile = "end.json";
inline constexpr std::string_view kExitFile = "exit.json";
inline constexpr std::string_view kLogFile = "log";
inline constexpr std::string_view kKeeperLogFile = "keeper.log";
inline constexpr std::string_view kWorkFolder = "work";

// Bytes to a neighbour that is renamed over `path`; mode 0600.
Outcome write_record(const std::filesystem::path& path, std::string_view bytes);

// A record for which the disk has been asked for room before it is needed, so that a full disk is
// found out early and does not swallow it later. One owner.
class ReservedRecord {
 public:
  static Result<ReservedRecord> reserve(const std::filesystem::path& path, size_t bytes);
  ReservedRecord(ReservedRecord&&) = default;
  ReservedRecord& operator=(ReservedRecord&&) = default;
  ~ReservedRecord();
  // Once. More than was reserved may fail.
  Outcome write(std::string_view bytes);

 private:
  ReservedRecord(net::Fd file, std::filesystem::path path);
  std::filesystem::path temporary() const;

  net::Fd file_;
  std::filesystem::path path_;
};

// The folder's lock, for as long as the descriptor or a copy of it is open in any process. Nothing:
// somebody else has it.
Result<std::optional<net::Fd>> lock_folder(const std::filesystem::path& folder);
// Whether somebody has it. A folder without a lock file has no keeper.
Result<bool> is_locked(const std::filesystem::path& folder);
// The process that has the folder's lock open, the oldest if several have, found among all of this
// user; pid 0: none was found.
ProcessName find_lock_holder(const std::filesystem::path& folder);

// Makes the folder (0700) if it is not there; fails when it is somebody else's, or others may write
// in it.
Outcome own_folder(const std::filesystem::path& folder);

// The last `max_bytes` of the log and its older files, from the beginning of a line where there is
// one.
Result<std::string> read_log_tail(const std::filesystem::path& folder, size_t max_bytes);
// "log", "log.1", …
std::filesystem::path log_path(const std::filesystem::path& folder, int age);

}  // namespace sluice::process
