#include "platform/replica_reconciler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "control/json_util.h"
#include "control/scalars.h"
#include "platform/room.h"

namespace sluice::platform {

using control::EventKind;
using control::StoredObject;

namespace {

constexpr double kSameTime = 1e-3;                     // of exits, in seconds
constexpr Duration kSlack = std::chrono::seconds(10);  // for a backend that should have killed
constexpr size_t kLogBytes = 2048;
constexpr size_t kLineBytes = 300;
constexpr size_t kLines = 8;
constexpr int64_t kDefaultGrace = 30;
// From here on a restart is no accident.
constexpr int kLoopingFailures = 3;

std::string_view phase_name(ReplicaPhase phase) {
  switch (phase) {
    case ReplicaPhase::kStarting:
      return "Starting";
    case ReplicaPhase::kReady:
      return "Ready";
    case ReplicaPhase::kNotReady:
      return "NotReady";
    case ReplicaPhase::kDraining:
      return "Draining";
    case ReplicaPhase::kExited:
      return "Failed";
  }
  return "Failed";
}

json::object status_of(const StoredObject& replica) {
  const auto* status = control::object_at(replica.body, "status");
  return status == nullptr ? json::object() : *status;
}

void set_ready(json::object& status, const StoredObject& replica, bool ready,
               std::string_view reason, std::string_view message, double now) {
  json::array conditions = conditions_of(replica);
  set_condition(conditions,
                {.type = "Ready",
                 .status = ready ? "True" : "False",
                 .reason = std::string(reason),
                 .message = std::string(message)},
                now);
  status["conditions"] = std::move(conditions);
}

std::string exit_text(const ReplicaExit& exit) {
  std::string text = exit.reason.empty() ? "it ended" : exit.reason;
  if (exit.signal != 0) {
    text += fmt::format(", signal {}", exit.signal);
  } else if (exit.reason != "CannotStart") {
    text += fmt::format(", exit code {}", exit.code);
  }
  return text;
}

// The last lines, without what is no text.
std::string tail_of(std::string_view log) {
  std::vector<std::string> lines;
  while (!log.empty()) {
    const size_t end = log.find('\n');
    const std::string_view line = log.substr(0, end);
    if (!line.empty()) lines.push_back(control::printable(line, kLineBytes));
    if (end == std::string_view::npos) break;
    log.remove_prefix(end + 1);
  }
  std::string text;
  for (size_t i = lines.size() > kLines ? lines.size() - kLines : 0; i < lines.size(); ++i) {
    text += (text.empty() ? "" : "\n") + lines[i];
  }
  return text;
}

Duration grace_of(const StoredObject& replica) {
  return std::chrono::seconds(
      control::integer_at(replica.body, "spec.graceSeconds").value_or(kDefaultGrace));
}

}  // namespace

Duration ReplicaReconciler::pause_after(int failures) const {
  constexpr int kMaxDoublings = 20;
  const PlatformTiming& timing = context_.timing;
  const int doublings = std::clamp(failures - 1, 0, kMaxDoublings);
  return std::min(timing.first_restart * (int64_t{1} << doublings), timing.max_restart);
}

control::ObjectPtr ReplicaReconciler::revision_of(const StoredObject& replica) const {
  const std::string name(control::text_at(replica.body, "spec.revision"));
  ObjectPtr revision = context_.store().get({&revision_type(), replica.ns, name});
  if (!revision || revision->deleting()) return nullptr;
  return revision->uid == owner_uid(replica, "Revision") ? revision : nullptr;
}

WorkDone ReplicaReconciler::reconcile(const std::string& ns, const std::string& name) {
  const std::string id = replica_id(ns, name);
  const View view = context_.backend.find(id);
  const ObjectPtr replica = context_.store().get({&replica_type(), ns, name});
  if (!replica) {
    if (view) end_orphan(*view);
    return WorkDone::done();
  }
  if (replica->deleting()) return leave(replica, view);
  const ObjectPtr revision = revision_of(*replica);
  if (!revision) {
    return remove_object(context_, *replica) ? WorkDone::done() : WorkDone::retry();
  }
  if (view && view->phase != ReplicaPhase::kExited) return observe(replica, *view);
  const ReplicaState state = replica_state(*replica);
  if (view) {
    const double at = view->exit ? view->exit->at_unix : 0;
    const bool told = state.phase == "Failed" && std::abs(state.exit_unix - at) < kSameTime;
    if (!told) return ended(replica, *view);
  }
  if (state.phase == "Failed") {
    const double due = state.exit_unix + to_seconds(pause_after(state.failures));
    if (context_.now() < due) return WorkDone::after(seconds_of(due - context_.now()));
  }
  return begin(replica, *revision);
}

WorkDone ReplicaReconciler::begin(const ObjectPtr& replica, const StoredObject& revision) {
  const ModelView model = context_.recipes.model(revision);
  // The store tells when it is there; the pause is for news that were lost.
  if (model.phase == ModelPhase::kPulling) {
    return wait(replica, "ModelPulling", fmt::format("{} of {} bytes", model.done, model.total),
                WorkDone::after(context_.timing.look));
  }
  if (model.phase == ModelPhase::kFailed) {
    return wait(replica, model.final ? "ModelLoadFailed" : "ModelPullFailed", model.error,
                WorkDone::after(context_.timing.look));
  }
  const auto spec =
      context_.recipes.replica(revision, replica_id(replica->ns, replica->name), model.path);
  if (!spec) {
    const Status& status = spec.error();
    return wait(replica, status.reason().empty() ? "InvalidPredictorSpec" : status.reason(),
                status.message(), WorkDone::retry());
  }
  const ReplicaNeeds needs = needs_of(revision);
  const RoomUse use = room_in_use(context_.store(), context_.backend);
  if (!fits(use, needs)) {
    return wait(replica, kInsufficientRoom, room_message(needs, use),
                WorkDone::after(context_.timing.look));
  }
  return start(replica, *spec);
}

WorkDone ReplicaReconciler::start(const ObjectPtr& replica, const process::ReplicaSpec& spec) {
  context_.backend.forget(spec.id);  // of the run before
  if (const Outcome started = context_.backend.start(spec); !started) {
    const Status& status = started.error();
    return note_exit(
        replica, {.reason = "CannotStart", .message = status.message(), .at_unix = context_.now()},
        status.code() == Code::kInvalidArgument);
  }
  if (const View view = context_.backend.find(spec.id);
      view && view->phase != ReplicaPhase::kExited) {
    return observe(replica, *view);
  }
  return observe(replica, {.id = spec.id,
                           .phase = ReplicaPhase::kStarting,
                           .url = {},
                           .started_unix = context_.now(),
                           .exit = {}});
}

WorkDone ReplicaReconciler::observe(const ObjectPtr& replica, const ReplicaView& view) {
  const double now = context_.now();
  const bool ready = view.phase == ReplicaPhase::kReady && !view.url.empty();
  const bool was_ready = replica_state(*replica).phase == "Ready";
  const std::string_view phase =
      view.phase == ReplicaPhase::kReady && !ready ? "Starting" : phase_name(view.phase);
  json::object status = status_of(*replica);
  status["phase"] = phase;
  set_text(status, "message", {});
  set_text(status, "nextStart", {});
  set_text(status, "url", view.url);
  set_count(status, "pid", view.pid);
  set_text(status, "startedAt",
           view.started_unix > 0 ? control::time_text(view.started_unix) : std::string());
  if (ready && !was_ready) {
    status["readyAt"] = control::micro_time_text(now);
    context_.tell(replica, EventKind::kNormal, "Ready",
                  fmt::format("takes requests at {}", view.url));
  }
  set_ready(status, *replica, ready, ready ? "Ready" : phase, {}, now);
  return put_status(context_, replica, std::move(status));
}

std::string ReplicaReconciler::last_words(const ReplicaView& view) const {
  if (view.exit && !view.exit->message.empty()) return tail_of(view.exit->message);
  const auto log = context_.backend.log_tail(view.id, kLogBytes);
  return log ? tail_of(*log) : std::string();
}

WorkDone ReplicaReconciler::ended(const ObjectPtr& replica, const ReplicaView& view) {
  ReplicaExit exit = view.exit.value_or(ReplicaExit{.reason = "Error", .message = {}});
  exit.message = last_words(view);
  return note_exit(replica, exit, false);
}

WorkDone ReplicaReconciler::note_exit(const ObjectPtr& replica, const ReplicaExit& exit,
                                      bool hopeless) {
  const ReplicaState state = replica_state(*replica);
  const double now = context_.now();
  const bool was_well = state.ready_unix > state.exit_unix &&
                        exit.at_unix - state.ready_unix >= to_seconds(context_.timing.well_after);
  constexpr int kHopeless = 20;
  const int failures = hopeless ? kHopeless : (was_well ? 1 : state.failures + 1);
  const double due = exit.at_unix + to_seconds(pause_after(failures));
  const bool looping = failures >= kLoopingFailures;
  const std::string what = exit_text(exit);
  const std::string message =
      exit.message.empty() ? what : fmt::format("{}; it wrote last:\n{}", what, exit.message);
  json::object status = status_of(*replica);
  status["phase"] = "Failed";
  status["restarts"] = state.restarts + 1;
  status["failures"] = failures;
  status["nextStart"] = control::micro_time_text(due);
  set_text(status, "message", message);
  set_text(status, "url", {});
  set_count(status, "pid", 0);
  status["lastExit"] = json::object{{"code", exit.code},
                                    {"signal", exit.signal},
                                    {"reason", exit.reason.empty() ? "Error" : exit.reason},
                                    {"message", exit.message},
                                    {"at", control::time_text(exit.at_unix)},
                                    {"atUnix", exit.at_unix}};
  set_ready(status, *replica, false, looping ? "CrashLoopBackOff" : std::string_view("Restarting"),
            message, now);
  const WorkDone done = put_status(context_, replica, std::move(status),
                                   WorkDone::after(seconds_of(std::max(0.0, due - now))));
  if (!done.failed) {
    context_.tell(replica, EventKind::kWarning, looping ? "BackOff" : "Ended", message);
  }
  return done;
}

WorkDone ReplicaReconciler::wait(const ObjectPtr& replica, std::string_view reason,
                                 const std::string& message, const WorkDone& then) {
  json::object status = status_of(*replica);
  status["phase"] = "Pending";
  set_text(status, "message", message);
  set_ready(status, *replica, false, reason, message, context_.now());
  return put_status(context_, replica, std::move(status), then);
}

// One that takes requests goes when others can take them. It does not wait for ever, nor for one
// that waits for its room.
bool ReplicaReconciler::waits_for_replacement(const StoredObject& replica) const {
  const ObjectPtr revision = revision_of(replica);
  if (!revision || replica_state(replica).phase != "Ready") return false;
  const auto since =
      control::parse_time(control::text_at(replica.body, "metadata.deletionTimestamp"));
  if (!since || context_.now() >= *since + to_seconds(context_.timing.patience)) return false;
  int ready = 0;
  for (const ObjectPtr& each : owned(context_.store(), *revision, replica_type())) {
    if (each->deleting()) continue;
    if (is_serving(*each)) ++ready;
    const auto condition = find_condition(*each, "Ready");
    if (condition && condition->reason == kInsufficientRoom) return false;
  }
  return ready < revision_status(*revision).granted;
}

WorkDone ReplicaReconciler::leave(const ObjectPtr& replica, const View& view) {
  const std::string id = replica_id(replica->ns, replica->name);
  if (!view) return release(replica);
  if (view->phase == ReplicaPhase::kExited) {
    context_.backend.forget(id);
    return release(replica);
  }
  const double now = context_.now();
  const ReplicaState state = replica_state(*replica);
  const double settle = to_seconds(context_.timing.settle);
  if (state.draining_unix == 0) return drain(replica);
  const double told = state.phase == "Draining" && state.ready_unix > state.exit_unix
                          ? state.draining_unix + settle
                          : state.draining_unix;
  if (now < told) return WorkDone::after(seconds_of(told - now));
  if (told > state.draining_unix && !context_.none_behind(replica->version) &&
      now < told + to_seconds(context_.timing.patience)) {
    return WorkDone::after(context_.timing.settle);
  }
  context_.backend.drain(id);
  const double overdue = told + to_seconds(grace_of(*replica) + kSlack);
  if (now < overdue) return WorkDone::after(seconds_of(overdue - now));
  context_.backend.kill(id);
  return WorkDone::after(kSlack);
}

WorkDone ReplicaReconciler::drain(const ObjectPtr& replica) {
  if (waits_for_replacement(*replica)) return WorkDone::after(context_.timing.look);
  const double now = context_.now();
  json::object status = status_of(*replica);
  status["phase"] = "Draining";
  status["drainingAt"] = control::micro_time_text(now);
  set_ready(status, *replica, false, "Draining", {}, now);
  return put_status(context_, replica, std::move(status), WorkDone::after({}));
}

WorkDone ReplicaReconciler::release(const ObjectPtr& replica) {
  json::object body = replica->body;
  json::object& metadata = control::object_of(body, "metadata");
  json::array kept;
  const auto* finalizers = control::array_at(body, "metadata.finalizers");
  for (size_t i = 0; finalizers != nullptr && i < finalizers->size(); ++i) {
    const json::value& each = (*finalizers)[i];
    if (!each.is_string() || std::string_view(each.get_string()) != kDrainFinalizer) {
      kept.push_back(each);
    }
  }
  metadata["finalizers"] = std::move(kept);
  const auto written = context_.objects.update(key_of(*replica), control::Subresource::kNone,
                                               std::move(body), own_writes());
  if (written || written.error().code == 404) return WorkDone::done();
  return WorkDone::retry();
}

void ReplicaReconciler::end_orphan(const ReplicaView& view) {
  if (view.phase == ReplicaPhase::kExited) {
    context_.backend.forget(view.id);
  } else if (view.phase != ReplicaPhase::kDraining) {
    context_.backend.drain(view.id);
  }
}

void ReplicaReconciler::look_around() {
  for (const ReplicaView& view : context_.backend.list()) {
    const ReplicaName name = replica_name(view.id);
    if (!context_.store().get({&replica_type(), name.ns, name.name})) end_orphan(view);
  }
  for (const ObjectPtr& replica : context_.store().list(replica_type(), {}).objects) {
    context_.queue.add({.kind = WorkKind::kReplica, .ns = replica->ns, .name = replica->name});
  }
}

}  // namespace sluice::platform
