#include "cli/model_path.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "registry/pull.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

class ModelPath : public ::testing::Test {
 protected:
  ModelPath() {
    folder_ = fs::temp_directory_path() / fmt::format("sluice_model_path_{}", ::getpid());
    fs::create_directories(folder_);
    ::setenv("SLUICE_CACHE", (folder_ / "cache").c_str(), 1);
    EXPECT_TRUE(write_file_atomically(folder_ / "m.gguf", "GGUF"));
  }
  ~ModelPath() override {
    ::unsetenv("SLUICE_CACHE");
    fs::remove_all(folder_);
  }

  void cache_as(const std::string& name) const {
    registry::PullOptions options;
    options.name = name;
    const auto pulled = registry::pull(*registry::ModelCache::of_environment(),
                                       (folder_ / "m.gguf").string(), options);
    ASSERT_TRUE(pulled) << pulled.error().message();
  }

  fs::path folder_;
};

TEST_F(ModelPath, AFileIsNamedAfterItselfOrAsGiven) {
  const std::string path = (folder_ / "m.gguf").string();
  EXPECT_EQ(resolve_model(path)->names.at(0), "m");
  EXPECT_EQ(resolve_model(path + "=mine")->names.at(0), "mine");
  EXPECT_EQ(resolve_model(path + "=mine")->path, path);
  EXPECT_FALSE(resolve_model(path + "="));
}

TEST_F(ModelPath, ACachedNameLeadsIntoTheCache) {
  cache_as("owner/model:v1");
  const auto found = resolve_model("owner/model:v1");
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->names.at(0), "owner/model:v1");
  EXPECT_EQ(read_file(found->path, 16).value_or(""), "GGUF");
  EXPECT_EQ(found->path.filename(), "m.gguf");
  const auto renamed = resolve_model("owner/model:v1=mine");
  ASSERT_TRUE(renamed) << renamed.error().message();
  EXPECT_EQ(renamed->names.at(0), "mine");
  EXPECT_EQ(renamed->path, found->path);
}

TEST_F(ModelPath, APathWinsOverACachedName) {
  const fs::path before = fs::current_path();
  cache_as("m.gguf");
  fs::current_path(folder_);
  const auto found = resolve_model("m.gguf");
  fs::current_path(before);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->path, "m.gguf");
}

TEST_F(ModelPath, WhatIsNeitherIsRefusedAndDamageIsNamed) {
  const auto none = resolve_model("none");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), Code::kNotFound);
  EXPECT_NE(none.error().message().find("sluice pull"), std::string::npos);
  cache_as("m");
  for (const auto& entry : fs::directory_iterator(folder_ / "cache" / "blobs")) {
    if (entry.is_regular_file()) fs::remove(entry.path());
  }
  const auto damaged = resolve_model("m");
  ASSERT_FALSE(damaged);
  EXPECT_NE(damaged.error().message().find("damaged"), std::string::npos);
}

TEST_F(ModelPath, OfARepository) {
  const fs::path repository = folder_ / "repository";
  fs::create_directories(repository / "folder");
  fs::create_directories(repository / "other");
  EXPECT_FALSE(models_in(repository).has_value());
  EXPECT_FALSE(models_in(repository / "none").has_value());
  for (const char* name : {"b.gguf", "a.gguf", "part-00001-of-00002.gguf",
                           "part-00002-of-00002.gguf", "notes.txt", "folder/config.json"}) {
    ASSERT_TRUE(write_file_atomically(repository / name, "x"));
  }
  const auto models = models_in(repository);
  ASSERT_TRUE(models) << models.error().message();
  std::string names;
  for (const auto& each : *models) names += each.names.front() + " ";
  EXPECT_EQ(names, "a b folder part-00001-of-00002 ");
}

}  // namespace
}  // namespace sluice::cli
