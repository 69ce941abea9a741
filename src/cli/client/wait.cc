#include "cli/client/wait.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "cli/client/table_text.h"
#include "control/json_util.h"

namespace sluice::cli {
namespace {

using control::text_at;

constexpr std::string_view kConditionWord = "condition=";
constexpr std::string_view kPathWord = "jsonpath=";

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return (x | 0x20) == (y | 0x20); });
}

// A condition counts only when it is of the present generation, where it says of which it is.
bool has_condition(const json::object& object, std::string_view type, std::string_view wanted) {
  const json::array* conditions = control::array_at(object, "status.conditions");
  const auto generation = control::integer_at(object, "metadata.generation");
  const auto observed = control::integer_at(object, "status.observedGeneration");
  if (generation && observed && *observed < *generation) return false;
  if (conditions == nullptr) return false;
  return std::ranges::any_of(*conditions, [&](const json::value& each) {
    const json::object* fields = each.if_object();
    return fields != nullptr && same_word(text_at(*fields, "type"), type) &&
           same_word(text_at(*fields, "status"), wanted);
  });
}

Result<Wish> path_wish(std::string_view text) {
  // jsonpath={.status.phase}=Ready
  const size_t close = text.find('}');
  if (!text.starts_with("{.") || close == std::string_view::npos) {
    return invalid(fmt::format("\"{}\": expected jsonpath={{.path}}=value", text));
  }
  const std::string path(text.substr(2, close - 2));
  std::string_view rest = text.substr(close + 1);
  const bool any = rest.empty();
  if (!any && !rest.starts_with('=')) {
    return invalid(fmt::format("\"{}\": expected = and a value behind the path", text));
  }
  const std::string value(any ? rest : rest.substr(1));
  return [path, value, any](const json::object* object) {
    const json::value* found = object == nullptr ? nullptr : control::find_path(*object, path);
    return found != nullptr && (any || cell_text(*found) == value);
  };
}

// What the Ready condition says while it does not hold; empty: nothing.
std::string what_is_missing(const json::object& object) {
  const json::array* conditions = control::array_at(object, "status.conditions");
  for (size_t i = 0; conditions != nullptr && i < conditions->size(); ++i) {
    const json::object* fields = (*conditions)[i].if_object();
    if (fields == nullptr || text_at(*fields, "type") != "Ready") continue;
    const std::string_view message = text_at(*fields, "message");
    return cell_text(json::value(message.empty() ? text_at(*fields, "reason") : message));
  }
  return {};
}

std::optional<Duration> left(std::optional<TimePoint> until) {
  if (!until) return std::nullopt;
  return std::max<Duration>(*until - system_clock().now(), std::chrono::milliseconds(1));
}

Status timed_out(const Place& place) {
  return {Code::kDeadlineExceeded,
          fmt::format("timed out waiting for the condition on {}", place.shown())};
}

Outcome wait_for(ApiClient& api, const WaitOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const Wish wish, parse_wish(options.condition));
  SLUICE_ASSIGN_OR_RETURN(const auto patience, parse_patience(options.timeout));
  SLUICE_ASSIGN_OR_RETURN(const auto named,
                          places_of(api, options.api, options.targets, options.files,
                                    options.recursive, options.all_namespaces));
  SLUICE_ASSIGN_OR_RETURN(const auto places, expand_all(api, named, options.selector, {}));
  const bool gone = options.condition == "delete";
  if (places.empty() && !gone) return fail(Code::kNotFound, "error: no matching resources found");
  const auto until = patience ? std::optional(system_clock().now() + *patience) : std::nullopt;
  Failures failures;
  for (const Place& place : places) {
    bool was_there = false;
    const Outcome held = follow_object(api, place, until, [&](const json::object* object) {
      was_there = was_there || object != nullptr;
      if (gone) return object == nullptr;
      return wish(object);
    });
    if (held) {
      std::cout << place.shown() << " condition met\n" << std::flush;
    } else {
      const bool late = held.error().code() == Code::kDeadlineExceeded;
      failures.note(late && !was_there
                        ? Status(Code::kNotFound,
                                 fmt::format("{} \"{}\" not found", place.type->qualified_plural(),
                                             place.name),
                                 {}, "NotFound")
                        : held.error());
    }
  }
  return failures.outcome();
}

}  // namespace

