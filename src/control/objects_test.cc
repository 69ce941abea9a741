#include "control/objects.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "control/credentials.h"
#include "control/events.h"
#include "control/test_support.h"

namespace sluice::control {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> warnings_of(const ApiResult<Written>& written) {
  return written ? written->warnings : std::vector<std::string>{written.error().message};
}

TEST_F(ObjectsTest, CreateGivesIdentityVersionAndOwners) {
  const Written made = must_create(services(), service("llama"));
  const json::object& body = made.object->body;
  EXPECT_TRUE(made.created);
  EXPECT_EQ(text_at(body, "metadata.namespace"), "default");
  EXPECT_EQ(text_at(body, "metadata.uid").size(), 36u);
  EXPECT_EQ(integer_at(body, "metadata.generation"), 1);
  EXPECT_EQ(text_at(body, "metadata.resourceVersion"), std::to_string(store_->version()));
  EXPECT_EQ(text_at(body, "metadata.creationTimestamp"), "2023-11-14T22:13:20Z");
  EXPECT_EQ(array_at(body, "metadata.managedFields")->size(), 1u);
  const auto again = objects_->create(services(), "default", service("llama"), as(Role::kAdmin));
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().reason, "AlreadyExists");
}

TEST_F(ObjectsTest, NamesAreCheckedAndGenerated) {
  for (const char* name : {"", "A", "1a", "a.b"}) {
    const auto made = objects_->create(services(), "default", service(name), as(Role::kAdmin));
    ASSERT_FALSE(made.has_value()) << name;
    EXPECT_EQ(made.error().causes.at(0).field, "metadata.name");
  }
  json::object body = config_map("");
  object_of(body, "metadata")["generateName"] = "cm-";
  const Written made = must_create(config_maps(), std::move(body));
  EXPECT_TRUE(made.object->name.starts_with("cm-"));
  EXPECT_EQ(made.object->name.size(), 8u);
}

TEST_F(ObjectsTest, ANamespaceMustBeThere) {
  const auto made = objects_->create(services(), "none", service("a"), as(Role::kAdmin));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().message, "namespaces \"none\" not found");
}

TEST_F(ObjectsTest, UnknownFieldsAreRefusedWarnedAboutOrDropped) {
  const std::string extra = R"("minReplicas":1,"foo":1)";
  WriteOptions options = as(Role::kAdmin);
  options.validation = FieldValidation::kStrict;
  const auto strict = objects_->create(services(), "default", service("a", extra), options);
  ASSERT_FALSE(strict.has_value());
  EXPECT_EQ(strict.error().message, "strict decoding error: unknown field \"spec.predictor.foo\"");
  options.validation = FieldValidation::kWarn;
  const auto warned = objects_->create(services(), "default", service("a", extra), options);
  EXPECT_EQ(warnings_of(warned), std::vector<std::string>{"unknown field \"spec.predictor.foo\""});
  EXPECT_EQ(find_path(warned->object->body, "spec.predictor.foo"), nullptr);
  options.validation = FieldValidation::kIgnore;
  EXPECT_TRUE(
      warnings_of(objects_->create(services(), "default", service("b", extra), options)).empty());
}

TEST_F(ObjectsTest, AnUpdateNeedsTheLatestVersion) {
  const Written made = must_create(services(), service("a"));
  json::object body = made.object->body;
  object_of(object_of(body, "spec"), "predictor")["minReplicas"] = 2;
  const ObjectKey key = key_of(*made.object);
  const auto first = objects_->update(key, Subresource::kNone, body, as(Role::kAdmin));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(integer_at(first->object->body, "metadata.generation"), 2);
  const auto second = objects_->update(key, Subresource::kNone, body, as(Role::kAdmin));
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().reason, "Conflict");
  object_of(body, "metadata").erase("resourceVersion");
  const auto blind = objects_->update(key, Subresource::kNone, body, as(Role::kAdmin));
  ASSERT_TRUE(blind.has_value());
  EXPECT_FALSE(blind->changed);
  EXPECT_EQ(blind->object->version, first->object->version);
}

