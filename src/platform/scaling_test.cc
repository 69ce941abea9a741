// Room, policies of scaling, signals of replicas: the pure parts in front of the autoscaler.
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "platform/replica_signals.h"
#include "platform/room.h"
#include "platform/scale_policy.h"
#include "platform/scale_trace.h"

namespace sluice::platform {
namespace {

constexpr uint64_t kGiB = 1ull << 30;

json::object parsed(std::string_view text) { return parse_json(text)->as_object(); }

MachineRoom memory(uint64_t gib) { return {.memory_bytes = gib * kGiB, .cpus = 0}; }

RoomClaim claim(int desired, uint64_t gib = 1, int floor = 0, int running = 0) {
  return {.needs = {.memory_bytes = gib * kGiB, .cpus = 0},
          .desired = desired,
          .floor = floor,
          .running = running};
}

using Shares = std::vector<int>;

TEST(Room, EverybodyGetsAFirstOneThenByRounds) {
  const std::vector<RoomClaim> claims = {claim(9), claim(2), claim(9)};
  EXPECT_EQ(share_room(claims, memory(100)), (Shares{9, 2, 9}));
  EXPECT_EQ(share_room(claims, memory(3)), (Shares{1, 1, 1}));
  EXPECT_EQ(share_room(claims, memory(8)), (Shares{3, 2, 3}));
  EXPECT_EQ(share_room(claims, memory(2)), (Shares{1, 1, 0}));
  EXPECT_EQ(share_room(claims, memory(0)), (Shares{9, 2, 9})) << "not limited";
}

TEST(Room, ABurstGivesWayToOneThatWakes) {
  // Three run by load; another one wants its first.
  EXPECT_EQ(share_room(std::vector{claim(3, 1, 1, 3), claim(1)}, memory(3)), (Shares{2, 1}));
  // What runs as a floor stays.
  EXPECT_EQ(share_room(std::vector{claim(3, 1, 3, 3), claim(1)}, memory(3)), (Shares{3, 0}));
  // A floor that does not run yet keeps nobody from a first one.
  EXPECT_EQ(share_room(std::vector{claim(3, 1, 3, 0), claim(1)}, memory(3)), (Shares{2, 1}));
}

TEST(Room, WhatIsTooLargeKeepsNobodyOut) {
  EXPECT_EQ(share_room(std::vector{claim(2, 8), claim(2, 1)}, memory(4)), (Shares{0, 2}));
  RoomClaim yielding = claim(1, 4);
  yielding.yields = true;
  EXPECT_EQ(share_room(std::vector{yielding, claim(1, 4)}, memory(4)), (Shares{0, 1}));
  EXPECT_EQ(share_room(std::vector{yielding, claim(1, 4)}, memory(8)), (Shares{1, 1}));
}

TEST(Room, CoresCountToo) {
  const RoomClaim one{.needs = {.memory_bytes = 0, .cpus = 0.1}, .desired = 20};
  EXPECT_EQ(share_room(std::vector{one}, {.memory_bytes = kGiB, .cpus = 1}), (Shares{10}));
  const RoomUse use{
      .total = {.memory_bytes = 4 * kGiB, .cpus = 2}, .memory_bytes = 3 * kGiB, .cpus = 0.5};
  EXPECT_TRUE(fits(use, {.memory_bytes = kGiB, .cpus = 1.5}));
  EXPECT_FALSE(fits(use, {.memory_bytes = kGiB + 1, .cpus = 0}));
  EXPECT_FALSE(fits(use, {.memory_bytes = 0, .cpus = 1.6}));
  EXPECT_TRUE(room_message({.memory_bytes = 2 * kGiB, .cpus = 1}, use)
                  .starts_with("a replica asks for 2.00 GiB and 1.00 cores; left are 1.00 GiB of "
                               "4.00 GiB and 1.50 of 2.00 cores"));
}

ScalePolicy policy(std::string_view component, std::string_view service = "{}") {
  return scale_policy(parsed(service), parsed(component), Component::kPredictor);
}

TEST(ScalePolicy, IsKnativesUnlessSaidOtherwise) {
  const ScalePolicy plain = policy("{}");
  EXPECT_EQ(plain.metric, ScaleMetric::kConcurrency);
  EXPECT_TRUE(plain.kpa == control::KpaOptions{});
  EXPECT_DOUBLE_EQ(policy(R"({"scaleTarget":10})").kpa.target, 7);
  EXPECT_DOUBLE_EQ(policy(R"({"scaleMetric":"rps"})").kpa.target, 140);
  EXPECT_DOUBLE_EQ(policy(R"({"containerConcurrency":4})").kpa.target, 2.8);
  EXPECT_DOUBLE_EQ(policy(R"({"containerConcurrency":4,"scaleTarget":100})").kpa.target, 2.8)
      << "no replica takes more";
}

TEST(ScalePolicy, ServicePolicyGoesFirst) {
  const ScalePolicy all = policy(R"({"scaleMetric":"rps","scaleTarget":5})",
                                 R"({"sluice":{"scaling":{"metric":"ttft","target":500,
      "stableWindowSeconds":100,"panicWindowPercent":20,"panicThresholdPercent":300,
      "maxScaleUpRate":5,"maxScaleDownRate":3,"scaleDownDelaySeconds":7,
      "scaleToZeroGraceSeconds":9,"activationReplicas":2,
      "schedules":[{"days":"Mon-Fri","from":"08:00","to":"18:00","minReplicas":3}]}}})");
  EXPECT_EQ(all.metric, ScaleMetric::kTtft);
  EXPECT_DOUBLE_EQ(all.target, 500);
  EXPECT_DOUBLE_EQ(all.kpa.target, control::kDefaultUtilization);
  EXPECT_EQ(all.kpa.stable_window.count(), 100);
  EXPECT_EQ(all.kpa.panic_window.count(), 20);
  EXPECT_DOUBLE_EQ(all.kpa.panic_threshold, 3);
  EXPECT_DOUBLE_EQ(all.kpa.max_scale_up_rate, 5);
  EXPECT_DOUBLE_EQ(all.kpa.max_scale_down_rate, 3);
  EXPECT_EQ(all.kpa.scale_down_delay.count(), 7);
  EXPECT_EQ(all.kpa.scale_to_zero_grace.count(), 9);
  EXPECT_EQ(all.activation, 2);
  EXPECT_EQ(all.schedules, (std::vector<ScaleSchedule>{
                               {.days = 0b0111110, .from = 480, .to = 1080, .min_replicas = 3}}));
  EXPECT_TRUE(control::check_options(all.kpa).has_value());
}

