// What the gateway knows of one server that answers requests, and how one is chosen.
//
// A Sluice replica speaks the internal protocol, by which a cut answer goes on elsewhere; any other
// OpenAI-compatible server is a foreign one, to which requests are passed on as they came.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/prefix_hash.h"
#include "base/status.h"
#include "net/tls.h"

namespace sluice::gateway {

enum class ReplicaKind { kSluice, kForeign };

// How a use of a replica ended, as health and balance see it.
enum class UseResult {
  kAnswered,    // to the end, or ended by the client
  kRefused,     // 429 or 503 before the first byte: alive, but full or draining
  kFailed,      // 5xx, broken answer, connection lost
  kNotReached,  // no connection
  kHung,        // connected, but silent for longer than it may be
  kUntold,  // says nothing of the replica: not sent for want of something here, or given up here
};
inline constexpr size_t kUseResults = 6;

// Of https; null: the system's authorities are believed.
using TlsPtr = std::shared_ptr<const net::TlsContext>;

// Where a replica is and what it serves. Immutable; a changed replica is a new one.
struct ReplicaInfo {
  std::string name;      // unique in its upstream, a metric label
  std::string upstream;  // the upstream it belongs to
  std::string url;       // http[s]://host:port, no path
  ReplicaKind kind = ReplicaKind::kSluice;
  std::string internal_token;  // of a Sluice replica; never logged
  TlsPtr tls;                  // of https
  std::string tls_name;        // that its certificate must name; empty: the URL's host
  std::string model;           // what to ask it for; empty: the name the client used
  std::string fingerprint;     // numerics id, once known; equal ids give equal tokens
  std::string revision;        // a metric label
};

// One use of a replica: its load is counted from the choice to the destruction. Move-only,
// any thread.
class ReplicaLease {
 public:
  // Called once, when the lease ends, with what report() was told last.
  using Release = std::function<void(UseResult result, Duration to_first_token)>;

  ReplicaLease(std::shared_ptr<const ReplicaInfo> replica, Release release)
      : replica_(std::move(replica)), release_(std::move(release)) {}
  ReplicaLease(ReplicaLease&& other) noexcept
      : replica_(std::move(other.replica_)),
        release_(std::exchange(other.release_, nullptr)),
        held_(std::move(other.held_)),
        result_(other.result_),
        to_first_token_(other.to_first_token_) {}
  ReplicaLease& operator=(ReplicaLease&&) = delete;
  ~ReplicaLease() {
    if (release_) release_(result_, to_first_token_);
  }

  const ReplicaInfo& replica() const { return *replica_; }
  const std::shared_ptr<const ReplicaInfo>& replica_ptr() const { return replica_; }
  void report(UseResult result) { result_ = result; }
  void report_first_token(Duration after) { to_first_token_ = after; }
  // Is let go when the lease ends.
  void hold(std::shared_ptr<const void> what) { held_ = std::move(what); }

 private:
  std::shared_ptr<const ReplicaInfo> replica_;
  Release release_;
  std::shared_ptr<const void> held_;
  UseResult result_ = UseResult::kAnswered;
  Duration to_first_token_{};
};

// What a choice depends on. Views live as long as the call.
struct ChooseRequest {
  std::string_view route;                 // the route's name in the plan
  std::string_view sticky_key;            // empty: none
  std::span<const PrefixHash> prefix;     // of the prompt's full blocks, when known
  std::span<const std::string> excluded;  // replicas by name that were tried already
  std::string_view fingerprint;           // not empty: only replicas with this numerics id
  std::string_view model = {};            // the name the client used
  // Not empty: this upstream of the route, instead of the one that the route's split names. A
  // request that is tried again stays where it was.
  std::string_view upstream = {};
  std::span<const std::pair<std::string, std::string>> headers = {};  // that a split may look at
  // The prompt's blocks as the runtimes of that upstream name them (block_chain()); empty: not
  // known.
  std::span<const uint64_t> blocks = {};
};

// Thread-safe; a choice takes microseconds and never blocks.
class ReplicaChooser {
 public:
  virtual ~ReplicaChooser() = default;
  // kUnavailable when no replica may be used now, kNotFound when the route does not exist.
  virtual Result<ReplicaLease> choose(const ChooseRequest& request) = 0;
  // The replica answers for `model` (as it was asked) with this numerics id. Choices by
  // fingerprint know only what was learned.
  virtual void learn_fingerprint(const ReplicaInfo& replica, const std::string& model,
                                 const std::string& fingerprint) {
    static_cast<void>(replica);
    static_cast<void>(model);
    static_cast<void>(fingerprint);
  }
  // What was learned last; empty: nothing.
  virtual std::string known_fingerprint(const ReplicaInfo& replica, const std::string& model) {
    static_cast<void>(model);
    return replica.fingerprint;
  }
};

}  // namespace sluice::gateway
