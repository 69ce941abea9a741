// Runs the autoscaling rule over a trace for the comparison of tests/autoscaler/run.sh. Standard
// input: a line {"options": {…}}, then one line {"now", "samples", "ready"} for each tick; after
// another line of options a new service begins. Standard output: {"desired", "panic", "spare"} for
// each tick.

#include <charconv>
#include <iostream>
#include <optional>
#include <string>

#include "base/json.h"
#include "control/kpa.h"

namespace {

using sluice::Result;
using sluice::control::Kpa;
using sluice::control::KpaOptions;
using std::chrono::seconds;
namespace json = boost::json;

KpaOptions read_options(const json::object& from) {
  const auto number = [&](const char* name) { return from.at(name).to_number<double>(); };
  const auto count = [&](const char* name) { return from.at(name).to_number<int>(); };
  return {.target = number("target"),
          .stable_window = seconds(count("stable_window")),
          .panic_window = seconds(count("panic_window")),
          .panic_threshold = number("panic_threshold"),
          .tick = seconds(count("tick")),
          .max_scale_up_rate = number("max_scale_up_rate"),
          .max_scale_down_rate = number("max_scale_down_rate"),
          .scale_to_zero_grace = seconds(count("scale_to_zero_grace")),
          .scale_down_delay = seconds(count("scale_down_delay")),
          .min_scale = count("min_scale"),
          .max_scale = count("max_scale"),
          .initial_scale = count("initial_scale"),
          .capacity = number("capacity"),
          .burst_target = number("burst_target")};
}

seconds read_second(std::string_view text) {
  int64_t second = 0;
  std::from_chars(text.data(), text.data() + text.size(), second);
  return seconds(second);
}

std::string answer(Kpa& kpa, const json::object& tick) {
  const seconds now(tick.at("now").to_number<int64_t>());
  for (const auto& [second, load] : tick.at("samples").as_object()) {
    kpa.record(now, read_second(second), load.to_number<double>());
  }
  const auto decision = kpa.decide(now, tick.at("ready").to_number<int>());
  json::object reply{
      {"desired", decision.desired}, {"panic", decision.panicking}, {"spare", nullptr}};
  if (decision.spare) reply["spare"] = *decision.spare;
  return json::serialize(reply);
}

}  // namespace

int main() {
  std::optional<Kpa> kpa;
  for (std::string line; std::getline(std::cin, line);) {
    const auto parsed = sluice::parse_json(line);
    if (!parsed) {
      std::cerr << parsed.error().message() << "\n";
      return 1;
    }
    const json::object& object = parsed->as_object();
    if (const json::value* found = object.if_contains("options")) {
      const auto options = sluice::control::check_options(read_options(found->as_object()));
      if (!options) {
        std::cerr << options.error().message() << "\n";
        return 1;
      }
      kpa.emplace(*options);
    } else {
      std::cout << answer(kpa.value(), object) << "\n";
    }
  }
  return 0;
}
