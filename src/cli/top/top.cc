#include "cli/top/top.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <map>
#include <utility>

#include "cli/client/api_client.h"
#include "cli/client/commands_kit.h"
#include "cli/client/yaml_text.h"
#include "cli/signals.h"
#include "cli/top/view.h"

namespace sluice::cli {
namespace {

// Home, and nothing below: what stood there goes without a flash.
constexpr std::string_view kRedraw = "\x1b[H\x1b[J";
constexpr std::string_view kOtherScreen = "\x1b[?1049h";
constexpr std::string_view kFirstScreen = "\x1b[?1049l";

struct Look {
  MetricsPage page;
  TimePoint at;
};

// Looks at the API and at the replicas' metrics, and remembers the last look of each.
class Watcher {
 public:
  Watcher(ApiClient& api, const TopOptions& options)
      : api_(api), ns_(options.all_namespaces ? std::string() : api.address().ns) {}

  Result<std::vector<ServiceRow>> look() {
    SLUICE_ASSIGN_OR_RETURN(const json::value services,
                            list("serving.kserve.io/v1beta1", "InferenceService"));
    SLUICE_ASSIGN_OR_RETURN(const json::value replicas, list("sluice.dev/v1alpha1", "Replica"));
    auto rows = service_rows(services.as_object(), replicas.as_object());
    scrape(rows);
    return rows;
  }

 private:
  Result<json::value> list(std::string_view version, std::string_view kind) {
    const auto* type = control::find_kind(version, kind);
    if (type == nullptr) return json::value(json::object());
    SLUICE_ASSIGN_OR_RETURN(ApiAnswer answer, api_.get(ApiClient::path_of(*type, ns_, {})));
    if (!answer.body.is_object()) return fail(Code::kUnavailable, "the list is no object");
    return std::move(answer.body);
  }

  void scrape(std::vector<ServiceRow>& rows) {
    std::map<std::string, Look> looks;
    for (ServiceRow& row : rows) {
      for (ReplicaRow& replica : row.replicas) {
        if (!replica.url.empty()) scrape(row.ns, replica, looks);
      }
    }
    looks_ = std::move(looks);
  }

  // By way of the controller, which knows the replica's key.
  void scrape(const std::string& ns, ReplicaRow& replica, std::map<std::string, Look>& looks) {
    const auto* type = control::find_kind("sluice.dev/v1alpha1", "Replica");
    const auto text = api_.text(ApiClient::path_of(*type, ns, replica.name, "metrics"));
    if (!text) return;
    auto page = MetricsPage::parse(*text);
    if (!page) return;
    const TimePoint now = system_clock().now();
    const auto before = looks_.find(replica.name);
    const bool known = before != looks_.end();
    replica.figures = figures_between(known ? &before->second.page : nullptr, *page,
                                      known ? to_seconds(now - before->second.at) : 0);
    looks.emplace(replica.name, Look{*std::move(page), now});
  }

  ApiClient& api_;
  const std::string ns_;
  std::map<std::string, Look> looks_;  // by replica
};

std::string title_of(const ApiClient& api) {
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return fmt::format("sluice top    {}    {:%H:%M:%S}", api.address().server, fmt::localtime(now));
}

std::chrono::milliseconds interval(const TopOptions& options) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::duration<double>(options.interval_seconds));
}

Outcome once(ApiClient& api, const TopOptions& options, const Signals& signals) {
  Watcher watcher(api, options);
  // Rates need two looks.
  SLUICE_RETURN_IF_ERROR(watcher.look());
  if (signals.wait_for(interval(options)) != 0) return {};
  SLUICE_ASSIGN_OR_RETURN(const auto rows, watcher.look());
  std::cout << (options.output == "json" ? pretty_json(top_json(rows))
                                         : top_text(rows, title_of(api)));
  return {};
}

Outcome live(ApiClient& api, const TopOptions& options, const Signals& signals) {
  Watcher watcher(api, options);
  std::cout << kOtherScreen;
  Outcome done;
  while (done) {
    const auto rows = watcher.look();
    if (rows) {
      std::cout << kRedraw << top_text(*rows, title_of(api)) << std::flush;
    } else if (rows.error().code() == Code::kUnavailable) {
      // A controller that is started anew comes back.
      std::cout << kRedraw << title_of(api) << "\n\n" << error_text(rows.error()) << std::flush;
    } else {
      done = std::unexpected(rows.error());
    }
    if (signals.wait_for(interval(options)) != 0) break;
  }
  std::cout << kFirstScreen << std::flush;
  return done;
}

}  // namespace

int run_top(const TopOptions& options) {
  const Signals signals;
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  return with_api(options.api, [&](ApiClient& api) {
    return options.once || !terminal || options.output == "json" ? once(api, options, signals)
                                                                 : live(api, options, signals);
  });
}

}  // namespace sluice::cli
