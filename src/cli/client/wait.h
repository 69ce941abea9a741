// `sluice wait`: until a condition of objects holds, or they are gone.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "cli/client/commands_kit.h"

namespace sluice::cli {

struct WaitOptions {
  ApiOptions api;
  std::vector<std::string> targets;
  std::vector<std::string> files;
  std::string condition = "condition=Ready";  // or delete, or jsonpath={.path}=value
  std::string timeout = "30s";
  std::string selector;
  bool all_namespaces = false;
  bool recursive = false;
};

int run_wait(const WaitOptions& options);

// Follows one object from now on: `look` is given it, or null where there is none, after each
// change, until it returns true. kDeadlineExceeded when the time is over first.
Outcome follow_object(ApiClient& api, const Place& place, std::optional<TimePoint> until,
                      const std::function<bool(const json::object* object)>& look);

// Every object that has the condition Ready by its kind, one after another.
Outcome wait_until_ready(ApiClient& api, const std::vector<Place>& places,
                         std::optional<Duration> patience);

// What --for asks, of an object or of none.
using Wish = std::function<bool(const json::object* object)>;
Result<Wish> parse_wish(const std::string& text);

// The kind has a Ready condition that the platform writes.
bool becomes_ready(const control::ResourceType& type);
bool is_ready(const json::object& object);

}  // namespace sluice::cli
