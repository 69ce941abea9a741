#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/files.h"
#include "cli/client/api_client.h"
#include "cli/client/commands_kit.h"
#include "cli/client/describe.h"
#include "cli/client/kube_config.h"
#include "cli/client/manifests.h"
#include "cli/client/resource_args.h"
#include "cli/client/table_text.h"
#include "cli/client/wait.h"
#include "cli/client/yaml_text.h"
#include "control/api_request.h"

namespace sluice::cli {
namespace {

json::value from_yaml(std::string_view text) {
  auto value = control::parse_yaml_body(text);
  EXPECT_TRUE(value.has_value()) << text;
  return value ? *value : json::value();
}

constexpr const char* kConfig = R"(
apiVersion: v1
kind: Config
current-context: here
clusters:
- {name: a, cluster: {server: "https://127.0.0.1:8001/", certificate-authority-data: aGVsbG8=}}
- {name: b, cluster: {server: "https://example.org", insecure-skip-tls-verify: true}}
users:
- {name: u, user: {token: secret}}
- {name: p, user: {exec: {command: login}}}
contexts:
- {name: here, context: {cluster: a, user: u, namespace: demo}}
- {name: there, context: {cluster: b, user: u}}
- {name: plugin, context: {cluster: a, user: p}}
- {name: lost, context: {cluster: none, user: u}}
)";

TEST(KubeConfig, TheCurrentContextOrTheOneThatIsNamed) {
  const auto here = read_kube_configs({{"config", kConfig}}, "");
  ASSERT_TRUE(here.has_value()) << here.error().message();
  EXPECT_EQ(here->server, "https://127.0.0.1:8001");
  EXPECT_EQ(here->ca_pem, "hello");
  EXPECT_EQ(here->token, "secret");
  EXPECT_EQ(here->ns, "demo");
  EXPECT_EQ(here->context, "here");
}

TEST(KubeConfig, TheFirstFileThatHasAnEntryWins) {
  const std::string second =
      "current-context: other\nusers: [{name: u, user: {token: another}}]\n"
      "contexts: [{name: other, context: {cluster: a, user: u}}]\n";
  const auto read = read_kube_configs({{"one", kConfig}, {"two", second}}, "other");
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(read->token, "secret");
  EXPECT_EQ(read->ns, "default");
}

TEST(KubeConfig, WhatCannotBeUsedIsSaid) {
  const auto refusal = [](const std::string& text, const std::string& context) {
    const auto read = read_kube_configs({{"config", text}}, context);
    return read ? std::string() : read.error().message();
  };
  EXPECT_TRUE(refusal(kConfig, "there").contains("insecure-skip-tls-verify"));
  EXPECT_TRUE(refusal(kConfig, "plugin").contains("exec"));
  EXPECT_TRUE(refusal(kConfig, "lost").contains("\"none\" in clusters"));
  EXPECT_TRUE(refusal(kConfig, "nowhere").contains("\"nowhere\" in contexts"));
  EXPECT_TRUE(refusal("kind: Config", "").contains("current-context"));
  EXPECT_TRUE(refusal("[1, 2]", "").contains("expected a kubeconfig"));
  EXPECT_TRUE(refusal("a: [", "").contains("config"));
}

TEST(ResourceArgs, KindsByAnyOfTheirNames) {
  for (const char* word :
       {"isvc", "inferenceservice", "InferenceServices", "inferenceservices.serving.kserve.io",
        "isvc.v1beta1.serving.kserve.io"}) {
    const auto type = find_type(word);
    ASSERT_TRUE(type.has_value()) << word;
    EXPECT_EQ((*type)->kind, "InferenceService") << word;
  }
  EXPECT_EQ((*find_type("cm"))->kind, "ConfigMap");
  const auto none = find_type("pods");
  ASSERT_FALSE(none.has_value());
  EXPECT_TRUE(none.error().message().contains("inferenceservices (isvc)"));
  EXPECT_FALSE(find_type("isvc.v9.serving.kserve.io").has_value());
}

TEST(ResourceArgs, WordsOfACommand) {
  const auto named = parse_targets({"isvc", "a", "b"});
  ASSERT_TRUE(named.has_value());
  ASSERT_EQ(named->size(), 2u);
  EXPECT_EQ((*named)[1].name, "b");
  const auto slashes = parse_targets({"isvc/a", "ig/b"});
  ASSERT_TRUE(slashes.has_value());
  EXPECT_EQ((*slashes)[1].type->kind, "InferenceGraph");
  const auto all = parse_targets({"all"});
  ASSERT_TRUE(all.has_value());
  EXPECT_GT(all->size(), 2u);
  for (const auto& bad : std::vector<std::vector<std::string>>{
           {}, {"isvc", "a/b"}, {"isvc/"}, {"isvc/a", "b"}, {"isvc/a/b"}}) {
    EXPECT_FALSE(parse_targets(bad).has_value());
  }
  EXPECT_EQ(shown_name(**find_type("isvc"), "x"), "inferenceservice.serving.kserve.io/x");
  EXPECT_EQ(shown_name(**find_type("ns"), "x"), "namespace/x");
}

TEST(Manifests, DocumentsAndLists) {
  const auto read = read_manifests(
      "# nothing here\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
      "data: {text: |-\n    x\n  }\n",
      "f.yaml");
  EXPECT_FALSE(read.has_value());  // a block text inside braces is no YAML
  const auto good = read_manifests(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: n}\n--- # next\n"
      "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: "
      "{name: b, namespace: no}}\n---\n",
      "f.yaml");
  ASSERT_TRUE(good.has_value()) << good.error().message();
  ASSERT_EQ(good->size(), 2u);
  EXPECT_EQ((*good)[0].ns, "n");
  EXPECT_EQ((*good)[1].name, "b");
  EXPECT_EQ((*good)[1].ns, "");
  EXPECT_TRUE((*good)[1].place.contains("document 2, items[0]"));
  EXPECT_EQ(*namespace_of((*good)[0], "n", true), "n");
  EXPECT_EQ(*namespace_of((*good)[0], "other", false), "n");
  EXPECT_FALSE(namespace_of((*good)[0], "other", true).has_value());
}

