// What a keeper writes down in its replica's folder: state.json while the program runs, exit.json
// when all of it has ended; and end.json, in which the controller says how it is to end. JSON;
// foreign bytes to whoever reads them: a disk may have been full, a person may have written there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace sluice::process {

// A process beyond doubt: its number is given anew some day, but never twice at one time of start.
struct ProcessName {
  int64_t pid = 0;
  uint64_t start_ticks = 0;  // field 22 of /proc/PID/stat: clock ticks since the system's start
  bool operator==(const ProcessName&) const = default;
};

struct ReplicaState {
  std::string token = {};  // of the order that was carried out
  std::string boot = {};   // id of the system's start that the process names belong to
  ProcessName keeper = {};
  ProcessName program = {};
  uint16_t port = 0;
  double started_unix = 0;
  // By what they are kept: "cgroup", "watchdog" (memory), "affinity" (processors) or "none".
  std::string memory_limit = "none";
  std::string cpu_limit = "none";
  std::vector<std::string> control_groups = {};  // folders made for it
  bool operator==(const ReplicaState&) const = default;
};

struct ReplicaEnd {
  std::string token = {};
  int code = 0;    // of a program that ended by itself
  int signal = 0;  // that ended it; 0: none
  std::string reason = {};
  std::string message = {};
  double at_unix = 0;
  bool operator==(const ReplicaEnd&) const = default;
};

// Reasons of a ReplicaEnd.
inline constexpr std::string_view kCompleted = "Completed";        // by itself with 0, or as told
inline constexpr std::string_view kError = "Error";                // with another code, or a signal
inline constexpr std::string_view kOutOfMemory = "OutOfMemory";    // it had more than it may
inline constexpr std::string_view kNotLive = "NotLive";            // its liveness probe failed
inline constexpr std::string_view kStartTimeout = "StartTimeout";  // its startup probe never held
inline constexpr std::string_view kCannotStart = "CannotStart";    // the program could not be run

// Read by the keeper when it gets a signal.
struct EndOrder {
  std::string reason = {};             // empty: nothing is wrong with it
  std::string message = {};            // for people
  std::optional<Duration> grace = {};  // instead of the spec's
  bool operator==(const EndOrder&) const = default;
};

inline constexpr size_t kMaxRecordBytes = 64u << 10;
inline constexpr size_t kMaxMessageBytes = 4096;

std::string record_text(const ReplicaState& state);
std::string record_text(const ReplicaEnd& end);
std::string record_text(const EndOrder& order);
Result<ReplicaState> parse_state(std::string_view text);
Result<ReplicaEnd> parse_end(std::string_view text);
Result<EndOrder> parse_end_order(std::string_view text);

// Bytes that a program wrote as text for people: UTF-8 without control characters other than line
// ends, at most kMaxMessageBytes, of which the last are kept.
std::string readable_tail(std::string_view bytes);

}  // namespace sluice::process
