// Rollout: how a new revision of a predictor takes the place of the one before: a state machine
// whose state is part of the InferenceService's status.
//
//   idle ──new revision──► waiting ──ready──► stepping ──last step held──► idle (it is the stable)
//                             └──── cannot start ──┴── analysis fails, or told so ──► rolled back
//                                or comes no further
//
// Pure: time, readiness and figures are given; equal input gives equal decisions. step() may be
// called at any time and as often as one likes. What always holds of a decision:
//   - the weights sum to 100 where any revision exists;
//   - no traffic for a revision that is not ready, unless none that may have any is: then requests
//     wait for the stable one, or for the first;
//   - a candidate whose looks are bad is gone after failureLimit of them, unless autoRollback is
//     false; it is not tried again while it is the latest;
//   - one that waits for what the machine has no room for is told so, and does not wait for ever.
// Figures are asked for by whole seconds, up to kReportLag ago: what is younger has not been told
// yet.
// Not thread-safe: one reconciler at a time.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace sluice::platform {

inline constexpr double kReportLag = 2;  // seconds

enum class RolloutStrategy {
  kLatest,  // no policy: all traffic to the latest ready revision, as in KServe
  kProgressive,
  kBlueGreen,
  kManual,
  kRecreate,  // the old one ends first: where both have no room beside each other
};

struct RolloutStep {
  int weight = 0;            // percent for the candidate
  double pause_seconds = 0;  // how long it stays
};

struct RolloutAnalysis {
  double interval_seconds = 10;
  int failure_limit = 3;  // bad looks in a row
  int min_requests = 10;  // fewer decide nothing, and count in the next look
  std::optional<double> max_error_rate;
  std::optional<double> max_ttft_ms;        // p95
  std::optional<double> max_latency_ms;     // p95
  std::optional<double> min_tokens_second;  // median of one stream
  std::optional<double> max_ratio;          // × the stable one's
  std::string check_url;
  double check_timeout_seconds = 10;

  double window() const { return interval_seconds * failure_limit; }
};

struct RolloutPolicy {
  RolloutStrategy strategy = RolloutStrategy::kLatest;
  std::vector<RolloutStep> steps;           // weights rise; the last is 100
  std::optional<RolloutAnalysis> analysis;  // of kProgressive and kBlueGreen
  bool auto_rollback = true;
  double deadline_seconds = 600;  // that it may wait without coming further
  std::optional<int> percent;     // canaryTrafficPercent: by hand, whatever the strategy
};

// Of an InferenceService's spec, defaults filled in.
RolloutPolicy rollout_policy(const json::object& service_spec);

struct RolloutFigures {
  int64_t requests = 0;  // that ended
  int64_t errors = 0;
  std::optional<double> ttft_p95_ms = {};
  std::optional<double> latency_p95_ms = {};
  std::optional<double> tokens_second = {};  // median of one stream
};

struct LoadSpan;  // load_book.h
RolloutFigures rollout_figures(const LoadSpan& span);

enum class RolloutAction { kNone, kPromote, kRollback, kPause };
struct RolloutCommand {
  RolloutAction action = RolloutAction::kNone;
  std::string revision = {};  // that it is about; of another one it has no effect
  std::string token = {};     // tells it from another one of the same words; may be empty

  std::string id() const { return token.empty() ? revision : revision + " " + token; }
};
// The value of kRolloutAnnotation, "ACTION REVISION" or "ACTION REVISION TOKEN"; anything else is
// kNone. What a token has beyond kMaxTokenBytes does not count.
inline constexpr size_t kMaxTokenBytes = 64;
RolloutCommand parse_rollout_command(std::string_view text);

struct RevisionState {
  std::string name;
  bool ready = false;   // may be given traffic: has a ready replica, or is at zero and can wake
  int can_carry = 100;  // percent of the service's traffic for which its ready replicas are enough
  std::string failure = {};  // why it will never be ready; empty: it may
  bool loaded = true;        // its model is here
  bool pulling = false;      // … and is being brought
  bool proven = false;       // it has been ready
  std::string no_room = {};  // why the machine holds fewer of it than it needs; empty: it does not
};

struct RolloutInput {
  double now = 0;                             // Unix time
  std::string latest = {};                    // revision of the present spec; empty: none yet
  std::vector<RevisionState> revisions = {};  // all that exist
  RolloutCommand command = {};
  bool stopped = false;  // nothing runs, and nothing is waited for
  double began = 0;      // since when somebody looks; what was before is no waiting
  // Of one revision over [from, to).
  std::function<RolloutFigures(const std::string& revision, double from, double to)> figures = {};
  // Answer of the external check of look number `look`, once it is there.
  struct Check {
    int64_t look = 0;
    bool good = false;
    std::string message = {};
  };
  std::optional<Check> check = {};
};

enum class RolloutPhase { kIdle, kWaiting, kStepping, kPaused, kRolledBack };
std::string_view rollout_phase_name(RolloutPhase phase);  // Idle, Waiting, Progressing, …

struct Rollout {
  RolloutPhase phase = RolloutPhase::kIdle;
  std::string stable;       // took all traffic last (latestRolledoutRevision)
  std::string previous;     // the one before (previousRolledoutRevision)
  std::string candidate;    // takes its place; empty: none
  int step = -1;            // that holds; -1: none yet
  int weight = 0;           // of the candidate
  double since = 0;         // when the weight came into force
  double looked = 0;        // end of the last look
  double figures_from = 0;  // begin of what the next look reads
  int64_t look = 0;         // number of the next look
  int bad_looks = 0;        // in a row, quiet ones between them left out
  int quiet_looks = 0;      // with too little to decide by, since the last bad one
  bool tight = false;       // no room for both whole: the stable one shrinks as this one grows
  bool by_hand = false;     // canaryTrafficPercent was given for this candidate
  std::string failed;       // rolled back; not tried again while it is the latest
  std::string obeyed;       // id() of the command to promote that was carried out, once
  std::string reason;       // a word: why it is as it is
  std::string message;      // in words
  bool operator==(const Rollout&) const = default;
};

json::object to_json(const Rollout& rollout);
// Fields that are missing or of another kind count as absent: the state begins anew.
Rollout rollout_from_json(const json::object& object);

struct RevisionWeight {
  std::string revision;
  int percent = 0;
  bool operator==(const RevisionWeight&) const = default;
};

// For events and the audit log.
struct RolloutNote {
  bool warning = false;
  std::string reason;  // RolloutStarted, RolloutStep, Promoted, RolledBack, AnalysisFailed, …
  std::string message;
};

// An external check that is due: POST `url` with `body`; its answer goes into the next input.
struct RolloutCheckDue {
  std::string url;
  double timeout_seconds = 10;
  int64_t look = 0;
  json::object body;
};

struct RolloutDecision {
  std::vector<RevisionWeight> weights;  // of all that get traffic, the stable one first
  // What must run: the stable revision and the candidate, with the percent of the service's traffic
  // that each must be able to carry: the weight is not raised before can_carry says so.
  std::vector<RevisionWeight> capacity;
  std::vector<RolloutNote> notes;
  std::optional<double> next_at;  // call again then, if nothing happens before
  std::optional<RolloutCheckDue> check;
};

RolloutDecision step(Rollout& rollout, const RolloutPolicy& policy, const RolloutInput& input);

}  // namespace sluice::platform
