// Names that several parts must agree on: of revisions, of what the gateway is given, and of the
// annotations that people steer with.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::platform {

enum class Component { kPredictor, kTransformer, kExplainer };
std::string_view component_name(Component component);  // predictor, transformer, explainer

// The longest name of a revision, so that "<namespace>/<revision>" is a name for the gateway.
inline constexpr size_t kMaxRevisionName = 63;

// "<service>-<component>-<00001>"; of a canary "<service>-<branch>-<component>-<00001>". One that
// would be too long is cut, and what was cut away stands in it as a digest.
std::string revision_name(std::string_view service, Component component, std::string_view branch,
                          int64_t generation);

// How the gateway's plan and its load reports call a revision's replicas: "<namespace>/<revision>".
std::string upstream_name(std::string_view ns, std::string_view revision);
// … and a service's, graph's or provider's route: "<namespace>/<name>".
std::string route_name(std::string_view ns, std::string_view name);

// On an InferenceService: "promote REVISION", "rollback REVISION" or "pause REVISION". A third
// word, such as the time, tells a command from another one of the same words.
inline constexpr std::string_view kRolloutAnnotation = "sluice.dev/rollout";
// On an InferenceService: "true" ends its replicas and keeps the object, as in KServe.
inline constexpr std::string_view kStopAnnotation = "serving.kserve.io/stop";

}  // namespace sluice::platform
