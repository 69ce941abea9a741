// Plan: what the gateway is to do, as one immutable snapshot.
//
// It comes from a file, a directory of files, or a control plane; whoever holds a
// shared_ptr<const Plan> may read it from any thread. Everything in it is within bounds and every
// name in it exists: parse_plan() sees to that. Reference: docs/gateway.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ip_network.h"
#include "base/limits.h"
#include "base/secret.h"
#include "plan/graph_plan.h"
#include "plan/limits.h"

namespace sluice::plan {

// Why an attempt at a server failed, as retries and fallbacks tell it apart.
enum class ErrorClass : uint8_t {
  kConnect,      // no connection
  kTimeout,      // no first byte in time
  kOverloaded,   // 503
  kRateLimited,  // 429
  kServerError,  // any other 5xx, a broken answer, a connection lost before the first byte
  kContext,      // 400 or 413: the prompt does not fit the model
  kAuth,         // 401 or 403: our own credentials
  kNotFound,     // 404: the server does not have the model
};
inline constexpr size_t kErrorClasses = 8;

// A set of ErrorClass.
class ErrorSet {
 public:
  ErrorSet() = default;
  ErrorSet(std::initializer_list<ErrorClass> classes) {
    for (const ErrorClass each : classes) add(each);
  }
  void add(ErrorClass each) { bits_ |= bit(each); }
  bool has(ErrorClass each) const { return (bits_ & bit(each)) != 0; }
  bool operator==(const ErrorSet&) const = default;

