#include "platform/model_store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>

#include "platform/model_place.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;

class ModelStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) /
            (fmt::format("model-store-{}-", ::getpid()) +
             testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    fs::create_directories(root_ / "folder");
    put(root_ / "m.gguf");
  }
  void TearDown() override { fs::remove_all(root_); }

  static void put(const fs::path& path) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "GGUF and more";
  }

  ModelStoreOptions options() {
    ModelStoreOptions out{.cache = registry::ModelCache(root_ / "cache")};
    out.volumes["claim"] = root_ / "volume";
    out.pull = [this](const std::string& uri, const registry::PullOptions& pull) {
      return pulled(uri, pull);
    };
    return out;
  }

  // Waits for the gate, then does what the test says.
  Result<registry::PullResult> pulled(const std::string& uri, const registry::PullOptions& pull) {
    std::unique_lock lock(mutex_);
    ++running_;
    most_running_ = std::max(most_running_, running_);
    tokens_.insert(pull.hub.token);
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --running_;
    ++pulls_;
    lock.unlock();
    if (!pull.on_progress({.file = "m", .done = 3, .total = 10})) {
      return fail(Code::kCancelled, "stopped");
    }
    if (!failure_.empty()) return fail(failure_code_, failure_);
    put(root_ / "pulled" / "m.gguf");
    registry::PullResult result;
    result.path = root_ / "pulled" / "m.gguf";
    result.fetched_bytes = uri.size();
    return result;
  }

  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

  // Waits until the store has told of the uri so many times.
  void watch(ModelStore& store) {
    store.on_change([this](const std::string& uri) {
      const std::lock_guard lock(mutex_);
      ++told_[uri];
      changed_.notify_all();
    });
  }
  template <typename F>
  void wait_for(F&& done) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, done);
  }

  fs::path root_;
  ManualClock clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int running_ = 0;
  int most_running_ = 0;
  int pulls_ = 0;
  std::set<std::string> tokens_;
  std::map<std::string, int> told_;
  std::string failure_;
  Code failure_code_ = Code::kUnavailable;
};

TEST_F(ModelStoreTest, FilesAreLookedAtEachTime) {
  ModelStore store(options(), clock_);
  const std::string path = (root_ / "m.gguf").string();
  for (const std::string& uri : {path, "file://" + path}) {
    const ModelView view = store.want(uri);
    EXPECT_EQ(view.phase, ModelPhase::kReady) << view.error;
    EXPECT_EQ(view.path, path);
  }
  fs::remove(path);
  const ModelView gone = store.want(path);
  EXPECT_EQ(gone.phase, ModelPhase::kFailed);
  EXPECT_FALSE(gone.final) << "it may come";
  EXPECT_TRUE(gone.error.contains("there is nothing at")) << gone.error;
}

TEST_F(ModelStoreTest, AFolderWithOneGgufStandsForIt) {
  const fs::path folder = root_ / "folder";
  EXPECT_EQ(model_in(folder), folder.string());
  put(folder / "a-00001-of-00002.gguf");
  EXPECT_EQ(model_in(folder), folder.string()) << "a shard is missing";
  put(folder / "a-00002-of-00002.gguf");
  EXPECT_EQ(model_in(folder), (folder / "a-00001-of-00002.gguf").string());
  put(folder / "b.gguf");
  EXPECT_EQ(model_in(folder), folder.string()) << "which one is not said";
  put(root_ / "hf" / "config.json");
  put(root_ / "hf" / "m.gguf");
  EXPECT_EQ(model_in(root_ / "hf"), (root_ / "hf").string());
}

TEST_F(ModelStoreTest, AClaimIsAFolderThatNothingLeadsOutOf) {
  ModelStore store(options(), clock_);
  EXPECT_TRUE(
      store.want("pvc://claim/m.gguf").error.contains("of the claim \"claim\" is not there"));
  put(root_ / "volume" / "models" / "m.gguf");
  fs::create_symlink(root_ / "m.gguf", root_ / "volume" / "out.gguf");
  const ModelView view = store.want("pvc://claim/models/m.gguf");
  EXPECT_EQ(view.phase, ModelPhase::kReady) << view.error;
  EXPECT_EQ(store.want("pvc://claim/models").path, view.path);
  for (const std::string path : {"../m.gguf", "models/../../m.gguf", "out.gguf", "/etc/passwd"}) {
    const ModelView out = store.want("pvc://claim/" + path);
    EXPECT_EQ(out.phase, ModelPhase::kFailed) << path;
    EXPECT_TRUE(out.final && out.error.contains("leads out of")) << path << ": " << out.error;
  }
  const ModelView unmapped = store.want("pvc://other/x");
  EXPECT_TRUE(unmapped.final && unmapped.error.contains("mapped are: claim")) << unmapped.error;
}

TEST_F(ModelStoreTest, PullsOnceAndTells) {
  open_ = false;
  ModelStore store(options(), clock_);
  watch(store);
  const std::string uri = "hf://owner/model";
  EXPECT_EQ(store.want(uri).phase, ModelPhase::kPulling);
  EXPECT_EQ(store.want(uri).phase, ModelPhase::kPulling);
  open();
  wait_for([&] { return told_[uri] >= 2; });  // of progress, and of the end
  const ModelView view = store.want(uri);
  EXPECT_EQ(view.phase, ModelPhase::kReady) << view.error;
  EXPECT_EQ(view.path, (root_ / "pulled" / "m.gguf").string());
  EXPECT_EQ(pulls_, 1);
  EXPECT_EQ(store.want(uri).phase, ModelPhase::kReady);
  EXPECT_EQ(pulls_, 1);
  fs::remove(view.path);  // somebody tidied up
  EXPECT_EQ(store.want(uri).phase, ModelPhase::kPulling);
  wait_for([&] { return told_[uri] >= 4; });
  EXPECT_EQ(store.want(uri).phase, ModelPhase::kReady);
}

