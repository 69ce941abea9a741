#include "cli/replica_metrics.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/files.h"
#include "control/answer.h"
#include "control/json_util.h"
#include "platform/replica_template.h"
#include "telemetry/metrics_page.h"

namespace sluice::cli {
namespace {

constexpr size_t kMaxKeyBytes = 4096;
constexpr Duration kPatience = std::chrono::seconds(2);

struct Page {
  int status = 0;
  std::string body;
};

net::HttpResponse answer_of(const Outcome& outcome, Page& page) {
  if (!outcome) {
    return control::error_answer(control::ApiError(
        503, "ServiceUnavailable", "the replica does not answer: " + outcome.error().message()));
  }
  if (page.status != 200) {
    return control::error_answer(
        control::ApiError(503, "ServiceUnavailable",
                          fmt::format("the replica has no metrics: HTTP {}", page.status)));
  }
  return {.status = 200,
          .headers = {{"Content-Type", "text/plain; version=0.0.4"}},
          .body = std::move(page.body)};
}

}  // namespace

Result<std::unique_ptr<ReplicaMetrics>> ReplicaMetrics::open(const std::filesystem::path& data) {
  SLUICE_ASSIGN_OR_RETURN(std::string master, read_file(data / "platform-key", kMaxKeyBytes));
  while (master.ends_with('\n')) master.pop_back();
  return std::unique_ptr<ReplicaMetrics>(new ReplicaMetrics(std::move(master)));
}

void ReplicaMetrics::answer(const control::ObjectPtr& replica,
                            const std::shared_ptr<net::Responder>& responder) {
  const std::string_view url = control::text_at(replica->body, "status.url");
  if (url.empty()) {
    return responder->send(control::error_answer(
        control::ApiError(503, "ServiceUnavailable", "the replica does not serve yet")));
  }
  const std::string key =
      platform::deployment_secrets(master_, replica->ns,
                                   control::text_at(replica->body, "spec.revision"))
          .api_key;
  const auto page = std::make_shared<Page>();
  http_.request(
      {.url = fmt::format("{}/metrics", url),
       .headers = {{"Authorization", "Bearer " + key}},
       .timeout = kPatience},
      {.on_head = [page](int status, const net::Headers&) { page->status = status; },
       .on_data =
           [page](std::string_view bytes) {
             if (page->body.size() <= telemetry::MetricsPage::kMaxBytes) page->body += bytes;
           },
       .on_end = [page, responder](
                     const Outcome& outcome) { responder->send(answer_of(outcome, *page)); }});
}

}  // namespace sluice::cli
