// A world of objects and ready replicas, and the plan that is written of it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plan/parse.h"
#include "platform/parts_test_support.h"
#include "platform/plan_writer.h"

namespace sluice::platform {

inline constexpr std::string_view kSluice =
    R"({"component":"predictor","modelNames":["story"],"container":{"command":["sluice",
      "serve"]}})";
inline constexpr std::string_view kForeign =
    R"({"component":"predictor","container":{"command":["vllm"],
      "readinessProbe":{"httpGet":{"path":"/up","port":1}}}})";

class PlanWriterTest : public testing::Test {
 protected:
  PlanWriterTest() {
    settings_.secrets_folder = "/data/secrets";
    settings_.master = std::string(32, 'm');
    settings_.control_url = "http://127.0.0.1:9999";
    settings_.control_token_file = "/data/internal-token";
    input_.find_secret = [this](std::string_view ns, std::string_view name) -> control::ObjectPtr {
      const auto found = secrets_.find(std::string(ns) + "/" + std::string(name));
      return found == secrets_.end() ? nullptr : found->second;
    };
  }

  PlanRevision& revision(std::string_view ns, std::string_view name,
                         std::string_view spec = kSluice, int replicas = 1) {
    json::object body = parsed(spec);
    body["service"] = name.substr(0, name.find('-'));
    PlanRevision made{.object = sluice_object("Revision", ns, name, std::move(body)),
                      .replicas = {}};
    for (int i = 0; i < replicas; ++i) {
      made.replicas.push_back({std::string(name) + "-" + std::to_string(i),
                               "http://127.0.0.1:" + std::to_string(next_port_++)});
    }
    input_.revisions.push_back(std::move(made));
    return input_.revisions.back();
  }

  PlanService& service(std::string_view ns, std::string_view name,
                       std::vector<RevisionWeight> weights,
                       std::string_view spec = R"({"predictor":{}})") {
    input_.services.push_back(
        {.object = service_object(ns, name, spec), .predictor = std::move(weights)});
    return input_.services.back();
  }

  void secret(std::string_view ns, std::string_view name, std::string_view body) {
    secrets_[std::string(ns) + "/" + std::string(name)] = core_object("Secret", ns, name, body);
  }

  // The plan, which must be one that the gateway takes.
  std::shared_ptr<const plan::Plan> write() {
    text_ = write_plan(input_, settings_);
    problems_.clear();
    for (const PlanProblem& each : text_.problems) {
      problems_ +=
          std::string(each.object.type->kind) + " " + each.object.name + ": " + each.message + "\n";
    }
    const auto value = parse_json(text_.text);
    EXPECT_TRUE(value.has_value()) << text_.text;
    if (!value) return nullptr;
    const plan::SecretSource secrets{
        .environment = [](const std::string&) -> Result<std::string> { return invalid("none"); },
        .file = [this](const std::string& path) -> Result<std::string> {
          if (path == "/data/internal-token") return "internal";
          for (const SecretFile& each : text_.secrets) {
            if (path == "/data/secrets/" + each.name) return each.text;
          }
          return invalid("there is no " + path);
        }};
    auto plan = plan::plan_from_json(*value, secrets);
    EXPECT_TRUE(plan.has_value()) << (plan ? "" : plan.error().message()) << "\n" << text_.text;
    return plan ? *plan : nullptr;
  }

  static const plan::Route* route(const plan::Plan& plan, std::string_view name) {
    const auto found = std::ranges::find(plan.routes, name, &plan::Route::name);
    return found == plan.routes.end() ? nullptr : &*found;
  }
  static std::string targets(const plan::Plan& plan, std::string_view name) {
    const plan::Route* found = route(plan, name);
    if (found == nullptr) return "no route";
    std::string text;
    for (const plan::Target& each : found->targets) {
      text += (text.empty() ? "" : " ") + each.upstream + ":" +
              std::to_string(static_cast<int>(each.weight));
      for (const plan::HeaderMatch& when : each.when) text += "[" + when.value.value_or("*") + "]";
    }
    return text;
  }

  PlanInput input_;
  PlanSettings settings_;
  PlanText text_;
  std::string problems_;
  std::map<std::string, control::ObjectPtr> secrets_;
  int next_port_ = 20'000;
};

inline control::ObjectPtr provider(std::string_view ns, std::string_view name,
                                   std::string_view spec) {
  return sluice_object("Provider", ns, name, parsed(spec));
}

inline control::ObjectPtr graph(std::string_view name, std::string_view spec) {
  return object_of("serving.kserve.io/v1alpha1", "InferenceGraph", "default", name,
                   {{"spec", parsed(spec)}});
}

using Names = std::vector<std::string>;

}  // namespace sluice::platform
