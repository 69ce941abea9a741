#include "control/api_server.h"

#include <fmt/format.h>

#include <utility>

#include "control/answer.h"
#include "control/scrape_targets.h"

namespace sluice::control {
namespace {

constexpr int kWorkers = 2;
constexpr size_t kMaxWaiting = 256;
constexpr std::string_view kAdminPath = "/admin/v1/";
constexpr std::string_view kTargetsPath = "/metrics/targets";

std::string_view reason_word(int status) {
  switch (status) {
    case 400:
      return "BadRequest";
    case 404:
      return "NotFound";
    case 408:
      return "Timeout";
    case 413:
      return "RequestEntityTooLarge";
    case 415:
      return "UnsupportedMediaType";
    case 429:
      return "TooManyRequests";
    case 503:
      return "ServiceUnavailable";
    default:
      return status < 500 ? "BadRequest" : "InternalError";
  }
}

net::HttpResponse plain(int status, std::string text) {
  return {.status = status, .headers = {{"Content-Type", "text/plain"}}, .body = std::move(text)};
}

}  // namespace

ApiServer::ApiServer(Objects& objects, Access access, Audit& audit, telemetry::Metrics& metrics)
    : objects_(objects),
      access_(std::move(access)),
      audit_(audit),
      metrics_(metrics),
      rest_(objects, audit, logs_, [this](std::string_view verb, int code) { count(verb, code); }),
      workers_(kWorkers, kMaxWaiting) {
  describe_metrics();
}

net::HttpResponse ApiServer::error_page(int status, std::string_view message, std::string_view) {
  return error_answer(ApiError(status, reason_word(status), std::string(message)));
}

// Says no more than that the process lives: anybody may ask.
std::optional<net::HttpResponse> ApiServer::health_page(const net::HttpRequest& request) const {
  if (request.method != "GET" && request.method != "HEAD") return std::nullopt;
  if (request.path == "/health") return plain(200, "ok");
  if (request.path == "/ready") {
    return draining_ ? plain(503, "draining") : plain(200, "ok");
  }
  return std::nullopt;
}

std::optional<net::HttpResponse> ApiServer::refuse(const net::HttpRequest& head) {
  if (auto page = health_page(head)) return page;
  Identity nobody{.name = "system:anonymous", .role = Role::kView};
  if (ApiOutcome source = access_.check_source(head.header("host"), head.header("origin"));
      !source) {
    rest_.note_refusal(head, nobody, source.error().code, source.error().message);
    return error_answer(source.error());
  }
  auto who = access_.identify(head.header("authorization"));
  if (!who) {
    rest_.note_refusal(head, nobody, who.error().code, who.error().reason);
    count("refused", who.error().code);
    return error_answer(who.error());
  }
  head.context = std::make_shared<const Identity>(*std::move(who));
  return std::nullopt;
}

void ApiServer::handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) {
  const auto who = std::static_pointer_cast<const Identity>(request.context);
  if (!who) return responder->send(error_page(500, "a request without an identity", {}));
  if (request.path == "/metrics") {
    std::string page = metrics_.render(true, false);
    {
      const std::lock_guard lock(more_metrics_mutex_);
      if (more_metrics_) page += more_metrics_();
    }
    return responder->send({.status = 200,
                            .headers = {{"Content-Type", "text/plain; version=0.0.4"}},
                            .body = std::move(page)});
  }
  if (request.path == kTargetsPath) {
    return responder->send(
        json_answer(200, scrape_targets(objects_.store(), request.header("host"))));
  }
  const auto shared = std::make_shared<net::HttpRequest>(std::move(request));
  const Outcome taken = workers_.submit([this, shared, who, responder] {
    if (shared->path.starts_with(kAdminPath)) return responder->send(answer_admin(*shared, *who));
    rest_.answer(*shared, *who, responder);
  });
  if (taken) return;
  ApiError busy(429, "TooManyRequests",
                fmt::format("{} requests wait already: try again", kMaxWaiting));
  busy.retry_after_seconds = 1;
  count("refused", busy.code);
  responder->send(error_answer(busy));
}

void ApiServer::set_more_metrics(std::function<std::string()> page) {
  const std::lock_guard lock(more_metrics_mutex_);
  more_metrics_ = std::move(page);
}

void ApiServer::set_admin_call(AdminCall call) {
  const std::lock_guard lock(admin_mutex_);
  admin_ = std::move(call);
}

net::HttpResponse ApiServer::answer_admin(const net::HttpRequest& request, const Identity& who) {
  net::HttpResponse response;
  if (who.role != Role::kAdmin) {
    response = error_answer(
        ApiError(403, "Forbidden",
                 fmt::format("User \"{}\" cannot call {}: it has the role {}, and needs admin",
                             who.name, request.path, role_name(who.role))));
  } else {
    const std::lock_guard lock(admin_mutex_);
    response = admin_ ? admin_(request, who)
                      : error_page(404, "the server could not find the requested resource", {});
  }
  rest_.note_refusal(request, who, response.status, "admin call");
  count("admin", response.status);
  return response;
}

void ApiServer::count(std::string_view verb, int code) {
  metrics_
      .counter(telemetry::View::kNative, "sluice_control_requests_total",
               "Requests of the control plane's API that were answered.",
               {{"verb", std::string(verb)}, {"code", std::to_string(code)}})
      .Increment();
}

void ApiServer::describe_metrics() {
  auto& watchers =
      metrics_.gauge(telemetry::View::kNative, "sluice_control_watches", "Watches that are open.");
  auto& lost = metrics_.gauge(telemetry::View::kNative, "sluice_control_audit_lines_lost",
                              "Lines of the audit log that could not be written.");
  std::vector<std::pair<const ResourceType*, telemetry::Gauge*>> gauges;
  for (const ResourceType& type : resource_types()) {
    if (type.refused) continue;
    gauges.emplace_back(&type, &metrics_.gauge(telemetry::View::kNative, "sluice_control_objects",
                                               "Objects that are stored, by kind.",
                                               {{"kind", std::string(type.kind)}}));
  }
  metrics_.before_scrape([this, &watchers, &lost, gauges] {
    watchers.Set(static_cast<double>(objects_.store().watchers()));
    lost.Set(static_cast<double>(audit_.lost()));
    for (const auto& [type, gauge] : gauges) {
      gauge->Set(static_cast<double>(objects_.store().list(*type, {}).objects.size()));
    }
  });
}

}  // namespace sluice::control
