#include "process/probe_schedule.h"

#include <algorithm>
#include <chrono>

namespace sluice::process {
namespace {

using std::chrono::milliseconds;

constexpr Duration kShortestPause = milliseconds(5);
constexpr Duration kLongestPause = milliseconds(100);
constexpr int kPauseShare = 500;  // of its age

Probe accepts_connections() {
  Probe out;
  out.kind = Probe::Kind::kTcp;
  return out;
}

}  // namespace

ProbeSchedule::ProbeSchedule(const ReplicaSpec& spec, TimePoint running_since, ProbeHistory history)
    : since_(running_since),
      ever_ready_(history != ProbeHistory::kNone),
      ready_(history == ProbeHistory::kReady),
      asks_readiness_once_(!spec.readiness) {
  track(ProbeKind::kStartup).probe = spec.startup;
  track(ProbeKind::kReadiness).probe = spec.readiness ? *spec.readiness : accepts_connections();
  track(ProbeKind::kLiveness).probe = spec.liveness;
  if (spec.startup && !ever_ready_) {
    open(ProbeKind::kStartup, running_since);
  } else {
    open(ProbeKind::kReadiness, running_since);
    open(ProbeKind::kLiveness, running_since);
  }
}

const Probe& ProbeSchedule::probe(ProbeKind kind) const { return *track(kind).probe; }

void ProbeSchedule::open(ProbeKind kind, TimePoint now) {
  Track& t = track(kind);
  if (!t.probe) return;
  if (kind == ProbeKind::kReadiness && asks_readiness_once_ && ready_) return;
  t.next = std::max(now, since_ + t.probe->initial_delay);
}

TimePoint ProbeSchedule::due(ProbeKind kind) const {
  const Track& t = track(kind);
  return t.under_way ? TimePoint::max() : t.next;
}

void ProbeSchedule::begin(ProbeKind kind) { track(kind).under_way = true; }

Duration ProbeSchedule::early_pause(const Probe& probe, TimePoint now) const {
  const Duration age = now - since_ - probe.initial_delay;
  return std::min(std::clamp<Duration>(age / kPauseShare, kShortestPause, kLongestPause),
                  probe.period);
}

ProbeVerdict ProbeSchedule::finish(ProbeKind kind, bool good, TimePoint now) {
  Track& t = track(kind);
  t.under_way = false;
  t.good = good ? t.good + 1 : 0;
  t.bad = good ? 0 : t.bad + 1;
  if (kind == ProbeKind::kStartup) return finish_startup(now);
  if (kind == ProbeKind::kReadiness) return finish_readiness(now);
  t.next = now + t.probe->period;
  if (t.bad < t.probe->failure_threshold) return ProbeVerdict::kNothing;
  t.next = TimePoint::max();
  return ProbeVerdict::kNotLive;
}

ProbeVerdict ProbeSchedule::finish_startup(TimePoint now) {
  Track& t = track(ProbeKind::kStartup);
  t.next = TimePoint::max();
  if (t.good >= t.probe->success_threshold) {
    open(ProbeKind::kReadiness, now);
    open(ProbeKind::kLiveness, now);
    return ProbeVerdict::kNothing;
  }
  const TimePoint until =
      since_ + t.probe->initial_delay + t.probe->period * t.probe->failure_threshold;
  if (t.good == 0 && now >= until) return ProbeVerdict::kStartTimeout;
  t.next = now + early_pause(*t.probe, now);
  return ProbeVerdict::kNothing;
}

ProbeVerdict ProbeSchedule::finish_readiness(TimePoint now) {
  Track& t = track(ProbeKind::kReadiness);
  t.next = now + (ever_ready_ ? t.probe->period : early_pause(*t.probe, now));
  if (!ready_ && t.good >= t.probe->success_threshold) {
    ready_ = ever_ready_ = true;
    t.next = asks_readiness_once_ ? TimePoint::max() : now + t.probe->period;
    return ProbeVerdict::kReady;
  }
  if (ready_ && t.bad >= t.probe->failure_threshold) {
    ready_ = false;
    return ProbeVerdict::kNotReady;
  }
  return ProbeVerdict::kNothing;
}

}  // namespace sluice::process
