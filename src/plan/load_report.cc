#include "plan/load_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/json.h"

namespace sluice::plan {
namespace {

constexpr size_t kMaxNodes = 400'000;
constexpr size_t kMaxDepth = 8;

struct CountField {
  std::string_view name;
  int64_t UpstreamLoad::* value;
};
constexpr CountField kCounts[] = {
    {"in_flight", &UpstreamLoad::in_flight},
    {"held", &UpstreamLoad::held},
    {"arrived", &UpstreamLoad::arrived},
    {"usable", &UpstreamLoad::usable},
    {"answered", &UpstreamLoad::answered},
    {"failed", &UpstreamLoad::failed},
    {"refused", &UpstreamLoad::refused},
    {"prompt_tokens", &UpstreamLoad::prompt_tokens},
    {"completion_tokens", &UpstreamLoad::completion_tokens},
};

struct HistogramField {
  std::string_view name;
  LogHistogram UpstreamLoad::* value;
};
constexpr HistogramField kHistograms[] = {
    {"ttft", &UpstreamLoad::ttft},
    {"latency", &UpstreamLoad::latency},
    {"stream_rate", &UpstreamLoad::stream_rate},
};

uint64_t sum(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  return __builtin_add_overflow(a, b, &out) ? std::numeric_limits<uint64_t>::max() : out;
}

json::object written(const UpstreamLoad& load) {
  json::object out{{"name", load.name}};
  if (load.concurrency != 0) out["concurrency"] = load.concurrency;
  for (const CountField& field : kCounts) {
    if (load.*field.value != 0) out[field.name] = load.*field.value;
  }
  for (const HistogramField& field : kHistograms) {
    if ((load.*field.value).empty()) continue;
    json::object buckets;
    for (const auto& [bucket, count] : (load.*field.value).buckets()) {
      buckets[std::to_string(bucket)] = count;
    }
    out[field.name] = std::move(buckets);
  }
  if (load.waiting_first.empty()) return out;
  json::array waiting;
  for (const WaitingRequest& each : load.waiting_first) {
    waiting.push_back(json::array{each.waited_ms, each.usable});
  }
  out["waiting_first"] = std::move(waiting);
  return out;
}

std::unexpected<Status> wrong(std::string_view where, std::string_view expected,
                              const json::value& found) {
  return invalid(fmt::format("{}: expected {}, found {}", where, expected, json_kind(found)));
}

Result<int64_t> read_count(const json::value& value, std::string_view where) {
  const auto number = value.is_int64() ? std::optional(value.get_int64()) : std::nullopt;
  if (!number || *number < 0 || *number > kMaxLoadCount) {
    return invalid(fmt::format("{}: expected an integer from 0 to {}, found {}", where,
                               kMaxLoadCount,
                               number ? std::to_string(*number) : std::string(json_kind(value))));
  }
  return *number;
}

Result<std::string> read_name(const json::value& value, std::string_view where) {
  if (!value.is_string()) return wrong(where, "a string", value);
  const std::string_view text = value.get_string();
  if (!is_load_name(text)) {
    return invalid(fmt::format("{}: expected a name of 1 to {} characters without blanks", where,
                               kMaxLoadNameBytes));
  }
  return std::string(text);
}

Result<LogHistogram> read_histogram(const json::value& value, std::string_view where) {
  if (!value.is_object()) return wrong(where, "an object", value);
  LogHistogram out;
  for (const auto& [key, counted] : value.get_object()) {
    int bucket = 0;
    const char* end = key.data() + key.size();
    const auto [at, error] = std::from_chars(key.data(), end, bucket);
    if (error != std::errc() || at != end || bucket < LogHistogram::kFirst ||
        bucket > LogHistogram::kLast || std::to_string(bucket) != std::string_view(key)) {
      return invalid(fmt::format("{}: expected buckets from {} to {}", where, LogHistogram::kFirst,
                                 LogHistogram::kLast));
    }
    SLUICE_ASSIGN_OR_RETURN(const int64_t count, read_count(counted, where));
    if (count > 0) out.add_bucket(bucket, static_cast<uint64_t>(count));
  }
  return out;
}

Result<std::vector<WaitingRequest>> read_waiting(const json::value& value, std::string_view where) {
  if (!value.is_array() || value.get_array().size() > kMaxWaitingFirst) {
    return invalid(fmt::format("{}: expected a list of at most {}", where, kMaxWaitingFirst));
  }
  std::vector<WaitingRequest> out;
  for (const json::value& each : value.get_array()) {
    if (!each.is_array() || each.get_array().size() != 2) {
      return wrong(where, "pairs of milliseconds and replicas", each);
    }
    SLUICE_ASSIGN_OR_RETURN(const int64_t waited, read_count(each.get_array()[0], where));
    SLUICE_ASSIGN_OR_RETURN(const int64_t usable, read_count(each.get_array()[1], where));
    out.push_back({waited, usable});
  }
  return out;
}

Outcome read_field(std::string_view key, const json::value& value, std::string_view where,
                   UpstreamLoad& out) {
  if (key == "name") {
    SLUICE_ASSIGN_OR_RETURN(out.name, read_name(value, where));
    return {};
  }
  if (key == "concurrency") {
    if (!value.is_number()) return wrong(where, "a number", value);
    out.concurrency = value.to_number<double>();
    if (out.concurrency >= 0 && out.concurrency <= 1e9) return {};
    return invalid(fmt::format("{}: expected a number from 0 to 1e9", where));
  }
  if (key == "waiting_first") {
    SLUICE_ASSIGN_OR_RETURN(out.waiting_first, read_waiting(value, where));
    return {};
  }
  if (const auto* at = std::ranges::find(kCounts, key, &CountField::name);
      at != std::end(kCounts)) {
    SLUICE_ASSIGN_OR_RETURN(out.*at->value, read_count(value, where));
    return {};
  }
  if (const auto* at = std::ranges::find(kHistograms, key, &HistogramField::name);
      at != std::end(kHistograms)) {
    SLUICE_ASSIGN_OR_RETURN(out.*at->value, read_histogram(value, where));
    return {};
  }
  return invalid(fmt::format("{}: there is no such field", where));
}

Result<UpstreamLoad> read_upstream(const json::value& value, size_t i) {
  const std::string place = fmt::format("upstreams[{}]", i);
  if (!value.is_object()) return wrong(place, "an object", value);
  UpstreamLoad out;
  for (const auto& [key, field] : value.get_object()) {
    const std::string_view shown = std::string_view(key).substr(0, 64);
    SLUICE_RETURN_IF_ERROR(read_field(key, field, fmt::format("{}.{}", place, shown), out));
  }
  if (out.name.empty()) return invalid(place + ".name: is required");
  return out;
}

// Calls `each(value, i)` for every one of a list.
template <typename F>
Outcome read_list(const json::value& value, std::string_view name, size_t most, F&& each) {
  if (!value.is_array()) return wrong(name, "a list", value);
  const json::array& list = value.get_array();
  if (list.size() > most) return invalid(fmt::format("{}: more than {}", name, most));
  for (size_t i = 0; i < list.size(); ++i) SLUICE_RETURN_IF_ERROR(each(list[i], i));
  return {};
}

Outcome read_upstreams(const json::value& value, LoadReport& out) {
  std::set<std::string, std::less<>> seen;
  return read_list(value, "upstreams", kMaxLoadUpstreams,
                   [&](const json::value& each, size_t i) -> Outcome {
                     SLUICE_ASSIGN_OR_RETURN(auto load, read_upstream(each, i));
                     if (!seen.insert(load.name).second) {
                       return invalid(fmt::format("upstreams[{}].name: stands there twice", i));
                     }
                     out.upstreams.push_back(std::move(load));
                     return {};
                   });
}

Outcome read_top(std::string_view key, const json::value& value, LoadReport& out) {
  if (key == "gateway") {
    SLUICE_ASSIGN_OR_RETURN(out.gateway, read_name(value, "gateway"));
    return {};
  }
  if (key == "second") {
    SLUICE_ASSIGN_OR_RETURN(out.second, read_count(value, "second"));
    return {};
  }
  if (key == "upstreams") return read_upstreams(value, out);
  if (key == "wake") {
    return read_list(value, "wake", kMaxLoadWakes, [&](const json::value& each, size_t) -> Outcome {
      SLUICE_ASSIGN_OR_RETURN(auto name, read_name(each, "wake"));
      out.wake.push_back(std::move(name));
      return {};
    });
  }
  if (key == "plan_id") {
    if (value.is_string() && value.get_string().empty()) {
      out.plan_id.emplace();
      return {};
    }
    SLUICE_ASSIGN_OR_RETURN(out.plan_id, read_name(value, "plan_id"));
    return {};
  }
  if (key == "ended") {
    if (!value.is_bool() || !value.get_bool()) return wrong("ended", "true", value);
    out.ended = true;
    return {};
  }
  return invalid(fmt::format("{}: there is no such field", key.substr(0, 64)));
}

}  // namespace

int LogHistogram::bucket_of(double value) {
  if (!(value > 0)) return kFirst;
  const double at = std::floor(4 * std::log2(value));
  if (at <= kFirst) return kFirst;
  if (at >= kLast) return kLast;
  return static_cast<int>(at);
}

double LogHistogram::lower_bound(int bucket) { return std::exp2(bucket / 4.0); }

void LogHistogram::add_bucket(int bucket, uint64_t count) {
  if (count == 0) return;
  uint64_t& there = buckets_[std::clamp(bucket, kFirst, kLast)];
  there = sum(there, count);
  count_ = sum(count_, count);
}

void LogHistogram::merge(const LogHistogram& other) {
  for (const auto& [bucket, count] : other.buckets_) add_bucket(bucket, count);
}

void LogHistogram::clear() {
  buckets_.clear();
  count_ = 0;
}

std::optional<double> LogHistogram::quantile(double q) const {
  if (empty()) return std::nullopt;
  const double wanted = std::clamp(q, 0.0, 1.0) * static_cast<double>(count_);
  double below = 0;
  for (const auto& [bucket, count] : buckets_) {
    const auto here = static_cast<double>(count);
    if (below + here >= wanted) {
      const double share = std::clamp((wanted - below) / here, 0.0, 1.0);
      return std::exp2((bucket + share) / 4.0);
    }
    below += here;
  }
  return lower_bound(buckets_.rbegin()->first + 1);
}

bool is_load_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLoadNameBytes && std::ranges::all_of(text, [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
  });
}

