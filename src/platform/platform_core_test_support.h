// A world without faults, and what its objects say of themselves.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "platform/simulated_world_test_support.h"

namespace sluice::platform {

class PlatformCoreTest : public testing::Test {
 protected:
  // Whatever can be done without time passing.
  void act() {
    const TimePoint now = world_.clock().now();
    for (int i = 0; i < 2000; ++i) {
      if (!world_.act()) return;
      ASSERT_EQ(world_.clock().now(), now);
    }
    FAIL() << "it goes round in circles";
  }
  void pass(Duration time) {
    const TimePoint until = world_.clock().now() + time;
    while (world_.clock().now() < until) world_.step();
    act();
  }
  control::ObjectPtr service(const std::string& name) {
    return world_.store().get({&service_type(), "default", name});
  }
  control::ObjectPtr revision(const std::string& name) {
    return world_.store().get({&revision_type(), "default", name});
  }
  std::vector<control::ObjectPtr> replicas() {
    return world_.store().list(replica_type(), {}).objects;
  }
  std::string condition(const control::ObjectPtr& object, std::string_view type) {
    const auto found = object ? find_condition(*object, type) : std::nullopt;
    return found ? found->status + " " + found->reason : "none";
  }
  std::string status(const std::string& name, std::string_view path) {
    return std::string(control::text_at(service(name)->body, "status." + std::string(path)));
  }
  size_t endpoints(const std::string& revision) {
    const auto found = world_.endpoints().find("default/" + revision);
    return found == world_.endpoints().end() ? 0 : found->second.size();
  }

  SimulatedWorld world_{3};
};

}  // namespace sluice::platform
