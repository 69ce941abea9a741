#include "control/events.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/secret.h"
#include "control/json_util.h"
#include "control/limits.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
constexpr size_t kMaxNameBytes = 200;

const ResourceType& events() {
  static const ResourceType& type = *find_kind("v1", "Event");
  return type;
}

json::object reference_to(const StoredObject& object) {
  json::object reference{{"apiVersion", object.type->api_version()},
                         {"kind", object.type->kind},
                         {"name", object.name},
                         {"uid", object.uid},
                         {"resourceVersion", std::to_string(object.version)}};
  if (!object.ns.empty()) reference["namespace"] = object.ns;
  return reference;
}

}  // namespace

void EventRecorder::record(const StoredObject& about, EventKind kind, std::string_view reason,
                           std::string_view message) {
  const std::string text(message.substr(0, kMaxMessageBytes));
  const std::string_view type = kind == EventKind::kNormal ? "Normal" : "Warning";
  // The name follows from what is said, so that saying it again finds it.
  const SecretDigest digest(
      fmt::format("{}\n{}\n{}\n{}\n{}", about.uid, component_, type, reason, text));
  const std::string ns = about.ns.empty() ? "default" : about.ns;
  const ObjectKey key{
      &events(), ns,
      fmt::format("{}.{}", about.name.substr(0, kMaxNameBytes), digest.hex().substr(0, 16))};
  const std::string now = time_text(objects_.clock().unix_seconds());
  const WriteOptions options{.who = {"system:controller", Role::kAdmin}, .manager = component_};
  auto present = objects_.get(key);
  ApiOutcome done;
  if (present) {
    json::object body = (*present)->body;
    body["count"] = integer_at(body, "count").value_or(1) + 1;
    body["lastTimestamp"] = now;
    const auto written = objects_.update(key, Subresource::kNone, std::move(body), options);
    if (!written) done = std::unexpected(written.error());
  } else {
    json::object body{{"metadata", json::object{{"name", key.name}, {"namespace", ns}}},
                      {"involvedObject", reference_to(about)},
                      {"reason", reason},
                      {"message", text},
                      {"source", json::object{{"component", component_}}},
                      {"firstTimestamp", now},
                      {"lastTimestamp", now},
                      {"count", 1},
                      {"type", type},
                      {"reportingComponent", component_},
                      {"reportingInstance", ""}};
    const auto written = objects_.create(events(), ns, std::move(body), options);
    if (!written) done = std::unexpected(written.error());
  }
  if (!done) {
    log_warn("an event of {} is lost ({}): {}", about.name, reason, done.error().message);
  }
}

void expire_events(Objects& objects) {
  const double now = objects.clock().unix_seconds();
  std::vector<std::pair<double, ObjectPtr>> kept;
  std::vector<ObjectPtr> gone;
  for (const ObjectPtr& event : objects.store().list(events(), {}).objects) {
    auto seen = parse_time(text_at(event->body, "lastTimestamp"));
    if (!seen) seen = parse_time(text_at(event->body, "metadata.creationTimestamp"));
    if (seen.value_or(0) + static_cast<double>(limits::kEventLife.count()) < now) {
      gone.push_back(event);
    } else {
      kept.emplace_back(seen.value_or(0), event);
    }
  }
  if (kept.size() > limits::kMaxEvents) {
    std::ranges::sort(kept, {}, [](const auto& each) { return each.first; });
    for (size_t i = 0; i + limits::kMaxEvents < kept.size(); ++i) gone.push_back(kept[i].second);
  }
  for (const ObjectPtr& event : gone) {
    // One that has gone meanwhile is as good.
    static_cast<void>(objects.remove(key_of(*event), {}));
  }
}

}  // namespace sluice::control