 private:
  static uint32_t bit(ErrorClass each) { return 1u << static_cast<uint32_t>(each); }
  uint32_t bits_ = 0;
};

struct Listener {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;
  bool operator==(const Listener&) const = default;
};

// PEM files.
struct CertificateFiles {
  std::string certificate;  // with its chain
  std::string key;
  bool operator==(const CertificateFiles&) const = default;
};

struct ServerTlsPlan {
  std::vector<CertificateFiles> certificates;  // chosen by the server name that a client asks for
  std::string client_ca;                       // empty: no client is asked for a certificate
  bool client_certificate_required = true;
};

struct ServerPlan {
  size_t max_connections = 10'000;
  size_t max_body_bytes = limits::kMaxBodyBytes;
  bool metrics_public = false;
  std::optional<ServerTlsPlan> tls;
  std::vector<IpNetwork> trusted_proxies;  // whose X-Forwarded-For is believed
};

struct AccessLogPlan {
  std::string path;  // empty: none; "-": standard output
};

struct CachePlan {
  size_t max_bytes = 64u << 20;  // of the answers kept, all routes together
};

struct UsagePlan {
  std::string path;  // of the ledger's database; empty: in memory, forgotten with the process
};

// Of https endpoints, and of Redis.
struct UpstreamTlsPlan {
  std::string ca;             // PEM; empty: the system's authorities
  CertificateFiles identity;  // shown to servers that ask; empty: none
  std::string server_name;    // that their certificates must name; empty: the URL's host
  bool operator==(const UpstreamTlsPlan&) const = default;
};

// Where the limits of tenants and keys are counted that several gateways share.
struct RedisPlan {
  // What becomes of requests under limits while it cannot be asked.
  enum class OnLoss {
    kRefuse,  // 503
    kLocal,   // each gateway counts for itself
    kAllow,   // no limits
  };
  std::string host;
  uint16_t port = 6379;
  std::string unix_path;  // of a socket, instead of host and port
  bool secure = false;    // rediss://
  UpstreamTlsPlan tls;    // of a secure one
  std::string username;
  std::string password;  // never logged
  int database = 0;
  std::string prefix = "sluice";  // of all keys
  Duration timeout = std::chrono::milliseconds(250);
  // What a gateway that has died had reserved is spent after so long, and its places are free.
  Duration lease = std::chrono::seconds(10);
  OnLoss on_loss = OnLoss::kRefuse;
  bool operator==(const RedisPlan&) const = default;
};

struct LimitsPlan {
  std::optional<RedisPlan> redis;  // none: each gateway counts for itself
};

// Where load reports go (plan/load_report.h).
struct ControlPlan {
  std::string url;    // http[s]://host:port
  std::string token;  // sent as a bearer; never logged
  // By which the gateway says that this plan is in force; empty: it says nothing.
  std::string plan_id = {};
};

// What becomes of requests while an upstream has nobody to answer them.
struct HoldPlan {
  Duration max_wait = std::chrono::seconds(30);
  int max_held = 100;
  // Clients that wait for an event stream get a comment that often; 0: none.
  Duration comment_every = std::chrono::seconds(2);
  bool operator==(const HoldPlan&) const = default;
};

struct HealthPlan {
  bool active = true;
  std::string path = "/ready";
  Duration interval = std::chrono::seconds(2);
  Duration timeout = std::chrono::seconds(1);
  int unhealthy_after = 2;  // failed checks in a row
  int healthy_after = 1;    // good checks in a row
  bool operator==(const HealthPlan&) const = default;
};

struct BreakerPlan {
  int consecutive_failures = 5;
  double failure_ratio = 0.5;  // of at least min_requests within the window
  int min_requests = 20;
  Duration window = std::chrono::seconds(10);
  Duration open_for = std::chrono::seconds(5);  // doubled each time that a trial fails
  Duration max_open = std::chrono::seconds(60);
  int trial_requests = 1;  // at a time, while half open
  int close_after = 2;     // trials answered in a row
  bool operator==(const BreakerPlan&) const = default;
};

struct OutlierPlan {
  Duration interval = std::chrono::seconds(10);
  int min_requests = 20;  // of a replica within the interval
  double failure_ratio = 0.3;
  double latency_factor = 0;  // times the median of the others; 0: not looked at
  Duration eject_for = std::chrono::seconds(30);
  int max_ejected_percent = 50;
  bool operator==(const OutlierPlan&) const = default;
};

struct Endpoint {
  std::string name;
  std::string url;  // http[s]://host:port
  double weight = 1;
  bool operator==(const Endpoint&) const = default;
};

struct DnsSource {
  std::string name;
  uint16_t port = 80;
  Duration refresh = std::chrono::seconds(10);
  bool operator==(const DnsSource&) const = default;
};

struct FileSource {
  std::string path;
  Duration refresh = std::chrono::seconds(2);
  bool operator==(const FileSource&) const = default;
};

enum class UpstreamKind { kSluice, kForeign };

// What servers of kind foreign speak.
enum class Protocol {
  kOpenai,     // or whatever clients ask: requests are passed on as they are
  kAnthropic,  // chat completions are asked as messages
};

struct Upstream {
  std::string name;
  UpstreamKind kind = UpstreamKind::kForeign;
  std::vector<Endpoint> endpoints;
  std::optional<DnsSource> dns;
  std::optional<FileSource> file;
  std::string api_key;         // sent instead of the caller's; never logged
  std::string internal_token;  // of Sluice replicas; never logged
  std::string host;            // Host field; empty: the endpoint's own
  std::string path_prefix;     // put before every path
  Protocol protocol = Protocol::kOpenai;
  // Sent with every request, instead of the caller's of these names (lower case); never logged.
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<UpstreamTlsPlan> tls;
  int max_outstanding = 0;       // of one replica; 0: unlimited
  std::optional<HoldPlan> hold;  // none: nobody to answer is an error at once
  HealthPlan health;
  BreakerPlan breaker;
  OutlierPlan outlier;
  bool operator==(const Upstream&) const = default;
};

enum class Policy {
  kRoundRobin,
  kWeightedRoundRobin,
  kLeastOutstanding,
  kPowerOfTwo,
  kPrefixAffinity,
};

struct HeaderMatch {
  std::string name;                  // lower case
  std::optional<std::string> value;  // none: any value
  bool operator==(const HeaderMatch&) const = default;
};

struct RouteMatch {
  // Of two segments, taken off a request's path before anything else is looked at: the request is
  // this route's, whoever asks. Empty: the fields below say.
  std::string prefix;
  std::vector<std::string> models;   // a name, or a prefix that ends with '*'; empty: any or none
  std::vector<std::string> hosts;    // lower case, without a port; "*.example.com" for a suffix
  std::vector<std::string> paths;    // whole, or a prefix that ends with '*'; empty: any
  std::vector<HeaderMatch> headers;  // all of them
  bool operator==(const RouteMatch&) const = default;
};

// One branch of a route.
struct Target {
  std::string upstream;
  double weight = 1;
  std::string model;  // what the upstream is asked for; empty: what the client asked for
  // Requests with all of these go here whatever the weights say. A target of weight 0 gets no
  // others: a dark launch.
  std::vector<HeaderMatch> when;
  bool operator==(const Target&) const = default;
};

struct Sticky {
  enum class By { kNone, kUser, kConversation, kHeader };
  By by = By::kNone;
  std::string header;    // lower case
  bool replica = false;  // the same replica too, not only the same branch
  bool operator==(const Sticky&) const = default;
};

struct PrefixPlan {
  int block_tokens = limits::kBlockSize;
  int index_blocks = 1 << 16;
  bool exact = true;  // over Sluice replicas: by what they tell of their caches, not by the text
  int imbalance = 8;  // of outstanding requests, above which the least loaded is taken …
  double imbalance_ratio = 1.5;  // … if the most loaded also has so many times the least's
  bool operator==(const PrefixPlan&) const = default;
};

struct Mirror {
  std::string upstream;
  std::string model;
  double percent = 100;
  int max_in_flight = 64;
  Duration timeout = std::chrono::seconds(60);
  bool operator==(const Mirror&) const = default;
};

struct Retry {
  int attempts = 3;  // behind the first
  ErrorSet on = {ErrorClass::kConnect, ErrorClass::kTimeout, ErrorClass::kOverloaded,
                 ErrorClass::kServerError, ErrorClass::kRateLimited};
  Duration backoff = std::chrono::milliseconds(25);  // doubled each time, ± 20 %
  Duration max_backoff = std::chrono::seconds(1);
  Duration max_retry_after = std::chrono::seconds(5);  // a longer Retry-After is passed on
  double budget_ratio = 0.2;                           // retries for each request
  double budget_per_second = 10;                       // and these at least
  bool operator==(const Retry&) const = default;
};

struct Fallback {
  std::string upstream;
  std::string model;
  ErrorSet on = {ErrorClass::kConnect,     ErrorClass::kTimeout,     ErrorClass::kOverloaded,
                 ErrorClass::kServerError, ErrorClass::kRateLimited, ErrorClass::kAuth,
                 ErrorClass::kNotFound};
  bool operator==(const Fallback&) const = default;
};

struct Hedge {
  bool enabled = false;
  Duration after{};  // without a first byte; 0: the quantile of recent ones
  double quantile = 0.95;
  double budget_ratio = 0.05;  // hedges for each request
  bool operator==(const Hedge&) const = default;
};

struct Timeouts {
  Duration connect = std::chrono::seconds(2);
  Duration first_byte = std::chrono::seconds(120);
  Duration idle = std::chrono::seconds(60);  // between two pieces of an answer
  Duration total = std::chrono::seconds(600);
  bool operator==(const Timeouts&) const = default;
};

// How answers of Sluice replicas are seen through the loss of their replica.
struct Unbroken {
  Duration resume_wait = std::chrono::seconds(10);  // for a replica of equal numerics to go on with
  Duration hang_after = std::chrono::seconds(2);    // of silence, until a replica is given up
  int resumes = 16;                                 // of one answer
  bool other_revision = false;  // without an equal replica: go on with different numbers
  bool operator==(const Unbroken&) const = default;
};

struct Queue {
  int max_concurrent = 0;  // 0: unlimited
  int max_waiting = 256;
  Duration max_wait = std::chrono::seconds(10);
  bool operator==(const Queue&) const = default;
};

// What is made of a route's requests before they go to its targets, and of its answers. Each by a
// template, or by a service; a body that is made is JSON.
struct TransformPlan {
  std::string request_template;
  std::string response_template;
  std::string request_url;
  std::string response_url;
  Duration timeout = std::chrono::seconds(30);  // of one call to a service

