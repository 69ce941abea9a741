#include "cli/doctor/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>

#include "base/json.h"
#include "cli/client/kube_config.h"
#include "cli/client/yaml_text.h"
#include "cli/doctor/machine_checks.h"
#include "cli/doctor/setup_checks.h"
#include "registry/model_cache.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kColumn = 20;

void add(Findings& all, Findings more) { std::ranges::move(more, std::back_inserter(all)); }

Findings machine(const fs::path& root) {
  return {check_cores(root),   check_instructions(),       check_frequency(root),
          check_memory(root),  check_huge_pages(root),     check_descriptors(),
          check_backlog(root), check_control_groups(root), check_clock()};
}

Findings look(const DoctorOptions& options) {
  Findings out = machine("/");
  const fs::path data = options.data.empty() ? default_data_folder() : options.data;
  out.push_back(check_disk("data folder", data));
  if (const auto cache = registry::ModelCache::of_environment()) {
    out.push_back(check_disk("model cache", cache->root()));
  }
  const Finding controller = check_controller(data);
  const bool runs = controller.found.starts_with("running");
  out.push_back(controller);
  out.push_back(check_kubeconfig(data / "kubeconfig"));
  // A platform that runs has its ports.
  if (!runs) {
    out.push_back(check_port(options.host, static_cast<uint16_t>(options.port), "data plane"));
    out.push_back(
        check_port(options.host, static_cast<uint16_t>(options.control_port), "control plane"));
    if (options.grpc_port > 0) {
      out.push_back(check_port(options.host, static_cast<uint16_t>(options.grpc_port), "gRPC"));
    }
  }
  const bool asked = !options.config.empty();
  add(out, check_plan(asked ? fs::path(options.config) : data / "gateway.json", asked));
  add(out, check_manifests(options.files));
  for (const std::string& model : options.models) out.push_back(check_model(model));
  return out;
}

}  // namespace

std::string findings_text(const Findings& findings) {
  std::string out;
  for (const Finding& each : findings) {
    out += fmt::format("{:<5} {:<{}} {}\n", health_word(each.health), each.subject, kColumn,
                       each.found);
    if (!each.advice.empty()) out += fmt::format("{:<{}} → {}\n", "", kColumn + 6, each.advice);
  }
  const auto bad = std::ranges::count(findings, Health::kBad, &Finding::health);
  const auto notes = std::ranges::count(findings, Health::kNote, &Finding::health);
  out += bad > 0     ? fmt::format("\n{} must be mended, {} could be better\n", bad, notes)
         : notes > 0 ? fmt::format("\nall works; {} could be better\n", notes)
                     : "\nall is well\n";
  return out;
}

int run_doctor(const DoctorOptions& options) {
  const Findings findings = look(options);
  const bool bad = std::ranges::count(findings, Health::kBad, &Finding::health) > 0;
  if (options.output == "json") {
    json::array list;
    for (const Finding& each : findings) {
      list.push_back(json::object{{"subject", each.subject},
                                  {"health", health_word(each.health)},
                                  {"found", each.found},
                                  {"advice", each.advice}});
    }
    std::cout << pretty_json(json::object{{"ok", !bad}, {"findings", std::move(list)}});
  } else {
    std::cout << findings_text(findings);
  }
  return bad ? 1 : 0;
}

}  // namespace sluice::cli
