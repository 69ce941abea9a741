#include "control/rest.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "control/answer.h"
#include "control/api_server.h"
#include "control/credentials.h"
#include "control/scrape_targets.h"
#include "control/test_support.h"

namespace sluice::control {
namespace {

// Keeps what is answered.
class Recorder : public net::Responder {
 public:
  void send(net::HttpResponse response) override { answer = std::move(response); }
  void start(int status, net::Headers headers) override {
    answer.status = status;
    answer.headers = std::move(headers);
  }
  bool write(std::string_view bytes) override {
    answer.body += bytes;
    return !gone;
  }
  void finish() override { finished = true; }
  void on_close(std::function<void()>) override {}
  bool closed() const override { return gone; }

  net::HttpResponse answer;
  bool finished = false;
  bool gone = false;
};

class RestTest : public ObjectsTest {
 protected:
  void SetUp() override {
    ObjectsTest::SetUp();
    auto audit = Audit::open("", clock_);
    ASSERT_TRUE(audit.has_value());
    audit_ = *std::move(audit);
    rest_ = std::make_unique<Rest>(*objects_, *audit_, logs_, [](std::string_view, int) {});
  }

  std::shared_ptr<Recorder> call(std::string method, std::string_view target, std::string body = {},
                                 net::Headers headers = {}) {
    const size_t mark = target.find('?');
    net::HttpRequest request;
    request.method = std::move(method);
    request.path = target.substr(0, mark);
    if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
    request.headers = std::move(headers);
    request.body = std::move(body);
    auto recorder = std::make_shared<Recorder>();
    rest_->answer(request, who_, recorder);
    return recorder;
  }
  json::object answer(std::string method, std::string_view target, std::string body = {},
                      net::Headers headers = {}) {
    return parsed_object(
        call(std::move(method), target, std::move(body), std::move(headers))->answer.body);
  }

