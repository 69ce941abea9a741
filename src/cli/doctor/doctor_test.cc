#include "cli/doctor/doctor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/files.h"
#include "cli/doctor/machine_checks.h"
#include "cli/doctor/setup_checks.h"
#include "net/socket.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

// A machine as its files show it.
class Machine : public testing::Test {
 protected:
  Machine() {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~Machine() override { fs::remove_all(root_); }

  void put(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    ASSERT_TRUE(write_file_atomically(root_ / path, text));
  }

  const fs::path root_ =
      fs::temp_directory_path() / ("sluice-doctor-test-" + std::to_string(::getpid()));
};

TEST(Doctor, Numbers) {
  EXPECT_DOUBLE_EQ(cpu_limit_of("50000 100000"), 0.5);
  EXPECT_DOUBLE_EQ(cpu_limit_of("max 100000"), 0);
  EXPECT_DOUBLE_EQ(cpu_limit_of(""), 0);
  EXPECT_EQ(chosen_word("always [madvise] never"), "madvise");
  EXPECT_EQ(chosen_word("always"), "");
}

TEST_F(Machine, ABareOneTellsLittle) {
  EXPECT_EQ(check_memory(root_).health, Health::kNote);
  EXPECT_EQ(check_huge_pages(root_).health, Health::kGood);
  EXPECT_EQ(check_frequency(root_).health, Health::kGood);
  EXPECT_EQ(check_control_groups(root_).health, Health::kNote);
  EXPECT_NE(check_cores(root_).found, "");
}

TEST_F(Machine, WhatLimitsIt) {
  put("proc/meminfo", "MemTotal:       16777216 kB\nMemAvailable:   12582912 kB\n");
  EXPECT_EQ(check_memory(root_).health, Health::kGood);
  put("proc/self/cgroup", "0::/box\n");
  put("sys/fs/cgroup/box/cgroup.controllers", "cpu memory pids\n");
  put("sys/fs/cgroup/box/cgroup.subtree_control", "\n");
  put("sys/fs/cgroup/box/memory.max", "134217728\n");
  put("sys/fs/cgroup/box/memory.current", "1048576\n");
  put("sys/fs/cgroup/box/cpu.max", "10000 100000\n");
  const Finding memory = check_memory(root_);
  EXPECT_EQ(memory.health, Health::kBad) << memory.found;
  EXPECT_TRUE(memory.found.contains("control group"));
  const Finding cores = check_cores(root_);
  EXPECT_EQ(cores.health, Health::kNote);
  EXPECT_TRUE(cores.advice.contains("--threads 1")) << cores.advice;
  EXPECT_EQ(check_control_groups(root_).health, Health::kGood);
  put("sys/fs/cgroup/box/cgroup.controllers", "pids\n");
  EXPECT_EQ(check_control_groups(root_).health, Health::kNote);
  put("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
  EXPECT_EQ(check_huge_pages(root_).health, Health::kNote);
  put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
  EXPECT_EQ(check_frequency(root_).health, Health::kNote);
  put("proc/sys/net/core/somaxconn", "128\n");
  EXPECT_EQ(check_backlog(root_).health, Health::kNote);
}

TEST_F(Machine, KubeconfigsThatOthersCanRead) {
  const fs::path file = root_ / "kubeconfig";
  EXPECT_EQ(check_kubeconfig(file).health, Health::kGood);
  put("kubeconfig",
      "current-context: c\nclusters: [{name: c, cluster: {server: \"https://h:1\"}}]\n"
      "contexts: [{name: c, context: {cluster: c}}]\n");
  fs::permissions(file, fs::perms::owner_read | fs::perms::group_read);
  EXPECT_EQ(check_kubeconfig(file).health, Health::kBad);
  fs::permissions(file, fs::perms::owner_read);
  EXPECT_EQ(check_kubeconfig(file).health, Health::kGood) << check_kubeconfig(file).found;
  EXPECT_EQ(check_controller(root_).found, "not running");
}

TEST_F(Machine, PlansManifestsModels) {
  EXPECT_TRUE(check_plan(root_ / "gateway.json", false).empty());
  EXPECT_EQ(check_plan(root_ / "gateway.json", true).front().health, Health::kBad);
  put("gateway.json", R"({"routes": 7})");
  EXPECT_EQ(check_plan(root_ / "gateway.json", false).front().health, Health::kBad);
  put("service.yaml",
      "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: a}\n"
      "spec: {predictor: {model: {modelFormat: {name: gguf}, storageUri: \"file:///no/such\"}}}\n");
  const Findings manifests = check_manifests({(root_ / "service.yaml").string()});
  ASSERT_EQ(manifests.size(), 2u);
  EXPECT_EQ(manifests[0].health, Health::kGood);
  EXPECT_TRUE(manifests[1].found.contains("/no/such is not there")) << manifests[1].found;
  EXPECT_EQ(check_manifests({(root_ / "none.yaml").string()}).front().health, Health::kBad);
  EXPECT_EQ(check_model(SLUICE_SOURCE_DIR "/models/story.gguf").health, Health::kGood);
  EXPECT_EQ(check_model("no-such-model").health, Health::kBad);
}

// Whatever this one is: its files are read as the kernel shows them.
TEST(Doctor, ThisMachineTellsItsMemory) {
  EXPECT_TRUE(check_memory("/").found.contains("available")) << check_memory("/").found;
}

TEST(Doctor, APortThatIsTaken) {
  const auto socket = net::listen_on("127.0.0.1", 0);
  ASSERT_TRUE(socket.has_value());
  const uint16_t port = net::local_port(socket->get());
  const Finding taken = check_port("127.0.0.1", port, "data plane");
  EXPECT_EQ(taken.health, Health::kBad);
  EXPECT_TRUE(taken.advice.contains("ss -ltnp"));
}

TEST(Doctor, TheLastLineCounts) {
  EXPECT_TRUE(findings_text({{.subject = "a", .found = "x"}}).contains("all is well"));
  const std::string text =
      findings_text({{.subject = "a", .health = Health::kBad, .found = "x", .advice = "do this"},
                     {.subject = "b", .health = Health::kNote, .found = "y"}});
  EXPECT_TRUE(text.contains("→ do this")) << text;
  EXPECT_TRUE(text.contains("1 must be mended, 1 could be better"));
}

}  // namespace
}  // namespace sluice::cli
