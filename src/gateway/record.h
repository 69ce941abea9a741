// What is known of one request when it is over: a line of the access log, and what metrics count.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "telemetry/trace_context.h"

namespace sluice::gateway {

enum class Ending {
  kAnswered,    // whole answer passed on, whatever its status
  kClientGone,  // the client left first
  kCut,         // broke in mid answer
  kRefused,     // answered by the gateway itself
};

struct TokenCounts {
  int64_t prompt = 0;
  int64_t completion = 0;
};

struct RequestRecord {
  std::string id;
  std::string trace_id;
  telemetry::SpanContext span;  // its own, where requests are traced
  telemetry::SpanId parent{};   // its caller's
  std::string method;
  std::string path;
  std::string peer;
  std::string route;
  std::string model;        // as asked for
  std::string model_label;  // of a closed set
  std::string tenant;
  std::string key;
  std::string upstream;
  std::string replica;
  std::string error;       // a fixed word: what went wrong last
  std::string_view cache;  // "hit", "miss", "bypass"; empty: the route has none
  TimePoint began{};
  double unix_began = 0;
  Duration first_byte{};  // 0: none
  Duration waited{};      // in the queue
  Duration tokenized{};   // while the prompt's tokens were found out; 0: they were not
  int status = 0;
  int attempts = 0;
  bool stream = false;
  bool hedged = false;
  bool fallback = false;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  std::optional<TokenCounts> usage;  // where it is known
  Ending ending = Ending::kAnswered;
};

std::string_view ending_name(Ending ending);

// One JSON object, no line end.
std::string access_line(const RequestRecord& record, Duration took);

}  // namespace sluice::gateway
