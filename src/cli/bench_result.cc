#include "cli/bench_result.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

namespace sluice::cli {
namespace {

// Linear between the nearest ranks, as numpy has it.
double percentile(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  const double at = percent / 100.0 * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - static_cast<double>(low));
}

json::object spread(std::vector<double> milliseconds) {
  std::ranges::sort(milliseconds);
  const double sum = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0);
  const double mean = milliseconds.empty() ? 0 : sum / static_cast<double>(milliseconds.size());
  return {{"mean", mean},
          {"p50", percentile(milliseconds, 50)},
          {"p90", percentile(milliseconds, 90)},
          {"p99", percentile(milliseconds, 99)},
          {"count", milliseconds.size()}};
}

struct Series {
  std::vector<double> ttft, tpot, itl, e2el;
};

// Appends one request's figures; true when it keeps within the goodput bounds.
bool add_request(const RequestRecord& record, const Goodput& goodput, Series& series) {
  if (record.token_times.empty()) return false;
  const double ttft = (record.token_times.front() - record.start) * 1e3;
  const double e2el = (record.token_times.back() - record.start) * 1e3;
  double tpot = 0;
  series.ttft.push_back(ttft);
  series.e2el.push_back(e2el);
  if (record.output_tokens > 1) {
    tpot = (e2el - ttft) / (record.output_tokens - 1);
    series.tpot.push_back(tpot);
  }
  for (size_t i = 1; i < record.token_times.size(); ++i) {
    series.itl.push_back((record.token_times[i] - record.token_times[i - 1]) * 1e3);
  }
  const auto within = [](double value, double bound) { return bound <= 0 || value <= bound; };
  return within(ttft, goodput.ttft_ms) && within(tpot, goodput.tpot_ms) &&
         within(e2el, goodput.e2el_ms);
}

}  // namespace

json::object summarize(const std::vector<RequestRecord>& records, double seconds,
                       const Goodput& goodput) {
  Series series;
  std::map<std::string, int> errors;
  int64_t input = 0, cached = 0, output = 0;
  int good = 0, succeeded = 0;
  for (const RequestRecord& record : records) {
    if (!record.error.empty()) {
      ++errors[record.error];
      continue;
    }
    ++succeeded;
    input += record.input_tokens;
    cached += record.cached_tokens;
    output += record.output_tokens;
    good += add_request(record, goodput, series) ? 1 : 0;
  }
  json::object failed;
  for (const auto& [what, count] : errors) failed[what] = count;
  json::object summary = {
      {"duration_seconds", seconds},
      {"requests", records.size()},
      {"succeeded", succeeded},
      {"errors", std::move(failed)},
      {"input_tokens", input},
      {"cached_input_tokens", cached},
      {"output_tokens", output},
      {"requests_per_second", succeeded / seconds},
      {"output_tokens_per_second", static_cast<double>(output) / seconds},
      {"total_tokens_per_second", static_cast<double>(input + output) / seconds},
      {"ttft_ms", spread(std::move(series.ttft))},
      {"tpot_ms", spread(std::move(series.tpot))},
      {"itl_ms", spread(std::move(series.itl))},
      {"e2el_ms", spread(std::move(series.e2el))}};
  if (goodput.asked()) summary["goodput_requests_per_second"] = good / seconds;
  return summary;
}

std::string show_summary(const json::object& summary) {
  const auto number = [&](const char* name) { return summary.at(name).to_number<double>(); };
  std::string out = fmt::format(
      "requests        {:.0f} ({:.0f} succeeded) in {:.2f} s\n"
      "input tokens    {:.0f} ({:.0f} from the prefix cache)\n"
      "output tokens   {:.0f}\n"
      "throughput      {:.2f} requests/s, {:.1f} output tokens/s, {:.1f} tokens/s in all\n",
      number("requests"), number("succeeded"), number("duration_seconds"), number("input_tokens"),
      number("cached_input_tokens"), number("output_tokens"), number("requests_per_second"),
      number("output_tokens_per_second"), number("total_tokens_per_second"));
  if (summary.contains("goodput_requests_per_second")) {
    out +=
        fmt::format("goodput         {:.2f} requests/s\n", number("goodput_requests_per_second"));
  }
  out += fmt::format("{:<6}{:>12}{:>12}{:>12}{:>12}  (ms)\n", "", "mean", "p50", "p90", "p99");
  constexpr std::array<std::pair<const char*, const char*>, 4> kRows = {
      {{"TTFT", "ttft_ms"}, {"TPOT", "tpot_ms"}, {"ITL", "itl_ms"}, {"E2EL", "e2el_ms"}}};
  for (const auto& [label, key] : kRows) {
    const json::object& row = summary.at(key).as_object();
    out += fmt::format("{:<6}{:>12.2f}{:>12.2f}{:>12.2f}{:>12.2f}\n", label,
                       row.at("mean").to_number<double>(), row.at("p50").to_number<double>(),
                       row.at("p90").to_number<double>(), row.at("p99").to_number<double>());
  }
  for (const auto& [what, count] : summary.at("errors").as_object()) {
    out += fmt::format("error           {} × {}\n", count.to_number<int64_t>(),
                       std::string_view(what));
  }
  return out;
}

}  // namespace sluice::cli
