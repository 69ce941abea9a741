#include "registry/model_cache.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/log.h"
#include "registry/test_support.h"

namespace sluice::registry {
namespace {

namespace fs = std::filesystem;

class Cache : public ::testing::Test {
 protected:
  // Stores `bytes` as a file of a model.
  ModelFile store(const std::string& path, const std::string& bytes) {
    auto stored = try_store({.path = path}, bytes);
    EXPECT_TRUE(stored) << stored.error().message();
    return stored.value_or(ModelFile{});
  }

  Result<ModelFile> try_store(const ModelFile& expected, const std::string& bytes) {
    SLUICE_ASSIGN_OR_RETURN(PartialBlob blob, cache_.begin_blob("key", {}));
    EXPECT_EQ(::pwrite(blob.fd(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    return cache_.finish_blob(std::move(blob), expected);
  }

  fs::path blob(const ModelFile& file) const {
    return folder_.path() / "blobs" / ("sha256-" + file.digest.substr(7));
  }

  testing::TempFolder folder_;
  ModelCache cache_{folder_.path()};
};

TEST_F(Cache, ANameLeadsToItsFiles) {
  const ModelFile gguf = store("m.gguf", "weights");
  ASSERT_TRUE(cache_.commit({.name = "owner/m:v1", .source = "s", .files = {gguf}}));
  const auto path = cache_.resolve("owner/m:v1");
  ASSERT_TRUE(path) << path.error().message();
  EXPECT_EQ(path->filename(), "m.gguf");
  EXPECT_EQ(testing::read(*path), "weights");

  const ModelFile config = store("config.json", "{}");
  const ModelFile weights = store("sub/model.safetensors", "weights");
  ASSERT_TRUE(cache_.commit({.name = "folder", .files = {config, weights}}));
  const auto folder = cache_.resolve("folder");
  ASSERT_TRUE(folder) << folder.error().message();
  EXPECT_EQ(testing::read(*folder / "config.json"), "{}");
  EXPECT_EQ(testing::read(*folder / "sub" / "model.safetensors"), "weights");
  EXPECT_EQ(weights.digest, gguf.digest) << "equal bytes are stored once";

  const auto all = cache_.list();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name, "folder");
  EXPECT_EQ(all[1].name, "owner/m:v1");
  EXPECT_EQ(all[1].files.at(0).bytes, 7u);
}

TEST_F(Cache, ANameIsReplacedAndOldFilesStayReadable) {
  ASSERT_TRUE(cache_.commit({.name = "m", .files = {store("m.gguf", "old")}}));
  const auto old_path = cache_.resolve("m");
  ASSERT_TRUE(cache_.commit({.name = "m", .files = {store("m.gguf", "new")}}));
  EXPECT_EQ(testing::read(*cache_.resolve("m")), "new");
  EXPECT_EQ(testing::read(*old_path), "old");
}

TEST_F(Cache, UnknownAndImpossibleNamesAreNotFound) {
  folder_.write("secret.json", "{}");
  for (const char* name : {"none", "", "../secret", "..", "/etc/passwd", "a/../../secret", "a//b",
                           "%2e%2e/secret", "a=b"}) {
    const auto path = cache_.resolve(name);
    ASSERT_FALSE(path) << name;
    EXPECT_EQ(path.error().code(), Code::kNotFound) << name;
  }
  EXPECT_FALSE(cache_.begin_blob("../x", {}));
  EXPECT_FALSE(cache_.commit({.name = "../x", .files = {store("m.gguf", "w")}}));
}

TEST_F(Cache, BlobsAreReadOnlyAndWrongBytesNeverBecomeOne) {
  const ModelFile good = store("m.gguf", "weights");
  EXPECT_EQ(fs::status(blob(good)).permissions(),
            fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  const auto digest = try_store({.path = "m.gguf", .digest = good.digest}, "wrights");
  ASSERT_FALSE(digest);
  EXPECT_EQ(digest.error().code(), Code::kDataLoss);
  EXPECT_NE(digest.error().message().find(good.digest + " expected"), std::string::npos);
  EXPECT_NE(digest.error().message().find(sha256_text("wrights") + " found"), std::string::npos);
  EXPECT_FALSE(try_store({.path = "m.gguf", .bytes = 8}, "weights"));
  EXPECT_EQ(cache_.begin_blob("key", {})->bytes(), 0u) << "thrown away";
}

TEST_F(Cache, DamageIsSeenAndRepairedByTheNextCommit) {
  const ModelFile file = store("m.gguf", "weights");
  const Manifest manifest{.name = "m", .source = "there", .files = {file}};
  ASSERT_TRUE(cache_.commit(manifest));
  const fs::path link = *cache_.resolve("m");
  fs::remove(link);
  fs::create_symlink("/etc/passwd", link);
  const auto led_astray = cache_.resolve("m");
  ASSERT_FALSE(led_astray);
  EXPECT_EQ(led_astray.error().code(), Code::kDataLoss);
  ASSERT_TRUE(cache_.commit(manifest));
  EXPECT_EQ(testing::read(*cache_.resolve("m")), "weights");

  fs::remove(blob(file));
  fs::create_symlink("/etc/hostname", blob(file));
  EXPECT_FALSE(cache_.resolve("m")) << "a link in place of a blob";
  fs::remove(blob(file));
  EXPECT_FALSE(cache_.resolve("m")) << "no blob";
  EXPECT_FALSE(cache_.commit(manifest)) << "nothing to link to";
  folder_.write("blobs/" + blob(file).filename().string(), "weight");
  EXPECT_FALSE(cache_.resolve("m")) << "a blob of another size";
}

TEST_F(Cache, ForeignManifestsCannotLeadOutOfTheCache) {
  set_log_level(LogLevel::kOff);
  ASSERT_TRUE(cache_.commit({.name = "m", .files = {store("m.gguf", "weights")}}));
  const fs::path path = folder_.path() / "names" / "m.json";
  const std::string good = testing::read(path);
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    folder_.write("names/m.json", text);
    return cache_.resolve("m").has_value();
  };
  EXPECT_TRUE(with("m.gguf", "m.gguf"));
  EXPECT_FALSE(with("m.gguf", "../../../m.gguf"));
  EXPECT_FALSE(with("m.gguf", "/etc/passwd"));
  EXPECT_FALSE(with("sha256:", "sha256:../"));
  EXPECT_FALSE(with("\"bytes\":7", "\"bytes\":-7"));
  EXPECT_FALSE(with("\"version\":1", "\"version\":2"));
  EXPECT_FALSE(with("{", ""));
  folder_.write("names/other.json", good);
  folder_.write("names/m.json", good);
  EXPECT_EQ(cache_.list().size(), 1u) << "a manifest under another name is left out";
}

TEST_F(Cache, ManifestsReadBackWhatWasWritten) {
  const Manifest manifest{.name = "a/b",
                          .source = "hf://a/b:main",
                          .revision = "r",
                          .files = {{.path = "x.gguf", .bytes = 3, .digest = sha256_text("x")},
                                    {.path = "s/y.gguf", .bytes = 0, .digest = sha256_text("")}}};
  const auto back = parse_manifest(manifest_text(manifest));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(manifest_text(*back), manifest_text(manifest));
  EXPECT_EQ(back->content_digest(), manifest.content_digest());
  EXPECT_EQ(back->bytes(), 3u);
}

TEST(CachePlace, FollowsTheEnvironment) {
  ::setenv("HOME", "/h", 1);
  ::unsetenv("XDG_CACHE_HOME");
  ::unsetenv("SLUICE_CACHE");
  EXPECT_EQ(ModelCache::of_environment()->root(), "/h/.cache/sluice");
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(ModelCache::of_environment()->root(), "/x/sluice");
  ::setenv("SLUICE_CACHE", "/s", 1);
  EXPECT_EQ(ModelCache::of_environment()->root(), "/s");
  ::unsetenv("XDG_CACHE_HOME");
  ::unsetenv("SLUICE_CACHE");
  ::unsetenv("HOME");
  EXPECT_FALSE(ModelCache::of_environment());
}

}  // namespace
}  // namespace sluice::registry
