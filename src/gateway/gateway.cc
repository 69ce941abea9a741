#include "gateway/gateway.h"

#include <fmt/format.h>

#include <algorithm>
#include <latch>
#include <utility>

#include "base/build_info.h"
#include "base/ids.h"
#include "base/json.h"
#include "endpoint/auth.h"
#include "endpoint/error_shape.h"
#include "endpoint/model_path.h"
#include "endpoint/sinks.h"
#include "gateway/forward.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;

constexpr std::string_view kModels = "/v1/models";
constexpr Duration kLogPatience = std::chrono::milliseconds(1500);

HttpResponse text_page(int status, std::string body,
                       std::string type = "text/plain; charset=utf-8") {
  return {
      .status = status, .headers = {{"Content-Type", std::move(type)}}, .body = std::move(body)};
}

bool is_own_path(std::string_view path) {
  if (!endpoint::model_of_path(path).empty()) return false;
  return path == "/health" || path == "/ready" || path == "/metrics" || path == "/version" ||
         path == "/usage" || path == kModels || path.starts_with("/v1/models/");
}

// The route that it leads to is known; what stands behind it is the request's.
void take_prefix(HttpRequest& request, std::string_view prefix) {
  for (std::string* text : {&request.path, &request.target}) {
    text->erase(0, prefix.size());
    if (!text->starts_with('/')) text->insert(0, "/");
  }
}

json::object model_card(std::string_view id) {
  return {{"id", id}, {"object", "model"}, {"created", 0}, {"owned_by", "sluice"}};
}

// The plain value of a query parameter; empty when absent.
std::string_view query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (part.starts_with(name) && part.substr(name.size()).starts_with('=')) {
      return part.substr(name.size() + 1);
    }
  }
  return {};
}

HttpResponse models_page(const Snapshot& snapshot, const Caller& caller, std::string_view path) {
  const std::vector<std::string> models = snapshot.models_of(caller);
  if (path == kModels) {
    json::array data;
    for (const std::string& model : models) data.push_back(model_card(model));
    return endpoint::json_response(
        to_json(json::object{{"object", "list"}, {"data", std::move(data)}}));
  }
  const std::string_view id = path.substr(kModels.size() + 1);
  if (std::ranges::find(models, id) != models.end()) {
    return endpoint::json_response(to_json(model_card(id)));
  }
  return endpoint::error_response({Code::kNotFound,
                                   "the model does not exist, or your key may not use it", "model",
                                   "model_not_found"});
}

// As logs and traces may tell it. Whoever knows what follows /predictors/ needs no key.
std::string told_path(const std::string& path) {
  constexpr std::string_view kPrefix = "/predictors/";
  if (!path.starts_with(kPrefix)) return path;
  const size_t end = std::min(path.find('/', kPrefix.size()), path.size());
  return std::string(kPrefix) + "-" + path.substr(end);
}

// The field that differs though it is read at the start only; empty: none.
std::string_view changed_at_start_only(const plan::Plan& a, const plan::Plan& b) {
  if (a.listeners != b.listeners) return "listen";
  if (a.server.max_connections != b.server.max_connections) return "server.max_connections";
  if (a.server.max_body_bytes != b.server.max_body_bytes) return "server.max_body";
  if (a.server.tls.has_value() != b.server.tls.has_value()) return "server.tls";
  if (a.server.trusted_proxies != b.server.trusted_proxies) return "server.trusted_proxies";
  if (a.access_log.path != b.access_log.path) return "access_log.path";
  if (a.usage.path != b.usage.path) return "usage.path";
  if (a.limits.redis != b.limits.redis) return "limits.redis";
  return {};
}

}  // namespace

Gateway::Gateway(std::shared_ptr<const plan::Plan> plan,
                 const std::vector<std::shared_ptr<net::EventLoop>>& loops, WorkerPool& workers,
                 telemetry::Metrics& metrics, const Clock& clock)
    : clock_(clock),
      metrics_(metrics),
      workers_(workers),
      gateway_metrics_(metrics),
      relay_host_{.clock = clock,
                  .metrics = gateway_metrics_,
                  .workers = workers,
                  .on_over = [this](RequestRecord& record) { over(record); }},
      step_host_{.clock = clock,
                 .workers = workers,
                 .ask = [this](RelayRequest request) { ask_itself(std::move(request)); },
                 .on_over = [this](RequestRecord& record) { over(record); }},
      cache_(std::make_shared<ResponseCache>(clock)),
      payload_log_(std::make_shared<PayloadLog>(gateway_metrics_, clock)),
      balancer_([this] { return snapshot(); }),
      snapshot_(std::make_shared<const Snapshot>(std::move(plan), nullptr, clock)) {
  cache_->set_max_bytes(snapshot_->plan().cache.max_bytes);
  const net::ClientOptions options = client_options(snapshot_->plan());
  for (const auto& loop : loops) {
    LoopParts& parts = loops_.emplace_back();
    parts.loop = loop;
    parts.client = std::make_unique<net::HttpClient>(options, loop);
    parts.batcher = std::make_unique<PredictBatcher>(
        step_host_, gateway_metrics_, loop,
        [this](RelayRequest request) { enter(std::move(request)); });
  }
  metrics_.before_scrape([this] { set_gauges(); });
  reporter_ = std::make_unique<LoadReporter>([this] { return snapshot(); }, clock_,
                                             [this] { free_retired(); });
  relay_host_.on_held = [this](const std::string& upstream) { reporter_->wake(upstream); };
  relay_host_.tells_load = snapshot_->plan().control.has_value();
}

