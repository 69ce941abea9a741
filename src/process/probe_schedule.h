// ProbeSchedule: when which probe of a replica is due, and what its results say. A state machine
// without clock or socket. One owner.
//
// As in Kubernetes: the start-up probe first, and until it has held none of the others; readiness
// and liveness by their own periods and thresholds. Other than there, a replica that has not been
// ready yet is asked every few milliseconds at first, backing off with its age, so that it takes
// requests as soon as it can; the start-up probe fails for good when failure_threshold periods are
// over.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "process/replica_spec.h"

namespace sluice::process {

enum class ProbeKind : uint8_t { kStartup, kReadiness, kLiveness };
inline constexpr size_t kProbeKinds = 3;

enum class ProbeVerdict : uint8_t {
  kNothing,
  kReady,
  kNotReady,
  kStartTimeout,  // it is to be ended
  kNotLive,       // it is to be ended
};

enum class ProbeHistory : uint8_t { kNone, kReady, kNotReady };

class ProbeSchedule {
 public:
  // An old acquaintance has started long ago, and stays what it was until probes say otherwise.
  ProbeSchedule(const ReplicaSpec& spec, TimePoint running_since, ProbeHistory history);

  // What is to be sent.
  const Probe& probe(ProbeKind kind) const;
  // When it is to be begun; max(): not now.
  TimePoint due(ProbeKind kind) const;
  void begin(ProbeKind kind);
  ProbeVerdict finish(ProbeKind kind, bool good, TimePoint now);

  bool ready() const { return ready_; }

 private:
  struct Track {
    std::optional<Probe> probe;
    TimePoint next = TimePoint::max();
    bool under_way = false;
    int good = 0;  // in a row
    int bad = 0;
  };

  Track& track(ProbeKind kind) { return tracks_[static_cast<size_t>(kind)]; }
  const Track& track(ProbeKind kind) const { return tracks_[static_cast<size_t>(kind)]; }
  void open(ProbeKind kind, TimePoint now);
  Duration early_pause(const Probe& probe, TimePoint now) const;
  ProbeVerdict finish_startup(TimePoint now);
  ProbeVerdict finish_readiness(TimePoint now);

  std::array<Track, kProbeKinds> tracks_;
  const TimePoint since_;
  bool ever_ready_;
  bool ready_;
  // Without a readiness probe whoever accepts a connection is ready, once and for all.
  bool asks_readiness_once_;
};

}  // namespace sluice::process