std::string to_json(const LoadReport& report) {
  json::object out{{"gateway", report.gateway}};
  if (report.second) {
    out["second"] = *report.second;
    json::array upstreams;
    for (const UpstreamLoad& load : report.upstreams) upstreams.push_back(written(load));
    out["upstreams"] = std::move(upstreams);
  }
  if (!report.wake.empty()) out["wake"] = json::array(report.wake.begin(), report.wake.end());
  if (report.plan_id) out["plan_id"] = *report.plan_id;
  if (report.ended) out["ended"] = true;
  return sluice::to_json(out);
}

std::vector<std::string> to_json_parts(const LoadReport& report) {
  std::vector<std::string> parts;
  const std::string head =
      fmt::format(R"({{"gateway":{},"second":{},"upstreams":[)",
                  sluice::to_json(json::value(report.gateway)), *report.second);
  std::string part = head;
  size_t upstreams = 0;
  const auto close = [&] {
    part += "]}";
    parts.push_back(std::exchange(part, head));
    upstreams = 0;
  };
  for (const UpstreamLoad& load : report.upstreams) {
    const std::string text = sluice::to_json(written(load));
    const bool full = part.size() + text.size() + 3 > kMaxLoadReportBytes;
    if (full || upstreams == kMaxLoadUpstreams) close();
    if (upstreams++ > 0) part += ',';
    part += text;
  }
  if (upstreams > 0 || parts.empty()) close();
  return parts;
}

Result<LoadReport> parse_load_report(std::string_view text) {
  SLUICE_ASSIGN_OR_RETURN(const json::value value,
                          parse_json(text, {.max_bytes = kMaxLoadReportBytes,
                                            .max_depth = kMaxDepth,
                                            .max_nodes = kMaxNodes}));
  if (!value.is_object()) return wrong("a load report", "an object", value);
  LoadReport out;
  for (const auto& [key, field] : value.get_object()) {
    SLUICE_RETURN_IF_ERROR(read_top(key, field, out));
  }
  const json::object& object = value.get_object();
  if (out.gateway.empty()) return invalid("gateway: is required");
  const int forms = (out.second ? 1 : 0) + (object.contains("wake") ? 1 : 0) +
                    (out.plan_id ? 1 : 0) + (out.ended ? 1 : 0);
  if (forms != 1) return invalid("expected exactly one of second, wake, plan_id and ended");
  if (object.contains("upstreams") != out.second.has_value()) {
    return invalid("second and upstreams go together");
  }
  return out;
}

}  // namespace sluice::plan