bool becomes_ready(const control::ResourceType& type) {
  return type.has_status && type.kind != "Namespace";
}

bool is_ready(const json::object& object) { return has_condition(object, "Ready", "True"); }

Result<Wish> parse_wish(const std::string& text) {
  if (text == "delete") return [](const json::object* object) { return object == nullptr; };
  const std::string_view view = text;
  if (view.starts_with(kPathWord)) return path_wish(view.substr(kPathWord.size()));
  if (!view.starts_with(kConditionWord) || view.size() == kConditionWord.size()) {
    return invalid(fmt::format(
        "--for=\"{}\": expected condition=NAME[=VALUE], delete or jsonpath={{.path}}=value", text));
  }
  const std::string_view rest = view.substr(kConditionWord.size());
  const size_t equals = rest.find('=');
  const std::string type(rest.substr(0, equals));
  const std::string wanted(equals == std::string_view::npos ? "True" : rest.substr(equals + 1));
  return [type, wanted](const json::object* object) {
    return object != nullptr && has_condition(*object, type, wanted);
  };
}

Outcome follow_object(ApiClient& api, const Place& place, std::optional<TimePoint> until,
                      const std::function<bool(const json::object* object)>& look) {
  Place collection = place;
  collection.name.clear();
  const std::string name = fmt::format("metadata.name={}", place.name);
  while (true) {
    // The list tells what is there and from where the watch goes on, so that nothing is missed.
    SLUICE_ASSIGN_OR_RETURN(const ApiAnswer answer,
                            api.get(collection.path(), {{"fieldSelector", name}}));
    const json::object& list = answer.body.as_object();
    const json::array* items = control::array_at(list, "items");
    const bool there = items != nullptr && !items->empty() && items->front().is_object();
    if (look(there ? &items->front().get_object() : nullptr)) return {};
    bool done = false;
    const Outcome ended =
        api.stream(collection.path(),
                   {{"fieldSelector", name},
                    {"watch", "true"},
                    {"resourceVersion", std::string(text_at(list, "metadata.resourceVersion"))}},
                   "application/json", left(until), [&](std::string_view line) {
                     const auto event = parse_json(line);
                     const json::object* fields = event ? event->if_object() : nullptr;
                     const json::object* object =
                         fields == nullptr ? nullptr : control::object_at(*fields, "object");
                     if (object == nullptr || text_at(*fields, "type") == "ERROR") return false;
                     done = look(text_at(*fields, "type") == "DELETED" ? nullptr : object);
                     return !done;
                   });
    if (done) return {};
    if (until && system_clock().now() >= *until) return std::unexpected(timed_out(place));
    // A watch ends by itself after a while, and is begun anew.
    if (!ended && ended.error().code() != Code::kDeadlineExceeded) return ended;
  }
}

Outcome wait_until_ready(ApiClient& api, const std::vector<Place>& places,
                         std::optional<Duration> patience) {
  const auto until = patience ? std::optional(system_clock().now() + *patience) : std::nullopt;
  for (const Place& place : places) {
    if (!becomes_ready(*place.type)) continue;
    std::string told;
    const Outcome ready = follow_object(api, place, until, [&](const json::object* object) {
      if (object == nullptr) return false;
      if (is_ready(*object)) return true;
      const std::string why = what_is_missing(*object);
      if (!why.empty() && why != told) std::cout << place.shown() << ": " << why << "\n";
      std::cout.flush();
      told = why;
      return false;
    });
    SLUICE_RETURN_IF_ERROR(ready);
    std::cout << place.shown() << " is ready\n" << std::flush;
  }
  return {};
}

int run_wait(const WaitOptions& options) {
  return with_api(options.api, [&](ApiClient& api) { return wait_for(api, options); });
}

}  // namespace sluice::cli
