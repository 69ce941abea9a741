#include "platform/context.h"

#include <utility>

#include "base/log.h"
#include "control/json_util.h"

namespace sluice::platform {
namespace {

constexpr size_t kMaxTold = 1000;
constexpr std::string_view kManager = "sluice-platform";

bool is_conflict(const control::ApiError& error) { return error.code == 409; }

}  // namespace

void Context::tell(const control::ObjectPtr& about, control::EventKind kind,
                   std::string_view reason, std::string message) {
  if (told.size() >= kMaxTold) return;
  told.push_back({about, kind, std::string(reason), std::move(message)});
  queue.add({.kind = WorkKind::kTell, .ns = {}, .name = {}});
}

void Context::flush_events() {
  control::EventRecorder recorder(objects, std::string(kManager));
  for (const Told& each : std::exchange(told, {})) {
    recorder.record(*each.about, each.kind, each.reason, each.message);
  }
}

control::WriteOptions own_writes() {
  return {.who = {"system:controller", control::Role::kAdmin}, .manager = std::string(kManager)};
}

WorkDone put_status(Context& context, const control::ObjectPtr& seen, json::object status,
                    const WorkDone& then) {
  const json::value* present = control::find_path(seen->body, "status");
  if (present != nullptr && control::same_json(*present, json::value(status))) {
    // Most of the time; the long way to the same answer costs a hundred times as much.
    const control::ObjectPtr now = context.store().get(key_of(*seen));
    if (now && now->uid == seen->uid && now->version == seen->version) return then;
  }
  const auto written = context.objects.update_status(seen, std::move(status), own_writes());
  if (written) return then;
  if (written.error().code == 404) return WorkDone::done();
  if (!is_conflict(written.error())) {
    log_error("the status of {} {}/{} cannot be written: {}", seen->type->kind, seen->ns,
              seen->name, written.error().message);
  }
  return WorkDone::retry();
}

bool remove_object(Context& context, const control::StoredObject& object) {
  control::DeleteOptions options;
  options.uid = object.uid;
  const auto removed = context.objects.remove(key_of(object), options);
  if (removed || removed.error().code == 404 || is_conflict(removed.error())) return true;
  log_error("{} {}/{} cannot be removed: {}", object.type->kind, object.ns, object.name,
            removed.error().message);
  return false;
}

}  // namespace sluice::platform