  static constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
  static constexpr const char* kServices =
      "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices";
  const net::Headers table_{{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}};
  Identity who_{"tester", Role::kAdmin};
  std::unique_ptr<Audit> audit_;
  ReplicaLogs logs_;
  std::unique_ptr<Rest> rest_;
};

TEST_F(RestTest, ErrorsAreStatusObjects) {
  const json::object missing = answer("GET", std::string(kMaps) + "/none");
  EXPECT_EQ(text_at(missing, "kind"), "Status");
  EXPECT_EQ(text_at(missing, "reason"), "NotFound");
  EXPECT_EQ(text_at(missing, "details.kind"), "configmaps");
  EXPECT_EQ(integer_at(missing, "code"), 404);
  EXPECT_EQ(call("POST", kMaps, "{")->answer.status, 400);
  EXPECT_EQ(call("POST", kMaps, "x", {{"content-type", "text/plain"}})->answer.status, 415);
  EXPECT_EQ(call("PATCH", kMaps, "{}")->answer.status, 405);
  EXPECT_EQ(call("GET", "/api/v1/pods")->answer.status, 404);
  EXPECT_EQ(call("GET", kMaps, "", {{"accept", "application/xml"}})->answer.status, 406);
  EXPECT_EQ(call("GET", std::string(kMaps) + "?limit=x")->answer.status, 400);
  EXPECT_EQ(call("GET", std::string(kMaps) + "?labelSelector=%3D")->answer.status, 400);
}

TEST_F(RestTest, AnInvalidObjectNamesItsFields) {
  json::object body = service("a", R"("minReplicas":-1)");
  const json::object refused = answer("POST", kServices, json::serialize(body));
  EXPECT_EQ(text_at(refused, "reason"), "Invalid");
  EXPECT_EQ(text_at(refused, "message"),
            "InferenceService.serving.kserve.io \"a\" is invalid: spec.predictor.minReplicas: "
            "Invalid value: -1: must be at least 0 and at most 1000");
}

TEST_F(RestTest, WarningsComeInHeaders) {
  json::object body = service("a", R"("minReplicas":1,"nodeSelector":{"a":"b"})");
  const auto made = call("POST", kServices, json::serialize(body));
  EXPECT_EQ(made->answer.status, 201);
  EXPECT_TRUE(net::find_header(made->answer.headers, "warning")
                  .starts_with("299 - \"spec.predictor.nodeSelector has no effect"));
}

TEST_F(RestTest, ListsComeInPages) {
  for (const char* name : {"a", "b", "c", "d", "e"}) must_create(config_maps(), config_map(name));
  const json::object first = answer("GET", std::string(kMaps) + "?limit=2");
  EXPECT_EQ(text_at(first, "kind"), "ConfigMapList");
  EXPECT_EQ(array_at(first, "items")->size(), 2u);
  EXPECT_EQ(integer_at(first, "metadata.remainingItemCount"), 3);
  must_create(config_maps(), config_map("bb"));
  const json::object second = answer("GET", std::string(kMaps) + "?limit=9&continue=" +
                                                std::string(text_at(first, "metadata.continue")));
  EXPECT_EQ(array_at(second, "items")->size(), 4u);
  // The version of the first page, so that a watch from it tells of what came between.
  EXPECT_EQ(text_at(second, "metadata.resourceVersion"),
            text_at(first, "metadata.resourceVersion"));
  EXPECT_EQ(call("GET", std::string(kMaps) + "?continue=zzz")->answer.status, 400);
}

TEST_F(RestTest, SelectorsBoundLists) {
  must_create(config_maps(), config_map("a"));
  json::object labelled = config_map("b");
  object_of(labelled, "metadata")["labels"] = json::object{{"x", "y"}};
  must_create(config_maps(), labelled);
  EXPECT_EQ(array_at(answer("GET", std::string(kMaps) + "?labelSelector=x%3Dy"), "items")->size(),
            1u);
  EXPECT_EQ(
      array_at(answer("GET", std::string(kMaps) + "?fieldSelector=metadata.name%3Da"), "items")
          ->size(),
      1u);
}

TEST_F(RestTest, TablesHaveColumnsAndRows) {
  must_create(services(), service("a"));
  const json::object table = answer("GET", kServices, "", table_);
  EXPECT_EQ(text_at(table, "kind"), "Table");
  ASSERT_EQ(array_at(table, "rows")->size(), 1u);
  const json::object& row = array_at(table, "rows")->at(0).get_object();
  EXPECT_EQ(array_at(row, "cells")->size(), array_at(table, "columnDefinitions")->size());
  EXPECT_EQ(array_at(row, "cells")->at(0).as_string(), "a");
  EXPECT_EQ(text_at(row, "object.kind"), "PartialObjectMetadata");
}

TEST_F(RestTest, PatchesByTheirContentType) {
  must_create(config_maps(), config_map("a"));
  const std::string target = std::string(kMaps) + "/a";
  const auto patch = [&](std::string type, std::string body, const std::string& query = {}) {
    return call("PATCH", target + query, std::move(body), {{"content-type", std::move(type)}})
        ->answer.status;
  };
  EXPECT_EQ(patch("application/merge-patch+json", R"({"data":{"x":"1"}})"), 200);
  EXPECT_EQ(patch("application/strategic-merge-patch+json", R"({"data":{"y":"1"}})"), 200);
  EXPECT_EQ(patch("application/json-patch+json", R"([{"op":"remove","path":"/data/x"}])"), 200);
  EXPECT_EQ(patch("application/json-patch+json", R"([{"op":"remove","path":"/data/x"}])"), 422);
  EXPECT_EQ(patch("application/apply-patch+yaml", "a: b"), 400);
  EXPECT_EQ(patch("application/apply-patch+yaml",
                  "{apiVersion: v1, kind: ConfigMap, data: {y: '2'}}", "?fieldManager=m"),
            409);
  EXPECT_EQ(
      patch("application/apply-patch+yaml", "{apiVersion: v1, kind: ConfigMap, data: {y: '2'}}",
            "?fieldManager=m&force=true"),
      200);
  EXPECT_EQ(patch("text/plain", "{}"), 415);
}

TEST_F(RestTest, AWatchStreamsChangesAndEnds) {
  const std::string from = std::to_string(store_->version());
  const auto watch = call("GET", std::string(kMaps) + "?watch=true&timeoutSeconds=30&" +
                                     "allowWatchBookmarks=true&resourceVersion=" + from);
  EXPECT_EQ(watch->answer.status, 200);
  must_create(config_maps(), config_map("a"));
  ASSERT_TRUE(objects_->remove({&config_maps(), "default", "a"}, {}).has_value());
  must_create(services(), service("not-watched"));
  EXPECT_TRUE(watch->answer.body.starts_with(R"({"type":"ADDED","object":{)"));
  EXPECT_TRUE(watch->answer.body.contains("\n{\"type\":\"DELETED\""));
  clock_.advance(std::chrono::seconds(31));
  store_->poll_watchers();
  EXPECT_TRUE(watch->finished);
  EXPECT_TRUE(watch->answer.body.contains(R"({"type":"BOOKMARK")"));
  EXPECT_EQ(store_->watchers(), 0u);
}

TEST_F(RestTest, AWatchFollowsItsSelector) {
  must_create(config_maps(), config_map("a"));
  const auto watch = call("GET", std::string(kMaps) + "?watch=1&labelSelector=x", "", table_);
  EXPECT_EQ(watch->answer.body, "");
  const auto label = [&](const std::string& value) {
    EXPECT_TRUE(objects_
                    ->patch({&config_maps(), "default", "a"}, Subresource::kNone, PatchKind::kMerge,
                            parsed(R"({"metadata":{"labels":{"x":)" + value + "}}}"),
                            as(Role::kAdmin))
                    .has_value());
  };
  label("\"1\"");
  label("\"2\"");
  label("null");
  std::vector<std::string> types;
  std::string_view rest = watch->answer.body;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const json::object event = parsed_object(rest.substr(0, end));
    types.emplace_back(text_at(event, "type"));
    EXPECT_EQ(text_at(event, "object.kind"), "Table");
    rest.remove_prefix(end + 1);
  }
  EXPECT_EQ(types, (std::vector<std::string>{"ADDED", "MODIFIED", "DELETED"}));
  watch->gone = true;
  must_create(config_maps(), config_map("b"));
  EXPECT_EQ(store_->watchers(), 0u);
}

TEST_F(RestTest, AWatchFromTooFarBackIs410) {
  const auto watch = call("GET", std::string(kMaps) + "?watch=true&resourceVersion=999999");
  EXPECT_EQ(watch->answer.status, 410);
  EXPECT_EQ(text_at(parsed_object(watch->answer.body), "reason"), "Expired");
}

TEST_F(RestTest, RolesAreHeld) {
  who_ = {"viewer", Role::kView};
  EXPECT_EQ(call("GET", kMaps)->answer.status, 200);
  EXPECT_EQ(call("GET", "/api/v1/namespaces/default/secrets")->answer.status, 403);
  const auto refused = call("POST", kMaps, R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(refused->answer.status, 403);
  EXPECT_TRUE(refused->answer.body.contains("it has the role view"));
}

TEST_F(RestTest, CollectionsAreDeletedBySelector) {
  must_create(config_maps(), config_map("a"));
  must_create(config_maps(), config_map("b"));
  EXPECT_EQ(call("DELETE", std::string(kMaps) + "?fieldSelector=metadata.name%3Da")->answer.status,
            200);
  EXPECT_EQ(object(config_maps(), "a"), nullptr);
  EXPECT_NE(object(config_maps(), "b"), nullptr);
}

TEST_F(RestTest, DiscoveryInBothForms) {
  EXPECT_EQ(text_at(answer("GET", "/apis"), "kind"), "APIGroupList");
  const json::object page = answer("GET", "/apis/serving.kserve.io/v1beta1");
  EXPECT_EQ(text_at(page, "groupVersion"), "serving.kserve.io/v1beta1");
  EXPECT_TRUE(json::serialize(page).contains("inferenceservices/scale"));
  const json::object all =
      answer("GET", "/apis", "",
             {{"accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}});
  EXPECT_EQ(text_at(all, "apiVersion"), "apidiscovery.k8s.io/v2");
  EXPECT_EQ(call("GET", "/apis/none")->answer.status, 404);
}

TEST_F(RestTest, WhoComesInIsDecidedAtTheHead) {
  telemetry::Metrics metrics;
  ApiServer server(*objects_, Access({{{"a", Role::kAdmin}, SecretDigest("token")}}, {"localhost"}),
                   *audit_, metrics);
  const auto refused = [&](net::Headers headers, std::string path = "/api") {
    net::HttpRequest head;
    head.method = "GET";
    head.path = std::move(path);
    head.headers = std::move(headers);
    const auto answer = server.refuse(head);
    return answer ? answer->status : 0;
  };
  EXPECT_EQ(refused({{"host", "localhost:8001"}, {"authorization", "Bearer token"}}), 0);
  EXPECT_EQ(refused({{"host", "localhost:8001"}}), 401);
  EXPECT_EQ(refused({{"host", "localhost:8001"}}, "/metrics"), 401);
  EXPECT_EQ(refused({{"host", "rebound.example"}, {"authorization", "Bearer token"}}), 403);
  EXPECT_EQ(refused({{"host", "localhost"}, {"authorization", "Bearer token"}, {"origin", "x"}}),
            403);
  EXPECT_EQ(refused({}, "/health"), 200);
  server.set_draining();
  EXPECT_EQ(refused({}, "/ready"), 503);
  EXPECT_EQ(refused({}, "/health"), 200);
}

TEST_F(RestTest, PrometheusIsToldOfReplicasThatTakeRequests) {
  const ResourceType& replicas = *find_kind("sluice.dev/v1alpha1", "Replica");
  EXPECT_EQ(scrape_targets(*store_, "here:8001"), "[]");
  for (const char* name : {"a", "b"}) {
    must_create(replicas,
                {{"metadata", json::object{{"name", name}}},
                 {"spec", json::object{{"revision", "s-predictor-00001"}, {"service", "s"}}}});
  }
  const auto put = [&](json::object status) {
    EXPECT_TRUE(objects_->update_status(object(replicas, "b"), std::move(status), as(Role::kAdmin)))
        << "a status is its platform's";
  };
  put({{"phase", "Ready"}});
  const json::array targets = parsed(scrape_targets(*store_, "here:8001")).as_array();
  ASSERT_EQ(targets.size(), 1u);
  const json::object& target = targets[0].as_object();
  EXPECT_EQ(json::serialize(target.at("targets")), R"(["here:8001"])");
  EXPECT_EQ(
      json::serialize(target.at("labels")),
      R"({"__metrics_path__":"/apis/sluice.dev/v1alpha1/namespaces/default/replicas/b/metrics",)"
      R"("namespace":"default","service":"s","revision":"s-predictor-00001","replica":"b"})");
  put({{"phase", "Draining"}});
  EXPECT_EQ(scrape_targets(*store_, "here:8001"), "[]");
}

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("control_rest_test." + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(FolderTest, TokensStayUntilTheirKubeconfigIsRemoved) {
  const auto first = ensure_tokens(folder_);
  ASSERT_TRUE(first.has_value()) << first.error().message();
  ASSERT_EQ(first->size(), 3u);
  const auto certificate = ensure_certificate(folder_, "127.0.0.1");
  ASSERT_TRUE(certificate.has_value()) << certificate.error().message();
  ASSERT_TRUE(write_kubeconfigs(folder_, "127.0.0.1", 8001, *certificate).has_value());
  const auto path = kubeconfig_path(folder_, Role::kView);
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  std::filesystem::remove(path);
  const auto second = ensure_tokens(folder_);
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE((*second)[0].digest.matches((*first)[0].digest));
  EXPECT_FALSE((*second)[2].digest.matches((*first)[2].digest));
  const auto same = ensure_certificate(folder_, "127.0.0.1");
  EXPECT_EQ(same->pem, certificate->pem);
  EXPECT_NE(ensure_certificate(folder_, "10.1.2.3")->pem, certificate->pem);
}

TEST_F(FolderTest, FurtherTokensAreReadStrictly) {
  const std::string digest(64, 'a');
  EXPECT_EQ(parse_tokens("# c\nbob,edit," + digest + "\n", "t")->size(), 1u);
  EXPECT_FALSE(parse_tokens("bob,root," + digest, "t").has_value());
  EXPECT_FALSE(parse_tokens("bob,edit,xyz", "t").has_value());
  EXPECT_FALSE(parse_tokens("bob,edit," + digest + ",x", "t").has_value());
}

TEST_F(FolderTest, TheAuditLogNamesWhoDidWhat) {
  {
    const auto audit = Audit::open(folder_ / "audit.log");
    ASSERT_TRUE(audit.has_value());
    (*audit)->write({.user = "bob",
                     .role = "edit",
                     .verb = "create",
                     .resource = "secrets",
                     .subresource = {},
                     .ns = "default",
                     .name = "s",
                     .peer = {},
                     .agent = {},
                     .manager = {},
                     .reason = {},
                     .version = "7",
                     .code = 201});
  }
  const auto text = read_file(folder_ / "audit.log", 4096);
  ASSERT_TRUE(text.has_value());
  const json::object line = parsed_object(text->substr(0, text->size() - 1));
  EXPECT_EQ(text_at(line, "user"), "bob");
  EXPECT_EQ(text_at(line, "name"), "s");
  EXPECT_EQ(integer_at(line, "code"), 201);
}

}  // namespace
}  // namespace sluice::control
