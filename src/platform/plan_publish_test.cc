// Plans on their way into the file that the gateway reads.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/files.h"
#include "platform/plan_writer.h"
#include "platform/plan_writer_test_support.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;

class PublishTest : public PlanWriterTest {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "publish-plan";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    settings_.secrets_folder = folder_ / "secrets";
    settings_.control_token_file = folder_ / "token";
    ASSERT_TRUE(write_file_atomically(folder_ / "token", "t").has_value());
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<bool> publish() {
    return publish_plan(write_plan(input_, settings_), folder_ / "gateway.json",
                        settings_.secrets_folder);
  }
  std::string first_secret() const { return write_plan(input_, settings_).secrets.front().name; }
  size_t secret_files() const {
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(settings_.secrets_folder)) {
      count += entry.is_regular_file() ? 1 : 0;
    }
    return count;
  }
  static unsigned mode(const fs::path& path) {
    struct stat found{};
    EXPECT_EQ(::stat(path.c_str(), &found), 0);
    return found.st_mode & 0777;
  }

  fs::path folder_;
};

TEST_F(PublishTest, WritesWhereItDiffersAndTidiesUp) {
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(publish().value(), false);
  EXPECT_EQ(mode(folder_ / "gateway.json"), 0600u);
  EXPECT_EQ(mode(settings_.secrets_folder), 0700u);
  revision("default", "s-predictor-00001");
  service("default", "s", {{"s-predictor-00001", 100}});
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(secret_files(), 1u);
  const auto taken = plan::load_plan(folder_ / "gateway.json");
  ASSERT_TRUE(taken.has_value()) << taken.error().message();
  for (const auto& entry : fs::directory_iterator(settings_.secrets_folder)) {
    EXPECT_EQ(mode(entry.path()), 0600u);
  }
  input_.services.clear();
  input_.revisions.clear();
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(secret_files(), 1u) << "the gateway may still be reading the plan before";
  settings_.max_held = 5;
  settings_.base["usage"] = json::object{{"path", "/x"}};
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(secret_files(), 0u);
}

TEST_F(PublishTest, AThousandServices) {
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "service-number-" + std::to_string(i);
    revision("default", name + "-predictor-00001", kSluice, 2);
    service("default", name, {{name + "-predictor-00001", 100}});
  }
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(secret_files(), 1000u);
  EXPECT_EQ(publish().value(), false);
  const fs::path emptied = settings_.secrets_folder / first_secret();
  ASSERT_TRUE(write_file_atomically(emptied, "").has_value());  // as after the machine's end
  EXPECT_EQ(publish().value(), false);
  EXPECT_EQ(fs::file_size(emptied), 64u);
}

TEST_F(PublishTest, NeverPublishesWhatTheGatewayWouldRefuse) {
  EXPECT_EQ(publish().value(), true);
  settings_.base["colour"] = "red";
  const auto refused = publish();
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().message().contains("colour")) << refused.error().message();
  settings_.base.clear();
  EXPECT_EQ(publish().value(), false) << "the one before still stands there";
}

}  // namespace
}  // namespace sluice::platform
