#include "cli/service_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "control/json_util.h"
#include "platform/views.h"

namespace sluice::cli {
namespace {

using control::integer_at;
using control::text_at;

struct Service {
  bool ready = false;
  int64_t desired = 0;
  int64_t running = 0;
  int64_t serving = 0;
  int64_t restarts = 0;
  std::optional<int64_t> candidate_percent;
};

// By namespace and name: those of DNS, which need no escapes.
using Services = std::map<std::pair<std::string, std::string>, Service>;

Services gather(const control::ObjectStore& store) {
  Services out;
  for (const auto& object : store.list(platform::service_type(), {}).objects) {
    Service& service = out[{object->ns, object->name}];
    const auto ready = platform::find_condition(*object, "Ready");
    service.ready = ready && ready->status == "True";
    if (!text_at(object->body, "status.sluice.rollout.candidate").empty()) {
      service.candidate_percent =
          integer_at(object->body, "status.sluice.rollout.weight").value_or(0);
    }
  }
  for (const auto& object : store.list(platform::revision_type(), {}).objects) {
    const auto found = out.find({object->ns, std::string(text_at(object->body, "spec.service"))});
    if (found == out.end()) continue;
    found->second.desired += integer_at(object->body, "status.desired").value_or(0);
  }
  for (const auto& object : store.list(platform::replica_type(), {}).objects) {
    const auto found = out.find({object->ns, std::string(text_at(object->body, "spec.service"))});
    if (found == out.end()) continue;
    ++found->second.running;
    found->second.serving += text_at(object->body, "status.phase") == "Ready" ? 1 : 0;
    found->second.restarts += integer_at(object->body, "status.restarts").value_or(0);
  }
  return out;
}

}  // namespace

std::string service_metrics(const control::ObjectStore& store) {
  const Services services = gather(store);
  std::string out;
  const auto family = [&](std::string_view name, std::string_view help, const auto& samples) {
    if (services.empty()) return;
    out += fmt::format("# HELP {} {}\n# TYPE {} gauge\n", name, help, name);
    for (const auto& each : services) {
      const std::string labels =
          fmt::format("namespace=\"{}\",service=\"{}\"", each.first.first, each.first.second);
      const auto sample = [&](std::string_view more, int64_t value) {
        out += fmt::format("{}{{{}{}}} {}\n", name, labels, more, value);
      };
      samples(each.second, sample);
    }
  };
  family("sluice_service_ready", "Whether the service's condition Ready is True.",
         [](const Service& each, const auto& sample) { sample("", each.ready ? 1 : 0); });
  family("sluice_service_replicas", "Replicas that are wanted, that there are, that serve.",
         [](const Service& each, const auto& sample) {
           sample(",state=\"desired\"", each.desired);
           sample(",state=\"running\"", each.running);
           sample(",state=\"ready\"", each.serving);
         });
  family("sluice_service_restarts", "Restarts of the replicas that there are.",
         [](const Service& each, const auto& sample) { sample("", each.restarts); });
  if (std::ranges::any_of(
          services, [](const auto& each) { return each.second.candidate_percent.has_value(); })) {
    family("sluice_service_candidate_percent", "Traffic of a revision that is taking over.",
           [](const Service& each, const auto& sample) {
             if (each.candidate_percent) sample("", *each.candidate_percent);
           });
  }
  return out;
}

}  // namespace sluice::cli