TEST(Manifests, MistakesNameTheirPlace) {
  const auto refusal = [](std::string_view text) {
    const auto read = read_manifests(text, "f.yaml");
    return read ? std::string() : read.error().message();
  };
  EXPECT_TRUE(refusal("kind: ConfigMap").contains("f.yaml: apiVersion is missing"));
  EXPECT_TRUE(refusal("apiVersion: v1\nkind: Pod\nmetadata: {name: a}").contains("\"Pod\""));
  EXPECT_TRUE(refusal("apiVersion: v1\nkind: ConfigMap").contains("metadata.name"));
  EXPECT_TRUE(refusal("apiVersion: v1\nkind: ConfigMap\n---\n- 1").contains("document"));
  EXPECT_TRUE(refusal("just words").contains("expected an object"));
}

TEST(Manifests, FoldersByName) {
  const auto folder = std::filesystem::temp_directory_path() / "sluice-manifests-test";
  std::filesystem::create_directories(folder / "below");
  const auto put = [&](const char* name, const char* object) {
    ASSERT_TRUE(write_file_atomically(folder / name,
                                      std::string("apiVersion: v1\nkind: ConfigMap\nmetadata: "
                                                  "{name: ") +
                                          object + "}\n"));
  };
  put("2.yaml", "two");
  put("1.yml", "one");
  put("notes.txt", "none");
  put("below/3.json.yaml", "three");
  const auto flat = load_manifests({folder.string()}, false);
  ASSERT_TRUE(flat.has_value());
  ASSERT_EQ(flat->size(), 2u);
  EXPECT_EQ((*flat)[0].name, "one");
  EXPECT_EQ(load_manifests({folder.string()}, true)->size(), 3u);
  EXPECT_FALSE(load_manifests({(folder / "none.yaml").string()}, false).has_value());
  std::filesystem::remove_all(folder);
}

// What is written is read back as the same value.
TEST(YamlText, RoundTrips) {
  for (const char* text :
       {R"({"a":1,"b":[],"c":{},"d":null,"e":true,"f":"true","g":"1","h":"1e3","i":""})",
        R"({"list":[{"x":1,"y":{"z":[1,[2,3],[]]}},"text",[{"a":"b"}]]})",
        R"({"s":["~","no","- a","a: b","a #b","@x","#x","x:","'q'","\"q\"","1.2.3","0x1f",".5"]})",
        R"({"block":"one\n  two\n\nthree\n","bare":"one\ntwo","tail":"x\n\n","odd":" lead\nx"})",
        R"({"bytes":"tab\tand\u0001","unicode":"größer 🙂","2024-01-01":"2024-01-01"})",
        R"({"nested":{"deep":{"deeper":{"s":"a\nb\n","l":["a\nb"]}}}})"}) {
    const json::value value = *parse_json(text);
    const std::string yaml = yaml_text(value);
    EXPECT_EQ(from_yaml(yaml), value) << yaml;
    EXPECT_EQ(*parse_json(pretty_json(value)), value);
  }
}

TEST(YamlText, LooksAsKubectlWritesIt) {
  const json::value value = *parse_json(R"({"b":{"c":[{"d":1,"e":"x"}]},"a":"y"})");
  EXPECT_EQ(yaml_text(value), "a: \"y\"\nb:\n  c:\n  - d: 1\n    e: x\n");
}

TEST(TableText, ColumnsFitAndStay) {
  TextTable table({"NAME", "AGE"});
  table.add({"größe", "1d"});
  EXPECT_EQ(table.text(true), "NAME    AGE\ngröße   1d\n");
  table.clear_rows();
  table.add({"x", "2d"});
  EXPECT_EQ(table.text(false), "x       2d\n");
}