Gateway::~Gateway() { payload_log_->stop(); }

Outcome Gateway::open() {
  const plan::Plan& plan = snapshot()->plan();
  SLUICE_RETURN_IF_ERROR(check_templates(plan));
  SLUICE_ASSIGN_OR_RETURN(quota_, Quota::open(plan.usage, plan.limits, gateway_metrics_, clock_));
  SLUICE_ASSIGN_OR_RETURN(const UpstreamTls tls, open_upstream_tls(plan));
  for (const auto& [name, context] : tls) {
    snapshot()->upstreams().at(name)->configure(*plan.find_upstream(name), context);
  }
  const std::string& path = plan.access_log.path;
  if (path.empty()) return {};
  SLUICE_ASSIGN_OR_RETURN(access_log_, AccessLog::open(path));
  return {};
}

void Gateway::begin() {
  const auto& first = loops_.front();
  watcher_ = std::make_shared<Watcher>(
      *first.loop, *first.client, workers_, [this] { return snapshot(); }, clock_);
  first.loop->post([watcher = watcher_] { watcher->begin(); });
  reporter_->begin();
}

void Gateway::end() {
  if (!watcher_) return;
  std::latch done(1);
  loops_.front().loop->post([this, &done] {
    watcher_->end();
    done.count_down();
  });
  done.wait();
}

void Gateway::drain() {
  draining_ = true;
  reporter_->leave();
}

void Gateway::end_reports() {
  reporter_->end();
  payload_log_->flush(kLogPatience);
}

std::shared_ptr<const Snapshot> Gateway::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

Outcome Gateway::apply(std::shared_ptr<const plan::Plan> plan) {
  const auto before = snapshot();
  if (const std::string_view fixed = changed_at_start_only(before->plan(), *plan); !fixed.empty()) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{}: cannot change while the gateway runs; start a new one", fixed));
  }
  SLUICE_RETURN_IF_ERROR(check_templates(*plan));
  SLUICE_ASSIGN_OR_RETURN(const UpstreamTls tls, open_upstream_tls(*plan));
  count_decisions(*before);  // under the policies that made them
  auto next = std::make_shared<const Snapshot>(std::move(plan), before.get(), clock_, tls);
  relay_host_.tells_load = next->plan().control.has_value();
  {
    const std::lock_guard lock(mutex_);
    snapshot_ = std::move(next);
    retired_.push_back(before);
  }
  // Who waits for one that is gone asks anew.
  const auto now = snapshot();
  for (const auto& [name, upstream] : before->upstreams()) {
    const auto found = now->upstreams().find(name);
    if (found == now->upstreams().end() || found->second != upstream) upstream->retire();
  }
  cache_->set_max_bytes(snapshot()->plan().cache.max_bytes);
  if (access_log_) access_log_->reopen();
  gateway_metrics_.reload(true);
  reporter_->plan_taken();
  return {};
}

void Gateway::free_retired() {
  std::vector<std::shared_ptr<const Snapshot>> freed;  // behind the lock
  const std::lock_guard lock(mutex_);
  for (auto& each : retired_) {
    if (each.use_count() == 1) freed.push_back(std::move(each));
  }
  std::erase(retired_, nullptr);
}

Result<Caller> Gateway::identify(const Snapshot& snapshot, const HttpRequest& request) const {
  SLUICE_ASSIGN_OR_RETURN(const auto key, endpoint::credential_of(request));
  if (!key) return Caller{};
  const auto caller = snapshot.find_caller(*key, clock_.unix_seconds());
  if (caller) return *caller;
  return fail(Code::kUnauthenticated, "the API key is not valid", {}, "invalid_api_key");
}

std::optional<HttpResponse> Gateway::refuse(const HttpRequest& head) {
  if (head.path == "/health" || head.path == "/ready") return std::nullopt;
  const auto current = snapshot();
  if (current->match_prefix(head) != nullptr) {
    head.context = std::make_shared<const Known>(Known{current, {}});
    return std::nullopt;
  }
  const auto caller = identify(*current, head);
  Status status{Code::kUnauthenticated,
                "an API key is needed: send it as \"Authorization: Bearer KEY\"",
                {},
                "missing_api_key"};
  if (!caller) {
    status = caller.error();
  } else if (caller->tenant != nullptr || current->has_public_route() ||
             current->plan().tenants.empty() ||
             (head.path == "/metrics" && current->plan().server.metrics_public)) {
    head.context = std::make_shared<const Known>(Known{current, *caller});
    return std::nullopt;
  }
  RequestRecord record = new_record(head);
  HttpResponse response = endpoint::shaped_error(head.path, status);
  response.headers.emplace_back("X-Request-Id", record.id);
  record.status = response.status;
  record.ending = Ending::kRefused;
  record.error = status.reason();
  over(record);
  return response;
}

