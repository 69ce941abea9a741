#include "net/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "net/target.h"

namespace sluice::net {

namespace {

// "/a//b" → "a", "", "b".
std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> segments;
  while (path.starts_with('/')) {
    path.remove_prefix(1);
    const std::string_view segment = path.substr(0, path.find('/'));
    segments.emplace_back(segment);
    path.remove_prefix(segment.size());
  }
  return segments;
}

bool is_parameter(std::string_view segment) {
  return segment.starts_with('{') && segment.ends_with('}');
}

bool takes_rest(std::string_view segment) {
  return is_parameter(segment) && segment.ends_with("...}");
}

// "{id}" and "{id...}" are named "id".
std::string_view parameter_name(std::string_view segment) {
  return segment.substr(1, segment.size() - (takes_rest(segment) ? 5 : 2));
}

struct Fit {
  size_t literals = 0;  // from the left, before the first parameter
  PathParams params;
};

std::optional<Fit> fit(const std::vector<std::string>& pattern,
                       const std::vector<std::string>& path) {
  const bool rest = !pattern.empty() && takes_rest(pattern.back());
  if (rest ? path.size() < pattern.size() : path.size() != pattern.size()) return std::nullopt;
  Fit result;
  bool literal_so_far = true;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (!is_parameter(pattern[i])) {
      if (pattern[i] != path[i]) return std::nullopt;
      result.literals += literal_so_far ? 1 : 0;
      continue;
    }
    literal_so_far = false;
    std::string value = decode_segment(path[i]);
    for (size_t j = i + 1; takes_rest(pattern[i]) && j < path.size(); ++j) {
      value += "/" + decode_segment(path[j]);
    }
    if (value.empty()) return std::nullopt;
    result.params.add(std::string(parameter_name(pattern[i])), std::move(value));
  }
  return result;
}

}  // namespace

std::string PathParams::get(std::string_view name) const {
  for (const auto& [key, value] : values_) {
    if (key == name) return value;
  }
  return {};
}

void Router::add(std::string method, std::string pattern, RouteHandler handler) {
  SLUICE_CHECK(pattern.starts_with('/'), "a route's pattern begins with '/'");
  segments_.push_back(split_path(pattern));
  routes_.push_back({std::move(method), std::move(pattern), std::move(handler)});
}

RouteMatch Router::match(std::string_view method, std::string_view path) const {
  const std::vector<std::string> segments = split_path(path);
  RouteMatch best;
  size_t best_literals = 0;
  bool best_exact = false;
  std::vector<std::string_view> allowed;
  for (size_t i = 0; i < routes_.size(); ++i) {
    auto fitted = fit(segments_[i], segments);
    if (!fitted) continue;
    const Route& route = routes_[i];
    allowed.push_back(route.method);
    if (route.method == "GET") allowed.emplace_back("HEAD");
    const bool exact = route.method == method;
    if (!exact && !(method == "HEAD" && route.method == "GET")) continue;
    const bool better = best.route == nullptr || fitted->literals > best_literals ||
                        (fitted->literals == best_literals && exact && !best_exact);
    if (!better) continue;
    best.route = &route;
    best.params = std::move(fitted->params);
    best_literals = fitted->literals;
    best_exact = exact;
  }
  std::ranges::sort(allowed);
  const auto repeated = std::ranges::unique(allowed);
  allowed.erase(repeated.begin(), repeated.end());
  best.allow = fmt::format("{}", fmt::join(allowed, ", "));
  return best;
}

HttpResponse Router::refusal(const RouteMatch& match, const HttpRequest& request,
                             const ErrorBody& error_body) {
  if (match.allow.empty()) {
    return error_body(404, fmt::format("no route {} {}", request.method, request.path),
                      request.path);
  }
  HttpResponse response =
      error_body(405, fmt::format("{} takes {}, not {}", request.path, match.allow, request.method),
                 request.path);
  response.headers.emplace_back("Allow", match.allow);
  return response;
}

}  // namespace sluice::net
