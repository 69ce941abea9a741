// Method and path → route.
//
// A pattern is a path whose segments are literal ("/v1/models"), or a parameter for one segment
// ("{id}"), or, last, for one or more ("{id...}", slashes included). Literal segments win over
// parameters. Paths match exactly: letter case, no doubled or trailing slash is forgiven.
// Filled before it is shared; matching may then run on any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http.h"
#include "net/server.h"

namespace sluice::net {

// Parameters of a matched path, fully decoded.
class PathParams {
 public:
  void add(std::string name, std::string value) {
    values_.emplace_back(std::move(name), std::move(value));
  }
  // Empty when the pattern has no such parameter.
  std::string get(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

using RouteHandler = std::function<void(HttpRequest, PathParams, std::shared_ptr<Responder>)>;

struct Route {
  std::string method;
  std::string pattern;  // also the route's label in metrics
  RouteHandler handler;
};

struct RouteMatch {
  const Route* route = nullptr;  // null: see `allow`
  PathParams params;
  std::string allow;  // methods of the path ("GET, HEAD"); empty when no route has the path
};

class Router {
 public:
  void add(std::string method, std::string pattern, RouteHandler handler);

  // HEAD is served by GET's route where it has none of its own (the server drops the body).
  RouteMatch match(std::string_view method, std::string_view path) const;

  // 404 or 405 (with Allow) by `error_body`, for a match without a route.
  static HttpResponse refusal(const RouteMatch& match, const HttpRequest& request,
                              const ErrorBody& error_body);

  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
  std::vector<std::vector<std::string>> segments_;  // of each route's pattern
};

}  // namespace sluice::net
