#include "cli/spot_drain.h"

#include <fmt/format.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "cli/up.h"
#include "control/answer.h"
#include "control/control_plane.h"
#include "control/json_util.h"
#include "control/scalars.h"
#include "platform/views.h"

namespace sluice::cli {
namespace {

constexpr std::string_view kNoticePath = "/admin/v1/notice";
constexpr JsonLimits kLimits{.max_bytes = 64u << 10, .max_depth = 4, .max_nodes = 1000};
constexpr double kUsualSeconds = 30;
constexpr double kMostSeconds = 86'400;
constexpr double kReserveSeconds = 2;       // left for the machine's own end
constexpr double kLongestLookSeconds = 10;  // that others may take to see that we are not ready

// The supervisor where there is one: it ends the parts in their order.
pid_t who_ends() { return std::getenv(kUnderUp) != nullptr ? ::getppid() : ::getpid(); }

control::ApiError bad(std::string message) { return {400, "BadRequest", std::move(message)}; }

}  // namespace

Result<std::unique_ptr<SpotDrain>> SpotDrain::start(const PlatformFlags& flags,
                                                    control::ControlPlane& plane) {
  SpotOptions options{.cloud = {}, .url = flags.spot_url, .file = flags.spot_file};
  if (flags.spot != "none") {
    SLUICE_ASSIGN_OR_RETURN(options.cloud, parse_cloud(flags.spot));
  }
  std::unique_ptr<SpotDrain> self(new SpotDrain(plane));
  self->watcher_ = std::make_unique<SpotWatcher>(
      std::move(options), [drain = self.get()](const SpotNotice& n) { drain->on_notice(n); });
  plane.set_admin_call(
      [drain = self.get()](const net::HttpRequest& request, const control::Identity& who) {
        return drain->answer(request, who);
      });
  return self;
}

SpotDrain::~SpotDrain() { plane_.set_admin_call({}); }

net::HttpResponse SpotDrain::answer(const net::HttpRequest& request, const control::Identity& who) {
  if (request.path != kNoticePath || request.method != "POST") {
    return control::error_answer(
        control::ApiError(404, "NotFound", fmt::format("only POST {} is there", kNoticePath)));
  }
  const auto body = request.body.empty() ? Result<json::value>(json::object())
                                         : parse_json(request.body, kLimits);
  const json::object* fields = body ? body->if_object() : nullptr;
  if (fields == nullptr) {
    return control::error_answer(
        bad("expected {\"seconds\": 30} or {\"replicas\": [\"ns/name\"]}"));
  }
  if (const json::array* replicas = control::array_at(*fields, "replicas")) {
    return evict(*replicas, who);
  }
  const double seconds = control::number_at(*fields, "seconds").value_or(kUsualSeconds);
  if (!(seconds >= 0 && seconds <= kMostSeconds)) {
    return control::error_answer(bad(fmt::format("seconds: expected 0 to {}", kMostSeconds)));
  }
  watcher_->give({.reason = fmt::format("{} said so", control::printable(who.name, 64)),
                  .ends_unix = system_clock().unix_seconds() + seconds});
  return control::json_answer(202, json::serialize(json::object{{"seconds", seconds}}));
}

// A replica that is deleted is replaced before it drains.
net::HttpResponse SpotDrain::evict(const json::array& replicas, const control::Identity& who) {
  json::array done;
  for (const json::value& each : replicas) {
    const std::string_view word =
        each.is_string() ? std::string_view(each.get_string()) : std::string_view();
    const size_t slash = word.find('/');
    if (slash == std::string_view::npos) {
      return control::error_answer(bad("replicas: expected names as NAMESPACE/NAME"));
    }
    const control::ObjectKey key{&platform::replica_type(), std::string(word.substr(0, slash)),
                                 std::string(word.substr(slash + 1))};
    const auto removed = plane_.objects().remove(key, {});
    if (!removed) return control::error_answer(removed.error());
    log_info("{}: {} is replaced and drained", who.name, word);
    done.push_back(each);
  }
  return control::json_answer(202, json::serialize(json::object{{"replicas", std::move(done)}}));
}

void SpotDrain::on_notice(const SpotNotice& notice) {
  log_warn("this machine is taken back in {:.0f} s: {}",
           notice.ends_unix - system_clock().unix_seconds(), notice.reason);
  leaving_ = std::jthread([this, notice](const std::stop_token& stop) { leave(stop, notice); });
}

void SpotDrain::leave(const std::stop_token& stop, const SpotNotice& notice) {
  const double left = notice.ends_unix - system_clock().unix_seconds() - kReserveSeconds;
  const auto wait = [&](double seconds) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop,
                   std::chrono::duration<double>(std::clamp(seconds, 0.0, kMostSeconds)),
                   [] { return false; });
    return !stop.stop_requested();
  };
  const pid_t supervisor = who_ends();
  const double looking = std::clamp(left / 3, 0.0, kLongestLookSeconds);
  if (supervisor != ::getpid()) ::kill(supervisor, SIGUSR1);
  if (!wait(looking)) return;
  ::kill(supervisor, SIGTERM);
  // A second signal ends at once: what is still under way would be cut with the machine anyway.
  if (wait(left - looking)) ::kill(supervisor, SIGTERM);
}

}  // namespace sluice::cli