TEST_F(ModelStoreTest, NoMorePullsAtATimeThanAllowed) {
  open_ = false;
  ModelStoreOptions given = options();
  given.pulls = 2;
  ModelStore store(std::move(given), clock_);
  watch(store);
  for (int i = 0; i < 6; ++i) store.want("hf://owner/model" + std::to_string(i), "token");
  wait_for([&] { return running_ == 2; });
  open();
  wait_for([&] { return pulls_ == 6; });
  EXPECT_LE(most_running_, 2);
  EXPECT_EQ(tokens_, std::set<std::string>{"token"});
}

TEST_F(ModelStoreTest, AFailureIsTriedAgainWithGrowingPauses) {
  failure_ = "the hub is away";
  ModelStore store(options(), clock_);
  watch(store);
  const std::string uri = "https://models.example/m.gguf";
  store.want(uri);
  wait_for([&] { return told_[uri] >= 2; });
  ModelView view = store.want(uri);
  EXPECT_EQ(view.phase, ModelPhase::kFailed);
  EXPECT_EQ(view.error, "the hub is away");
  EXPECT_FALSE(view.final);
  EXPECT_EQ(view.retry_at, clock_.now() + std::chrono::seconds(5));
  clock_.advance(std::chrono::seconds(5));
  EXPECT_EQ(store.want(uri).phase, ModelPhase::kPulling);
  wait_for([&] { return pulls_ == 2 && told_[uri] >= 4; });
  view = store.want(uri);
  EXPECT_EQ(view.attempts, 2);
  EXPECT_EQ(view.retry_at, clock_.now() + std::chrono::seconds(10));
  failure_code_ = Code::kInvalidArgument;
  clock_.advance(std::chrono::seconds(10));
  store.want(uri);
  wait_for([&] { return pulls_ == 3 && told_[uri] >= 6; });
  EXPECT_TRUE(store.want(uri).final);
  clock_.advance(std::chrono::hours(1));
  EXPECT_EQ(store.want(uri).phase, ModelPhase::kFailed) << "the uri itself is wrong";
}

TEST_F(ModelStoreTest, WhatTheCacheHoldsNeedsNoNetwork) {
  const registry::ModelCache cache(root_ / "cache");
  registry::PullOptions pull;
  pull.name = "mine";
  auto pulled = registry::pull(cache, (root_ / "m.gguf").string(), pull);
  ASSERT_TRUE(pulled.has_value()) << pulled.error().message();
  registry::Manifest manifest = pulled->manifest;
  manifest.source = "hf://owner/model:main";  // as a pull from the hub writes it
  ASSERT_TRUE(cache.commit(manifest).has_value());
  ModelStore store(options(), clock_);
  const ModelView view = store.want("hf://owner/model");
  EXPECT_EQ(view.phase, ModelPhase::kReady) << view.error;
  EXPECT_EQ(view.path, pulled->path.string());
  EXPECT_EQ(pulls_, 0);
}

// A later store over the same cache, as after a restart.
TEST_F(ModelStoreTest, WhatOneTokenOpenedIsNotAnotherOnes) {
  const std::string uri = "hf://owner/model";
  const registry::ModelCache cache(root_ / "cache");
  std::set<std::string> names;
  bool proves = true;
  ModelStoreOptions given = options();
  given.pull = [&](const std::string&, const registry::PullOptions& pull) {
    const std::lock_guard lock(mutex_);
    proves = proves && pull.prove_access;
    names.insert(pull.name);
    ++pulls_;
    registry::PullOptions local;
    local.name = pull.name;
    auto result = registry::pull(cache, (root_ / "m.gguf").string(), local);
    result->manifest.source = "hf://owner/model:main";
    EXPECT_TRUE(cache.commit(result->manifest).has_value());
    return result;
  };
  const auto phase = [&](const std::string& token) {
    ModelStore store(given, clock_);
    return store.want(uri, token).phase;
  };
  {
    ModelStore store(given, clock_);
    watch(store);
    store.want(uri, "one");
    wait_for([&] { return told_[uri] >= 1; });
    EXPECT_EQ(store.want(uri, "one").phase, ModelPhase::kReady);
    EXPECT_EQ(store.want(uri, "two").phase, ModelPhase::kPulling);
    wait_for([&] { return told_[uri] >= 2; });
  }
  EXPECT_EQ(pulls_, 2);
  EXPECT_EQ(phase("one"), ModelPhase::kReady);
  EXPECT_EQ(phase("two"), ModelPhase::kReady);
  EXPECT_EQ(pulls_, 2) << "it is in the cache";
  EXPECT_EQ(phase(""), ModelPhase::kPulling);
  EXPECT_EQ(phase("three"), ModelPhase::kPulling);
  EXPECT_TRUE(proves);
  for (const std::string& name : names) {
    EXPECT_EQ(name.find("one"), std::string::npos) << "a token is no name";
  }
}

TEST_F(ModelStoreTest, EndsWhileSomethingIsPulled) {
  open_ = false;
  {
    ModelStore store(options(), clock_);
    store.want("hf://owner/model");
    wait_for([&] { return running_ == 1; });
    open();
  }
  EXPECT_EQ(running_, 0);
}

}  // namespace
}  // namespace sluice::platform