TEST_F(ObjectsTest, StatusAndSpecificationAreChangedApart) {
  const Written made = must_create(services(), service("a"));
  const ObjectKey key = key_of(*made.object);
  const auto both =
      parsed(R"({"status":{"url":"http://x"},"spec":{"predictor":{"minReplicas":5}}})");
  auto done = objects_->patch(key, Subresource::kStatus, PatchKind::kMerge, both, as(Role::kAdmin));
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(text_at(done->object->body, "status.url"), "http://x");
  EXPECT_EQ(integer_at(done->object->body, "spec.predictor.minReplicas"), 1);
  EXPECT_EQ(integer_at(done->object->body, "metadata.generation"), 1);
  done = objects_->patch(key, Subresource::kNone, PatchKind::kMerge,
                         parsed(R"({"status":{"url":"http://y"},"spec":{"predictor":)"
                                R"({"minReplicas":5}}})"),
                         as(Role::kAdmin));
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(text_at(done->object->body, "status.url"), "http://x");
  EXPECT_EQ(integer_at(done->object->body, "metadata.generation"), 2);
}

TEST_F(ObjectsTest, AReconcilersStatusIsWrittenOnceAndNotOnStaleObjects) {
  const ObjectPtr seen = must_create(services(), service("a")).object;
  const json::object status = parsed_object(R"({"url":"http://x"})");
  const auto first = objects_->update_status(seen, status, as(Role::kAdmin, "sluice"));
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(first->changed);
  const auto again = objects_->update_status(first->object, status, as(Role::kAdmin, "sluice"));
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(again->changed);
  EXPECT_EQ(objects_->update_status(seen, status, as(Role::kAdmin)).error().reason, "Conflict");
}

TEST_F(ObjectsTest, ScaleSetsBothBoundsAndZeroOnlyTheLower) {
  const Written made = must_create(services(), service("a"));
  const ObjectKey key = key_of(*made.object);
  const auto scale = [&](int replicas) {
    return objects_->patch(key, Subresource::kScale, PatchKind::kMerge,
                           json::object{{"spec", json::object{{"replicas", replicas}}}},
                           as(Role::kAdmin));
  };
  auto done = scale(3);
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(integer_at(done->object->body, "spec.predictor.maxReplicas"), 3);
  done = scale(0);
  EXPECT_EQ(integer_at(done->object->body, "spec.predictor.minReplicas"), 0);
  EXPECT_EQ(integer_at(done->object->body, "spec.predictor.maxReplicas"), 3);
  EXPECT_EQ(scale(-1).error().code, 422);
}

TEST_F(ObjectsTest, ADryRunChangesNothing) {
  WriteOptions dry = as(Role::kAdmin);
  dry.dry_run = true;
  const uint64_t version = store_->version();
  const auto made = objects_->create(services(), "default", service("a"), dry);
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(object(services(), "a"), nullptr);
  EXPECT_EQ(store_->version(), version);
}

TEST_F(ObjectsTest, ApplyCreatesAndDefaultsAreNobodys) {
  const ResourceType& providers = *find_kind("sluice.dev/v1alpha1", "Provider");
  const ObjectKey key{&providers, "default", "p"};
  const auto config = parsed(R"({"apiVersion":"sluice.dev/v1alpha1","kind":"Provider",)"
                             R"("metadata":{"name":"p"},"spec":{"url":"https://x"}})");
  const auto made =
      objects_->patch(key, Subresource::kNone, PatchKind::kApply, config, as(Role::kAdmin, "a"));
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_TRUE(made->created);
  EXPECT_EQ(text_at(made->object->body, "spec.protocol"), "openai");
  EXPECT_EQ(
      json::serialize(*find_path(
          array_at(made->object->body, "metadata.managedFields")->at(0).as_object(), "fieldsV1")),
      R"({"f:spec":{"f:url":{}}})");
  const auto again =
      objects_->patch(key, Subresource::kNone, PatchKind::kApply, config, as(Role::kAdmin, "a"));
  EXPECT_FALSE(again->changed);
}

TEST_F(ObjectsTest, FinalizersKeepADeletedObjectUntilTheyGo) {
  json::object body = config_map("a");
  object_of(body, "metadata")["finalizers"] = json::array{"sluice.dev/wait"};
  const ObjectKey key = key_of(*must_create(config_maps(), std::move(body)).object);
  const auto deleted = objects_->remove(key, {});
  ASSERT_TRUE(deleted.has_value());
  EXPECT_FALSE(deleted->gone);
  EXPECT_TRUE(store_->get(key)->deleting());
  const auto freed =
      objects_->patch(key, Subresource::kNone, PatchKind::kMerge,
                      parsed(R"({"metadata":{"finalizers":null}})"), as(Role::kAdmin));
  ASSERT_TRUE(freed.has_value());
  EXPECT_EQ(store_->get(key), nullptr);
}

// A ConfigMap owned by others.
json::object owned_map(std::string_view name, const std::vector<ObjectPtr>& owners) {
  json::object body = config_map(name);
  json::array list;
  for (const ObjectPtr& owner : owners) {
    list.push_back(json::object{{"apiVersion", owner->type->api_version()},
                                {"kind", owner->type->kind},
                                {"name", owner->name},
                                {"uid", owner->uid}});
  }
  object_of(body, "metadata")["ownerReferences"] = std::move(list);
  return body;
}

TEST_F(ObjectsTest, WhatIsOwnedGoesWithItsLastOwner) {
  const ObjectPtr a = must_create(services(), service("a")).object;
  const ObjectPtr b = must_create(services(), service("b")).object;
  const ObjectPtr child = must_create(config_maps(), owned_map("child", {a})).object;
  must_create(config_maps(), owned_map("grandchild", {child}));
  must_create(config_maps(), owned_map("shared", {a, b}));
  ASSERT_TRUE(objects_->remove(key_of(*a), {})->gone);
  EXPECT_EQ(object(config_maps(), "child"), nullptr);
  EXPECT_EQ(object(config_maps(), "grandchild"), nullptr);
  ASSERT_NE(object(config_maps(), "shared"), nullptr);
  EXPECT_EQ(array_at(object(config_maps(), "shared")->body, "metadata.ownerReferences")->size(),
            1u);
  ASSERT_TRUE(objects_
                  ->remove(key_of(*b),
                           {.propagation = Propagation::kOrphan, .uid = {}, .resource_version = {}})
                  ->gone);
  EXPECT_NE(object(config_maps(), "shared"), nullptr);
  EXPECT_EQ(objects_->create(config_maps(), "default", owned_map("late", {a}), as(Role::kAdmin))
                .error()
                .causes.at(0)
                .field,
            "metadata.ownerReferences");
}

TEST_F(ObjectsTest, AForegroundDeletionWaitsForWhatIsOwned) {
  const ObjectPtr owner = must_create(services(), service("a")).object;
  json::object body = owned_map("child", {owner});
  object_of(body, "metadata")["finalizers"] = json::array{"sluice.dev/wait"};
  const ObjectKey child = key_of(*must_create(config_maps(), std::move(body)).object);
  DeleteOptions options;
  options.propagation = Propagation::kForeground;
  EXPECT_FALSE(objects_->remove(key_of(*owner), options)->gone);
  ASSERT_TRUE(object(services(), "a")->deleting());
  ASSERT_TRUE(objects_
                  ->patch(child, Subresource::kNone, PatchKind::kMerge,
                          parsed(R"({"metadata":{"finalizers":[]}})"), as(Role::kAdmin))
                  .has_value());
  EXPECT_EQ(store_->get(child), nullptr);
  EXPECT_EQ(object(services(), "a"), nullptr);
}

// An item that has none of the keys of its list is an item all the same: what it owns is written
// down so that it can be read again.
TEST_F(ObjectsTest, AnItemWithoutItsKeyDoesNotLockTheObject) {
  const auto with = [](std::string_view containers) {
    return parsed_object(R"({"metadata":{"name":"r"},"spec":{"containers":)" +
                         std::string(containers) + "}}");
  };
  const ResourceType& runtimes = *find_kind("serving.kserve.io/v1alpha1", "ServingRuntime");
  must_create(runtimes, with(R"([{"command":["sluice"]}])"));
  for (const char* command : {R"([{"command":["sluice","a"]}])", R"([{"command":["sluice"]}])"}) {
    json::object body = object(runtimes, "r")->body;
    body["spec"] = with(command).at("spec");
    const auto written = objects_->update({&runtimes, "default", "r"}, Subresource::kNone,
                                          std::move(body), as(Role::kAdmin));
    ASSERT_TRUE(written.has_value()) << written.error().message;
  }
}

TEST_F(ObjectsTest, ANamespaceGoesWithItsContents) {
  must_create(namespaces(), parsed_object(R"({"metadata":{"name":"demo"}})"), "");
  must_create(services(), service("a"), "demo");
  EXPECT_FALSE(objects_->remove({&namespaces(), "", "demo"}, {})->gone);
  const auto late = objects_->create(services(), "demo", service("b"), as(Role::kAdmin));
  EXPECT_EQ(late.error().code, 403);
  objects_->sweep();
  EXPECT_NE(object(services(), "a", "demo"), nullptr);
  clock_.advance(std::chrono::seconds(3));
  objects_->sweep();
  EXPECT_EQ(object(services(), "a", "demo"), nullptr);
  EXPECT_EQ(object(namespaces(), "demo", ""), nullptr);
  EXPECT_EQ(objects_->remove({&namespaces(), "", "default"}, {}).error().code, 403);
}

TEST_F(ObjectsTest, PreconditionsGuardADeletion) {
  const ObjectKey key = key_of(*must_create(config_maps(), config_map("a")).object);
  DeleteOptions options;
  options.uid = "other";
  EXPECT_EQ(objects_->remove(key, options).error().reason, "Conflict");
  EXPECT_NE(store_->get(key), nullptr);
}

TEST_F(ObjectsTest, EventsAreCountedAndExpire) {
  const ObjectPtr about = must_create(services(), service("a")).object;
  EventRecorder recorder(*objects_, "sluice-test");
  recorder.record(*about, EventKind::kNormal, "Started", "replica 1 has started");
  recorder.record(*about, EventKind::kNormal, "Started", "replica 1 has started");
  recorder.record(*about, EventKind::kWarning, "Failed", "replica 2 has failed");
  const ResourceType& events = *find_kind("v1", "Event");
  const auto listing = store_->list(events, "default");
  ASSERT_EQ(listing.objects.size(), 2u);
  int64_t most = 0;
  for (const ObjectPtr& event : listing.objects) {
    most = std::max(most, *integer_at(event->body, "count"));
    EXPECT_EQ(text_at(event->body, "involvedObject.uid"), about->uid);
  }
  EXPECT_EQ(most, 2);
  clock_.advance(std::chrono::hours(2));
  expire_events(*objects_);
  EXPECT_TRUE(store_->list(events, {}).objects.empty());
}

TEST_F(ObjectsTest, WatchesSeeEveryChangeInOrder) {
  const uint64_t from = store_->version();
  must_create(config_maps(), config_map("early"));
  std::vector<std::string> seen;
  const Watcher watcher = [&](const Change& change) {
    if (change.object) {
      seen.push_back(change.object->name + "@" + std::to_string(change.version - from));
    }
    return seen.size() < 3;
  };
  ASSERT_TRUE(store_->subscribe(&config_maps(), from, watcher).has_value());
  must_create(services(), service("other-kind"));
  must_create(config_maps(), config_map("late"));
  ASSERT_TRUE(objects_->remove({&config_maps(), "default", "early"}, {}).has_value());
  EXPECT_EQ(store_->watchers(), 0u);
  must_create(config_maps(), config_map("unseen"));
  EXPECT_EQ(seen, (std::vector<std::string>{"early@1", "late@3", "early@4"}));
}

TEST_F(ObjectsTest, ManyWritersReadersAndWatchersAgree) {
  constexpr int kWriters = 3;
  constexpr int kRounds = 40;
  const ObjectKey key = key_of(*must_create(config_maps(), config_map("shared")).object);
  // Called under the commits' order: versions only grow.
  std::atomic<uint64_t> last{0};
  std::atomic<int> out_of_order{0};
  ASSERT_TRUE(store_->subscribe(nullptr, store_->version(), [&](const Change& change) {
    if (change.version <= last.exchange(change.version)) ++out_of_order;
    return true;
  }));
  std::atomic<int> changed{0};
  std::vector<std::jthread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      for (int round = 0; round < kRounds; ++round) {
        json::object data{{"writer" + std::to_string(writer), std::to_string(round)}};
        const auto done = objects_->patch(key, Subresource::kNone, PatchKind::kMerge,
                                          json::object{{"data", std::move(data)}},
                                          as(Role::kAdmin, "w" + std::to_string(writer)));
        if (done && done->changed) ++changed;
        store_->list(config_maps(), "default");
      }
    });
  }
  threads.clear();
  EXPECT_EQ(out_of_order, 0);
  EXPECT_EQ(changed, kWriters * kRounds);
  EXPECT_EQ(last, store_->version());
  EXPECT_EQ(object_at(store_->get(key)->body, "data")->size(), 1u + kWriters);
}