TEST(ScalePolicy, SchedulesHoldByTheDayOnWhichTheyBegin) {
  // 2026-01-05 is a Monday.
  const auto at = [](int day, int hour, int minute = 0) {
    std::tm local{};
    local.tm_year = 126;
    local.tm_mday = day;
    local.tm_hour = hour;
    local.tm_min = minute;
    local.tm_isdst = -1;
    return static_cast<double>(std::mktime(&local));
  };
  const std::vector<ScaleSchedule> schedules = {
      {.days = 0b0111110, .from = 8 * 60, .to = 18 * 60, .min_replicas = 3},
      {.days = 0b0100000, .from = 22 * 60, .to = 2 * 60, .min_replicas = 5}};  // Friday night
  EXPECT_EQ(scheduled_minimum(schedules, at(5, 7, 59)), 0);
  EXPECT_EQ(scheduled_minimum(schedules, at(5, 8)), 3);
  EXPECT_EQ(scheduled_minimum(schedules, at(5, 18)), 0);
  EXPECT_EQ(scheduled_minimum(schedules, at(4, 12)), 0) << "Sunday";
  EXPECT_EQ(scheduled_minimum(schedules, at(9, 23)), 5);
  EXPECT_EQ(scheduled_minimum(schedules, at(10, 1)), 5) << "Saturday, since Friday";
  EXPECT_EQ(scheduled_minimum(schedules, at(10, 2)), 0);
  EXPECT_EQ(scheduled_minimum(schedules, at(9, 1)), 0) << "Friday, before it";
}

TEST(ScaleTrace, IsWhatTheOracleReads) {
  const control::KpaOptions options;
  const auto line = parse_json(options_line(options, "new"));
  ASSERT_TRUE(line.has_value());
  const json::object& told = line->as_object().at("options").as_object();
  EXPECT_EQ(told.at("target").to_number<double>(), options.target) << "to the last bit";
  EXPECT_EQ(told.at("stable_window").as_int64(), 60);
  EXPECT_EQ(told.size(), 13u);
  const std::map<int64_t, double> samples = {{10, 1.5}, {11, 0.1 + 0.2}};
  const auto tick = parse_json(decision_line({.now = 12, .samples = samples, .ready = 1},
                                             {.desired = 3, .panicking = true}));
  ASSERT_TRUE(tick.has_value());
  const json::object& fields = tick->as_object();
  EXPECT_EQ(fields.at("samples").as_object().at("11").as_double(), 0.1 + 0.2);
  EXPECT_EQ(fields.at("desired").as_int64(), 3);
  EXPECT_TRUE(fields.at("panic").as_bool());
}

TEST(ReplicaSignals, ReadsVllmsNames) {
  const auto told = parse_signals(
      "# TYPE vllm:num_requests_waiting gauge\n"
      "vllm:num_requests_waiting{model_name=\"a{}\"} 3\r\n"
      "vllm:kv_cache_usage_perc{model_name=\"a\"} 0.25\n"
      "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"100\"} 1\n"
      "vllm:request_prompt_tokens_sum 400 1700000000\n"
      "vllm:request_prompt_tokens_count 4\n"
      "vllm:request_prompt_tokens_bucket{le=\"+Inf\"} 4");
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(*told, (ReplicaSignals{
                       .queued_tokens = 300, .kv_used_tokens = 400, .kv_capacity_tokens = 1600}));
}

TEST(ReplicaSignals, OtherPagesSayNothing) {
  for (const char* page : {"", "\n\n", "up 1\n", "vllm:num_requests_waiting", "<html>",
                           "vllm:num_requests_waiting{ 3", "vllm:num_requests_waiting NaN"}) {
    EXPECT_EQ(parse_signals(page), std::nullopt) << page;
  }
  const auto wild = parse_signals(
      "vllm:num_requests_waiting -4\nvllm:kv_cache_usage_perc 1e300\n"
      "vllm:cache_config_info{block_size=\"1e9\",num_gpu_blocks=\"1e9\"} 1\n");
  ASSERT_TRUE(wild.has_value());
  EXPECT_EQ(wild->queued_tokens, 0);
  EXPECT_EQ(wild->kv_used_tokens, wild->kv_capacity_tokens);
}

}  // namespace
}  // namespace sluice::platform
