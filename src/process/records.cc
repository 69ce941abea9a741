#include "process/records.h"

#include <chrono>
#include <limits>

#include "base/json.h"
#include "process/json_fields.h"
#include "process/keeper_order.h"

namespace sluice::process {
namespace {

constexpr size_t kMaxGroups = 8;
constexpr double kMaxUnix = 1e12;
constexpr JsonLimits kLimits = {.max_bytes = kMaxRecordBytes, .max_depth = 4, .max_nodes = 256};

json::object name_json(const ProcessName& name) {
  return {{"pid", name.pid}, {"start_ticks", name.start_ticks}};
}

void read_name(JsonFields& f, std::string_view field, ProcessName& out) {
  f.require(field);
  const json::value* value = f.find(field);
  if (value == nullptr) return;
  JsonFields p(*value, f.path(field) + ".");
  p.require("pid");
  p.require("start_ticks");
  p.integer("pid", out.pid, int64_t{1}, int64_t{std::numeric_limits<int32_t>::max()});
  p.unsigned_integer("start_ticks", out.start_ticks, std::numeric_limits<int64_t>::max());
  f.take(p.finish());
}

// Length of the UTF-8 sequence at the front, or 0 when there is none.
size_t sequence_length(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes[0]);
  const size_t length = first < 0x80                     ? 1
                        : first >= 0xC2 && first <= 0xDF ? 2
                        : first >= 0xE0 && first <= 0xEF ? 3
                        : first >= 0xF0 && first <= 0xF4 ? 4
                                                         : 0;
  if (length == 0 || length > bytes.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(bytes[i]) & 0xC0) != 0x80) return 0;
  }
  if (length < 3) return length;
  const auto second = static_cast<unsigned char>(bytes[1]);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool beyond = (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F);
  return overlong || beyond ? 0 : length;
}

}  // namespace

std::string record_text(const ReplicaState& state) {
  return to_json(json::object{{"token", state.token},
                              {"boot", state.boot},
                              {"keeper", name_json(state.keeper)},
                              {"program", name_json(state.program)},
                              {"port", state.port},
                              {"started_unix", state.started_unix},
                              {"memory_limit", state.memory_limit},
                              {"cpu_limit", state.cpu_limit},
                              {"control_groups", json::array(state.control_groups.begin(),
                                                             state.control_groups.end())}}) +
         "\n";
}

std::string record_text(const ReplicaEnd& end) {
  return to_json(json::object{{"token", end.token},
                              {"code", end.code},
                              {"signal", end.signal},
                              {"reason", end.reason},
                              {"message", end.message},
                              {"at_unix", end.at_unix}}) +
         "\n";
}

std::string record_text(const EndOrder& order) {
  json::object out{{"reason", order.reason}, {"message", order.message}};
  if (order.grace) {
    out["grace_ms"] = std::chrono::ceil<std::chrono::milliseconds>(*order.grace).count();
  }
  return to_json(out) + "\n";
}

Result<ReplicaState> parse_state(std::string_view text) {
  SLUICE_ASSIGN_OR_RETURN(const json::value value, parse_json(text, kLimits));
  ReplicaState out;
  JsonFields f(value, "");
  for (const char* name : {"token", "boot", "port"}) f.require(name);
  f.text("token", out.token, kMaxTokenBytes);
  f.text("boot", out.boot, 64);
  read_name(f, "keeper", out.keeper);
  read_name(f, "program", out.program);
  int port = 0;
  f.integer("port", port, 1, 65535);
  out.port = static_cast<uint16_t>(port);
  f.number("started_unix", out.started_unix, 0, kMaxUnix);
  f.text("memory_limit", out.memory_limit, 16);
  f.text("cpu_limit", out.cpu_limit, 16);
  f.texts("control_groups", out.control_groups, kMaxGroups, 4096);
  SLUICE_RETURN_IF_ERROR(f.finish());
  return out;
}

Result<ReplicaEnd> parse_end(std::string_view text) {
  SLUICE_ASSIGN_OR_RETURN(const json::value value, parse_json(text, kLimits));
  ReplicaEnd out;
  JsonFields f(value, "");
  for (const char* name : {"token", "code", "signal", "reason"}) f.require(name);
  f.text("token", out.token, kMaxTokenBytes);
  f.integer("code", out.code, 0, 255);
  f.integer("signal", out.signal, 0, 64);
  f.text("reason", out.reason, 32);
  f.text("message", out.message, kMaxMessageBytes);
  f.number("at_unix", out.at_unix, 0, kMaxUnix);
  SLUICE_RETURN_IF_ERROR(f.finish());
  return out;
}

Result<EndOrder> parse_end_order(std::string_view text) {
  SLUICE_ASSIGN_OR_RETURN(const json::value value, parse_json(text, kLimits));
  EndOrder out;
  JsonFields f(value, "");
  f.text("reason", out.reason, 32);
  f.text("message", out.message, kMaxMessageBytes);
  if (f.find("grace_ms") != nullptr) {
    f.milliseconds("grace_ms", out.grace.emplace(), std::chrono::hours(24));
  }
  SLUICE_RETURN_IF_ERROR(f.finish());
  return out;
}

std::string readable_tail(std::string_view bytes) {
  if (bytes.size() > kMaxMessageBytes) {
    bytes.remove_prefix(bytes.size() - kMaxMessageBytes);
    // Not from the middle of a line, unless it is the only one.
    const size_t line = bytes.find('\n');
    if (line != std::string_view::npos && line + 1 < bytes.size()) bytes.remove_prefix(line + 1);
  }
  std::string out;
  while (!bytes.empty()) {
    const size_t length = sequence_length(bytes);
    const auto first = static_cast<unsigned char>(bytes[0]);
    const bool control = length == 1 && first != '\n' && first != '\t' && first < 0x20;
    if (length == 0 || control || first == 0x7F) {
      out += '?';
    } else {
      out.append(bytes.substr(0, length));
    }
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace sluice::process