class SmallStoreTest : public ObjectsTest {
 protected:
  void SetUp() override {
    limits_.objects = 4;
    limits_.history = 3;
    limits_.watchers = 1;
    ObjectsTest::SetUp();
  }
};

TEST_F(SmallStoreTest, EveryLimitHoldsAndSaysSo) {
  const uint64_t from = store_->version();
  for (const char* name : {"a", "b", "c"}) must_create(config_maps(), config_map(name));
  const auto full = objects_->create(config_maps(), "default", config_map("d"), as(Role::kAdmin));
  ASSERT_FALSE(full.has_value());
  EXPECT_TRUE(full.error().message.contains("at most 4 objects"));
  ASSERT_TRUE(objects_->remove({&config_maps(), "default", "a"}, {}).has_value());
  const auto quiet = [](const Change&) { return true; };
  EXPECT_EQ(store_->subscribe(nullptr, from, quiet).error().code, 410);
  ASSERT_TRUE(store_->subscribe(nullptr, store_->version(), quiet).has_value());
  EXPECT_EQ(store_->subscribe(nullptr, store_->version(), quiet).error().code, 429);
  EXPECT_EQ(store_->subscribe(nullptr, 10'000, quiet).error().code, 429);
}

class StoreFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("control_test." + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(StoreFileTest, ObjectsAndTheirVersionOutliveTheProcess) {
  uint64_t version = 0;
  std::string text;
  {
    auto store = ObjectStore::open(folder_ / "c.db");
    ASSERT_TRUE(store.has_value()) << store.error().message();
    Objects objects(**store);
    ASSERT_TRUE(objects.bootstrap().has_value());
    ASSERT_TRUE(objects.create(services(), "default", service("a"), as(Role::kAdmin)));
    ASSERT_TRUE(objects.create(services(), "default", service("b"), as(Role::kAdmin)));
    ASSERT_TRUE(objects.remove({&services(), "default", "b"}, {}).has_value());
    version = (*store)->version();
    text = *(*store)->get({&services(), "default", "a"})->text;
  }
  auto store = ObjectStore::open(folder_ / "c.db");
  ASSERT_TRUE(store.has_value()) << store.error().message();
  EXPECT_EQ((*store)->version(), version);
  EXPECT_EQ(*(*store)->get({&services(), "default", "a"})->text, text);
  EXPECT_EQ((*store)->get({&services(), "default", "b"}), nullptr);
  const auto gone = (*store)->subscribe(nullptr, version - 1, [](const Change&) { return true; });
  EXPECT_EQ(gone.error().code, 410);
}

TEST_F(StoreFileTest, ADamagedFileIsRefusedByName) {
  ASSERT_TRUE(write_file_atomically(folder_ / "c.db", std::string(8192, 'x')));
  const auto store = ObjectStore::open(folder_ / "c.db");
  ASSERT_FALSE(store.has_value());
  EXPECT_TRUE(store.error().message().contains("c.db"));
}

TEST_F(StoreFileTest, AnEmptiedFileIsNotTakenForANewOne) {
  constexpr auto kUsed = ObjectStore::Expect::kObjects;
  EXPECT_TRUE(ObjectStore::open(folder_ / "moved-away.db", {}, kUsed)) << "begins with none";
  ASSERT_TRUE(write_file_atomically(folder_ / "c.db", ""));
  const auto store = ObjectStore::open(folder_ / "c.db", {}, kUsed);
  ASSERT_FALSE(store.has_value());
  EXPECT_TRUE(store.error().message().contains("c.db")) << store.error().message();
  EXPECT_TRUE(store.error().message().contains("empty")) << store.error().message();
  EXPECT_EQ(fs::file_size(folder_ / "c.db"), 0u) << "as it was found";
  EXPECT_TRUE(ObjectStore::open(folder_ / "c.db")) << "a start that was cut off";
}

TEST_F(StoreFileTest, KubeconfigsAreWrittenOnlyWhereTheyDiffer) {
  ASSERT_TRUE(ensure_tokens(folder_).has_value());
  const auto certificate = ensure_certificate(folder_, "127.0.0.1");
  ASSERT_TRUE(certificate.has_value()) << certificate.error().message();
  const auto path = kubeconfig_path(folder_, Role::kAdmin);
  const auto number = [&](uint16_t port) {
    EXPECT_TRUE(write_kubeconfigs(folder_, "127.0.0.1", port, *certificate).has_value());
    struct stat info{};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
    return info.st_ino;
  };
  const auto first = number(8001);
  EXPECT_EQ(number(8001), first) << "a full disk keeps no controller from starting";
  const fs::path kept = folder_ / "kept";  // so that its number is not given again
  fs::create_hard_link(path, kept);
  EXPECT_NE(number(8002), first);
  EXPECT_TRUE(read_file(path, 1u << 20)->contains(":8002"));
  fs::permissions(path, fs::perms::others_read, fs::perm_options::add);
  number(8002);
}

}  // namespace
}  // namespace sluice::control