bool Gateway::is_ready(const Snapshot& snapshot) const {
  // A control plane may have nothing to serve yet.
  const bool idle = snapshot.routes().empty() && snapshot.plan().control;
  return !draining_ && (idle || std::ranges::any_of(snapshot.routes(), [](const auto& route) {
                          return route->usable();
                        }));
}

std::optional<HttpResponse> Gateway::own_page(const Snapshot& snapshot, const Caller& caller,
                                              const HttpRequest& request) {
  const std::string_view path = request.path;
  if (!is_own_path(path)) return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") {
    HttpResponse response = text_page(405, "only GET\n");
    response.headers.emplace_back("Allow", "GET, HEAD");
    return response;
  }
  if (path == "/health") return text_page(200, "ok\n");
  if (path == "/ready") {
    return is_ready(snapshot) ? text_page(200, "ready\n") : text_page(503, "not ready\n");
  }
  const bool keyless = caller.tenant == nullptr;
  const bool guarded = !snapshot.plan().tenants.empty();
  if (path == "/metrics") {
    const bool may =
        snapshot.plan().server.metrics_public || !guarded || (!keyless && caller.key->admin);
    if (may)
      return text_page(200, metrics_.render(true, false),
                       "text/plain; version=0.0.4; charset=utf-8");
    return endpoint::error_response(
        {Code::kPermissionDenied, "/metrics needs a key with admin: true"});
  }
  if (path == "/version" && (!keyless || !guarded)) {
    return endpoint::json_response(
        to_json(json::object{{"version", kVersion}, {"build", build_description()}}));
  }
  if (path != "/version" && (!keyless || snapshot.has_public_route() || !guarded)) {
    return models_page(snapshot, caller, path);
  }
  return endpoint::error_response(
      {Code::kUnauthenticated, "an API key is needed", {}, "missing_api_key"});
}

// On a worker: it reads the disk.
void Gateway::send_usage(RelayRequest request) {
  const Caller& caller = request.caller;
  if (caller.key == nullptr || !caller.key->admin) {
    return refused(request, {Code::kPermissionDenied, "/usage needs a key with admin: true"});
  }
  const Outcome queued = workers_.submit(
      [this, query = request.http.query, responder = request.responder, id = request.record.id] {
        const auto report = quota_->report(query_value(query, "from"), query_value(query, "to"));
        HttpResponse response =
            report ? endpoint::json_response(*report) : endpoint::error_response(report.error());
        response.headers.emplace_back("X-Request-Id", id);
        responder->send(std::move(response));
      });
  if (!queued) refused(request, queued.error());
}

RequestRecord Gateway::new_record(const HttpRequest& request) const {
  RequestRecord record;
  record.id = new_id("req-");
  record.method = request.method;
  record.path = told_path(request.path);
  record.peer = request.peer;
  record.began = clock_.now();
  record.unix_began = clock_.unix_seconds();
  record.bytes_in = request.body.size();
  return record;
}

void Gateway::handle(HttpRequest request, std::shared_ptr<net::Responder> responder) {
  RelayRequest relay;
  const auto known = std::static_pointer_cast<const Known>(std::exchange(request.context, {}));
  relay.snapshot = known ? known->snapshot : snapshot();
  relay.route = relay.snapshot->match_prefix(request);
  if (relay.route != nullptr) take_prefix(request, relay.route->settings().match.prefix);
  relay.record = new_record(request);
  relay.http = std::move(request);
  relay.responder = std::move(responder);
  if (known) {
    relay.caller = known->caller;
  } else if (relay.route == nullptr && relay.http.path != "/health" &&
             relay.http.path != "/ready") {
    const auto caller = identify(*relay.snapshot, relay.http);
    if (!caller) return refused(relay, caller.error());
    relay.caller = *caller;
  }
  relay.record.tenant = relay.caller.tenant_name();
  relay.record.key = relay.caller.key_name();
  if (relay.route != nullptr) return route(std::move(relay));
  if (relay.http.path == "/usage" && relay.http.method == "GET")
    return send_usage(std::move(relay));
  if (auto page = own_page(*relay.snapshot, relay.caller, relay.http)) {
    relay.record.status = page->status;
    relay.record.bytes_out = page->body.size();
    page->headers.emplace_back("X-Request-Id", relay.record.id);
    relay.responder->send(*std::move(page));
    // Probes and scrapes would only bury the requests that matter.
    if (is_own_path(relay.http.path) && relay.record.status < 400) return;
    return over(relay.record);
  }
  route(std::move(relay));
}

void Gateway::over(RequestRecord& record) {
  const Duration took = clock_.now() - record.began;
  gateway_metrics_.finished(record, took);
  if (record.span.sampled) relay_host_.tracer->end(request_span(*relay_host_.tracer, record, took));
  if (access_log_) access_log_->write(access_line(record, took));
}

}  // namespace sluice::gateway
