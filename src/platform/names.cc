#include "platform/names.h"

#include <fmt/format.h>

#include "base/secret.h"

namespace sluice::platform {
namespace {

constexpr size_t kDigestDigits = 8;

}  // namespace

std::string_view component_name(Component component) {
  switch (component) {
    case Component::kTransformer:
      return "transformer";
    case Component::kExplainer:
      return "explainer";
    case Component::kPredictor:
      break;
  }
  return "predictor";
}

std::string revision_name(std::string_view service, Component component, std::string_view branch,
                          int64_t generation) {
  std::string front(service);
  if (!branch.empty()) front.append("-").append(branch);
  const std::string back = fmt::format("-{}-{:05}", component_name(component), generation);
  if (front.size() + back.size() > kMaxRevisionName) {
    const std::string digest = SecretDigest(front).hex().substr(0, kDigestDigits);
    front.resize(kMaxRevisionName - back.size() - digest.size() - 1);
    while (front.ends_with('-') || front.ends_with('.')) front.pop_back();
    front.append("-").append(digest);
  }
  return front + back;
}

std::string upstream_name(std::string_view ns, std::string_view revision) {
  return fmt::format("{}/{}", ns, revision);
}

std::string route_name(std::string_view ns, std::string_view name) {
  return fmt::format("{}/{}", ns, name);
}

}  // namespace sluice::platform