TEST(TableText, OfAServersTable) {
  const json::value table = *parse_json(
      R"({"columns":[{"name":"Name","format":"name","priority":0},{"name":"Ready","priority":0},
          {"name":"Why","priority":1}],
          "row":{"cells":["a",null,"\u001b[31mred"],"object":{"metadata":{"namespace":"n",
          "labels":{"k":"v"}}}}})");
  const json::array& columns = table.at("columns").as_array();
  const json::object& row = table.at("row").as_object();
  EXPECT_EQ(table_head(columns, {}), (std::vector<std::string>{"NAME", "READY"}));
  EXPECT_EQ(table_row(columns, row, {.prefix = "t/"}), (std::vector<std::string>{"t/a", "<none>"}));
  EXPECT_EQ(table_row(columns, row, {.wide = true, .with_namespace = true, .with_labels = true}),
            (std::vector<std::string>{"n", "a", "<none>", " [31mred", "k=v"}));
}

TEST(Describe, FieldsInWordsAndSecretsBySize) {
  const json::value object = *parse_json(
      R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"n",
          "labels":{"a":"b"}},"data":{"key":"c2VjcmV0"}})");
  const std::string secret = described(object.as_object(), true);
  EXPECT_TRUE(secret.contains("key: 6 bytes")) << secret;
  EXPECT_FALSE(secret.contains("c2VjcmV0"));
  EXPECT_TRUE(secret.contains("Labels:       a=b"));
  const json::value service = *parse_json(
      R"({"kind":"X","metadata":{"name":"s"},"spec":{"storageUri":"hf://o/m","list":[{"a":1},
          {"a":2}]}})");
  const std::string text = described(service.as_object(), false);
  EXPECT_TRUE(text.contains("Storage Uri:")) << text;
  EXPECT_TRUE(text.contains("hf://o/m")) << text;
  EXPECT_TRUE(text.contains("Annotations:  <none>")) << text;
}

TEST(Wait, WhatIsWishedFor) {
  const json::value ready = *parse_json(
      R"({"metadata":{"generation":2},"status":{"observedGeneration":2,"phase":"Ready",
          "conditions":[{"type":"Ready","status":"True"}]}})");
  const json::object& object = ready.as_object();
  EXPECT_TRUE((*parse_wish("condition=Ready"))(&object));
  EXPECT_TRUE((*parse_wish("condition=ready=true"))(&object));
  EXPECT_FALSE((*parse_wish("condition=Ready=False"))(&object));
  EXPECT_FALSE((*parse_wish("condition=Ready"))(nullptr));
  EXPECT_TRUE((*parse_wish("delete"))(nullptr));
  EXPECT_TRUE((*parse_wish("jsonpath={.status.phase}=Ready"))(&object));
  EXPECT_FALSE((*parse_wish("jsonpath={.status.phase}=Gone"))(&object));
  for (const char* bad : {"", "condition=", "ready", "jsonpath=.status", "jsonpath={.a}b"}) {
    EXPECT_FALSE(parse_wish(bad).has_value()) << bad;
  }
  // What was true of an older specification says nothing of this one.
  json::object older = object;
  older["metadata"] = json::object{{"generation", 3}};
  EXPECT_FALSE((*parse_wish("condition=Ready"))(&older));
}

TEST(CommandsKit, Times) {
  EXPECT_EQ(**parse_patience("90s"), std::chrono::seconds(90));
  EXPECT_EQ(**parse_patience("1.5m"), std::chrono::seconds(90));
  EXPECT_EQ(**parse_patience("250ms"), std::chrono::milliseconds(250));
  EXPECT_FALSE(parse_patience("0")->has_value());
  EXPECT_FALSE(parse_patience("-1")->has_value());
  for (const char* bad : {"", "x", "5d", "1e99", "nan"}) {
    EXPECT_FALSE(parse_patience(bad).has_value()) << bad;
  }
}

TEST(ApiClient, PathsAndErrors) {
  EXPECT_EQ(ApiClient::path_of(**find_type("isvc"), "n", "a", "scale"),
            "/apis/serving.kserve.io/v1beta1/namespaces/n/inferenceservices/a/scale");
  EXPECT_EQ(ApiClient::path_of(**find_type("cm"), "", ""), "/api/v1/configmaps");
  EXPECT_EQ(ApiClient::path_of(**find_type("ns"), "n", "a/b"), "/api/v1/namespaces/a%2Fb");
  EXPECT_EQ(escape_query("a=b,c d"), "a%3Db%2Cc%20d");
  const Status status =
      status_of(404, *parse_json(R"({"reason":"NotFound","message":"isvc \"x\" not found"})"));
  EXPECT_EQ(error_text(status), "Error from server (NotFound): isvc \"x\" not found");
  EXPECT_EQ(error_text(Status(Code::kInvalidArgument, "words")), "words");
  EXPECT_TRUE(error_text(status_of(502, json::value())).contains("HTTP 502"));
}

}  // namespace
}  // namespace sluice::cli
