#include "platform/model_checks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string_view>

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;

class ModelChecksTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / fmt::format("model-checks-{}", ::getpid());
    fs::remove_all(root_);
    fs::create_directories(root_ / "folder");
  }
  void TearDown() override { fs::remove_all(root_); }
  void put(std::string_view name, std::string_view text) { std::ofstream(root_ / name) << text; }
  bool passes(std::string_view name) { return checks_((root_ / name).string()).has_value(); }

  fs::path root_;
  int asked_ = 0;
  bool good_ = true;
  ModelChecks checks_{[this](const std::string&) -> Result<int64_t> {
    ++asked_;
    if (good_) return 4;
    return fail(Code::kDataLoss, "the file is cut off");
  }};
};

TEST_F(ModelChecksTest, AsksOnceForEachStateOfAFile) {
  put("m.gguf", "GGUF");
  good_ = false;
  EXPECT_FALSE(passes("m.gguf"));
  good_ = true;
  EXPECT_FALSE(passes("m.gguf")) << "what is known of it";
  EXPECT_EQ(asked_, 1);
  put("m.gguf", "GGUF and the rest");
  EXPECT_TRUE(passes("m.gguf"));
  put("other.gguf", "GGUF");
  EXPECT_TRUE(passes("m.gguf")) << "another file is no matter of it";
  EXPECT_EQ(asked_, 2);
  EXPECT_TRUE(passes("other.gguf"));
  EXPECT_EQ(asked_, 3);
}

TEST_F(ModelChecksTest, SeesEveryFileOfAFolderAndEveryShard) {
  put("folder/config.json", "{}");
  put("m-00001-of-00002.gguf", "GGUF");
  good_ = false;
  EXPECT_FALSE(passes("folder"));
  EXPECT_FALSE(passes("m-00001-of-00002.gguf"));
  good_ = true;
  put("folder/model.safetensors", "tensors");
  put("m-00002-of-00002.gguf", "GGUF");
  EXPECT_TRUE(passes("folder"));
  EXPECT_TRUE(passes("m-00001-of-00002.gguf"));
  EXPECT_EQ(asked_, 4);
}

TEST_F(ModelChecksTest, RemembersNothingOfWhatIsNotThere) {
  good_ = false;
  EXPECT_FALSE(passes("m.gguf"));
  good_ = true;
  EXPECT_TRUE(passes("m.gguf"));
}

}  // namespace
}  // namespace sluice::platform
