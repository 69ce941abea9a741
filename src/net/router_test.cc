#include "net/router.h"

#include <gtest/gtest.h>

namespace sluice::net {
namespace {

Router example() {
  Router router;
  const RouteHandler none;
  router.add("GET", "/v1/models", none);
  router.add("GET", "/v1/models/{id...}", none);
  router.add("GET", "/v1/models/list", none);
  router.add("DELETE", "/v1/files/{file}", none);
  router.add("GET", "/v1/files/{file}/content", none);
  router.add("POST", "/", none);
  return router;
}

std::string_view pattern_of(const RouteMatch& match) {
  return match.route == nullptr ? "" : std::string_view(match.route->pattern);
}

TEST(Router, MatchesLiteralsParametersAndRests) {
  const Router router = example();
  EXPECT_EQ(pattern_of(router.match("GET", "/v1/models")), "/v1/models");
  EXPECT_EQ(pattern_of(router.match("POST", "/")), "/");
  EXPECT_EQ(pattern_of(router.match("GET", "/v1/files/f1/content")), "/v1/files/{file}/content");
  const RouteMatch file = router.match("DELETE", "/v1/files/f1");
  EXPECT_EQ(file.params.get("file"), "f1");
  EXPECT_EQ(file.params.get("other"), "");
  EXPECT_EQ(router.match("GET", "/v1/models/org/name").params.get("id"), "org/name");
}

TEST(Router, LiteralsWinOverParameters) {
  EXPECT_EQ(pattern_of(example().match("GET", "/v1/models/list")), "/v1/models/list");
}

TEST(Router, ParametersAreDecodedToTheEnd) {
  const Router router = example();
  EXPECT_EQ(router.match("GET", "/v1/models/a%2Fb%25c").params.get("id"), "a/b%c");
  EXPECT_EQ(router.match("DELETE", "/v1/files/a%2Fb").params.get("file"), "a/b");
}

TEST(Router, PathsMatchExactly) {
  const Router router = example();
  for (const std::string_view path : {"/v1/models/", "//v1/models", "/v1//models", "/V1/models",
                                      "/v1", "/v1/files//content", "*", "/v1%2Fmodels"}) {
    EXPECT_EQ(router.match("GET", path).route, nullptr) << path;
    EXPECT_EQ(router.match("GET", path).allow, "") << path;
  }
}

TEST(Router, HeadFallsBackToGet) {
  Router router = example();
  EXPECT_EQ(pattern_of(router.match("HEAD", "/v1/models")), "/v1/models");
  router.add("HEAD", "/v1/models", {});
  EXPECT_EQ(router.match("HEAD", "/v1/models").route->method, "HEAD");
}

TEST(Router, RefusesWith404Or405) {
  const Router router = example();
  const ErrorBody body = [](int status, std::string_view message, std::string_view) {
    return HttpResponse{.status = status, .headers = {}, .body = std::string(message)};
  };
  HttpRequest request;
  request.method = "POST";
  request.path = "/v1/models";
  const HttpResponse wrong_method =
      Router::refusal(router.match(request.method, request.path), request, body);
  EXPECT_EQ(wrong_method.status, 405);
  EXPECT_EQ(find_header(wrong_method.headers, "allow"), "GET, HEAD");
  request.path = "/nowhere";
  const HttpResponse nowhere =
      Router::refusal(router.match(request.method, request.path), request, body);
  EXPECT_EQ(nowhere.status, 404);
  EXPECT_EQ(nowhere.body, "no route POST /nowhere");
}

}  // namespace
}  // namespace sluice::net
