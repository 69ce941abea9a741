#include "endpoint/model_path.h"

#include <array>

#include "net/target.h"

namespace sluice::endpoint {
namespace {

constexpr std::string_view kPredictPrefix = "/v1/models/";
constexpr std::array<std::string_view, 2> kVerbs = {":predict", ":explain"};
constexpr std::array<std::string_view, 2> kOipPrefixes = {"/v2/models/", "/v2/repository/models/"};

// Decoded segment by segment, as the router does.
std::string decoded(std::string_view segments) {
  std::string name;
  while (true) {
    const size_t slash = segments.find('/');
    name += net::decode_segment(segments.substr(0, slash));
    if (slash == std::string_view::npos) return name;
    name += '/';
    segments.remove_prefix(slash + 1);
  }
}

}  // namespace

std::string model_of_path(std::string_view path) {
  if (path.starts_with(kPredictPrefix)) {
    for (const std::string_view verb : kVerbs) {
      if (!path.ends_with(verb)) continue;
      path.remove_prefix(kPredictPrefix.size());
      // Both affixes may be there without a name between them.
      return path.size() < verb.size() ? "" : decoded(path.substr(0, path.size() - verb.size()));
    }
  }
  for (const std::string_view prefix : kOipPrefixes) {
    if (!path.starts_with(prefix)) continue;
    path.remove_prefix(prefix.size());
    return net::decode_segment(path.substr(0, path.find('/')));
  }
  return {};
}

}  // namespace sluice::endpoint