  bool changes_answers() const { return !response_template.empty() || !response_url.empty(); }
  bool operator==(const TransformPlan&) const = default;
};

// POST /v1/models/NAME:explain: how much each part of the prompt has to do with the answer.
struct ExplainPlan {
  enum class Segments { kWord, kSentence, kLine };
  Segments segments = Segments::kSentence;
  int max_segments = 64;
  int max_tokens = 64;  // of the answer that is explained, unless the request says
  std::string url;      // a service explains; empty: this gateway does
  std::string route;    // that this gateway asks; empty: the one that explains
  Duration timeout = std::chrono::seconds(120);
  bool operator==(const ExplainPlan&) const = default;
};

// Where copies of a route's requests and answers go, as CloudEvents over HTTP.
struct PayloadLogPlan {
  enum class Mode { kAll, kRequest, kResponse };
  std::string url;
  Mode mode = Mode::kAll;
  std::vector<std::string> headers;                             // of requests, told too; lower case
  std::vector<std::pair<std::string, std::string>> attributes;  // of every event
  size_t max_body = 1u << 20;                                   // of one event; what is more is cut
  Duration timeout = std::chrono::seconds(10);                  // of one event on its way
  bool operator==(const PayloadLogPlan&) const = default;
};

// KServe predictions of a route that are joined into one request.
struct BatchPlan {
  int max_instances = 32;
  Duration max_latency = std::chrono::seconds(5);  // that the first waits for others
  Duration timeout = std::chrono::seconds(60);     // of a joined request
  bool operator==(const BatchPlan&) const = default;
};

struct Route {
  std::string name;
  RouteMatch match;
  std::vector<Target> targets;
  Policy policy = Policy::kLeastOutstanding;
  PrefixPlan prefix;
  Sticky sticky;
  std::optional<Mirror> mirror;
  Retry retry;
  std::vector<Fallback> fallbacks;
  Hedge hedge;
  Timeouts timeouts;
  Unbroken unbroken;
  Queue queue;
  std::optional<TransformPlan> transform;
  std::optional<ExplainPlan> explain;  // none: nothing is explained
  std::optional<PayloadLogPlan> log;
  std::optional<BatchPlan> batch;
  Duration cache_for{};    // an answer is given again for so long; 0: never
  bool is_public = false;  // served without a key
  bool listed = true;      // its models stand in /v1/models
  Price price;
  // What a request of a tenant with limits that names no max_tokens gets.
  int default_max_tokens = 1024;
  bool operator==(const Route&) const = default;
};

struct ApiKey {
  std::string name;
  SecretDigest digest{""};
  std::vector<std::string> models;     // empty: the tenant's
  std::vector<std::string> routes;     // empty: the tenant's
  std::optional<double> expires_unix;  // seconds since the epoch
  bool admin = false;                  // may read /metrics and /usage
  Limits limits;                       // of this key, besides the tenant's
};

struct Tenant {
  std::string name;
  std::vector<ApiKey> keys;
  std::vector<std::string> models;  // empty: all
  std::vector<std::string> routes;  // empty: all
  Limits limits;
  int priority = 0;   // higher goes first
  double weight = 1;  // fair share among tenants of one priority
};

struct Plan {
  std::vector<Listener> listeners;
  ServerPlan server;
  AccessLogPlan access_log;
  UsagePlan usage;
  CachePlan cache;
  LimitsPlan limits;
  std::optional<ControlPlan> control;  // none: nobody is told of the load
  std::vector<Upstream> upstreams;
  std::vector<Route> routes;
  std::vector<Graph> graphs;
  std::vector<Tenant> tenants;

  const Upstream* find_upstream(std::string_view name) const;
};

std::string_view error_class_name(ErrorClass each);
std::string_view policy_name(Policy policy);

}  // namespace sluice::plan
