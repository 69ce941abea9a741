#include "plan/plan_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "plan/json_outline.h"

namespace sluice::plan {
namespace {

struct Outline {
  std::array<OutlineList, 2> lists{OutlineList{.name = "upstreams", .before = {}},
                                   OutlineList{.name = "routes", .before = {}}};
  std::optional<std::string> rest;
};

Outline outline(std::string_view text, std::span<const std::string_view> upstreams_before = {}) {
  Outline out;
  out.lists[0].before = upstreams_before;
  out.rest = outline_json(text, out.lists);
  return out;
}

TEST(JsonOutline, CutsListsIntoTheirItems) {
  const std::string text =
      " { \"a\" : [1, {\"b\": \"]}\\\"\"}] ,\n\"upstreams\": [ {\"x\": {\"y\": \"}\"}} ,\n{}],"
      "\"c\":null, \"routes\":[]}\n";
  const Outline out = outline(text);
  ASSERT_TRUE(out.rest);
  EXPECT_EQ(*out.rest, R"({"a":[1, {"b": "]}\""}],"c":null})");
  ASSERT_EQ(out.lists[0].items.size(), 2u);
  EXPECT_EQ(out.lists[0].items[0].text, R"({"x": {"y": "}"}})");
  EXPECT_EQ(out.lists[0].items[1].text, "{}");
  EXPECT_TRUE(out.lists[1].found && out.lists[1].items.empty());
  EXPECT_EQ(*outline("{}").rest, "{}");
  NodeCount whole;
  NodeCount parts;
  ASSERT_TRUE(parse_json_nodes(text, {}, &whole));
  ASSERT_TRUE(parse_json_nodes(*out.rest, {}, &parts));
  for (const OutlineList& list : out.lists) {
    parts += {.nodes = 2, .text_bytes = list.name.size()};
    for (const auto& item : list.items) ASSERT_TRUE(parse_json_nodes(item.text, {}, &parts));
  }
  EXPECT_EQ(parts.nodes, whole.nodes);
  EXPECT_EQ(parts.text_bytes, whole.text_bytes);
}

TEST(JsonOutline, FindsWhatStoodThereBefore) {
  const std::vector<std::string_view> before = {R"({"n":1})", R"({"n":2})", R"({"n":3})",
                                                R"({"n":4})"};
  const auto found = [&](std::string_view items) {
    const std::string text = fmt::format("{{\"upstreams\":[{}]}}", items);
    const Outline out = outline(text, before);
    std::string told;
    for (const OutlineItem& item : out.lists[0].items) {
      told += item.before == OutlineItem::kNew ? "-" : std::to_string(item.before);
      if (item.before != OutlineItem::kNew) EXPECT_EQ(item.text, before[item.before]);
    }
    return told;
  };
  EXPECT_EQ(found(R"({"n":1},{"n":2},{"n":3},{"n":4})"), "0123");
  EXPECT_EQ(found(R"({"n":1},{"n":9},{"n":3},{"n":4})"), "0-23");
  EXPECT_EQ(found(R"({"n":9},{"n":1},{"n":2},{"n":3},{"n":4},{"n":8})"), "-0123-");
  EXPECT_EQ(found(R"({"n":4})"), "3");
  EXPECT_EQ(found(R"({"n":4},{"n":1},{"n":3},{"n":2})"), "3021");
  EXPECT_EQ(found(R"({"n": 1})"), "-");
}

TEST(JsonOutline, LeavesOtherFormsAlone) {
  for (const char* text : {"",
                           "[]",
                           "null",
                           "{",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{\"a\":1}x",
                           "{\"a\" 1}",
                           "{a:1}",
                           "{\"upstreams\":{}}",
                           "{\"upstreams\":null}",
                           "{\"upstreams\":[1]}",
                           "{\"upstreams\":[{}",
                           "{\"upstreams\":[{},]}",
                           "{\"upstreams\":[{}]",
                           "{\"upstreams\":[{} {}]}",
                           "{\"upstreams\":[{}],\"upstreams\":[{}]}",
                           "{\"upstream\\u0073\":[{}]}",
                           "{\"upstreams\":[{\"a\":\"]}",
                           "# yaml\nroutes: []\n"}) {
    EXPECT_FALSE(outline(text).rest) << text;
  }
}

// A plan of services, as the platform writes it.
struct Service {
  std::string name;
  int port = 0;
  bool typed = true;
  std::string more;  // in its route
};

std::string text_of(const std::vector<Service>& services, const std::string& more = "") {
  std::string upstreams;
  std::string routes;
  for (const Service& each : services) {
    if (!upstreams.empty()) upstreams += ",\n  ";
    if (!routes.empty()) routes += ",\n  ";
    upstreams +=
        fmt::format(R"({{"name":"{0}","kind":"{1}","endpoints":[{{"url":"http://127.0.0.1:{2}"}}],)"
                    R"("{3}":{{"file":"/secrets/{0}"}}}})",
                    each.name, each.typed ? "sluice" : "foreign", each.port,
                    each.typed ? "internal_token" : "api_key");
    routes += fmt::format(
        R"({{"name":"{0}","match":{{"models":["{0}"]}},"targets":[{{"upstream":"{0}"}}]{1}}})",
        each.name, each.more);
  }
  return fmt::format("{{\n\"upstreams\": [\n  {}\n],\n\"routes\": [\n  {}\n]{}\n}}\n", upstreams,
                     routes, more);
}

class PlanReaderTest : public ::testing::Test {
 protected:
  PlanReaderTest() {
    for (int i = 0; i < 8; ++i) services_.push_back({fmt::format("s{}", i), 9000 + i, true, ""});
  }
  ~PlanReaderTest() override { std::filesystem::remove(path_); }

  SecretSource secrets() {
    return {.environment = [](const std::string&) -> Result<std::string> { return "x"; },
            .file = [this](const std::string& path) -> Result<std::string> {
              const auto found = files_.find(path);
              return found == files_.end() ? "secret" : found->second;
            }};
  }
  void write(const std::string& text) { std::ofstream(path_) << text; }

  // What it reads is what is read without it. True: a plan.
  bool read() {
    const auto mine = reader_.read();
    const auto whole = load_plan(path_, secrets());
    EXPECT_EQ(mine.has_value(), whole.has_value());
    if (!mine || !whole) {
      if (!mine && !whole) EXPECT_EQ(mine.error().message(), whole.error().message());
      return false;
    }
    EXPECT_TRUE((*mine)->upstreams == (*whole)->upstreams);
    EXPECT_TRUE((*mine)->routes == (*whole)->routes);
    EXPECT_EQ((*mine)->control.has_value(), (*whole)->control.has_value());
    EXPECT_EQ((*mine)->tenants.size(), (*whole)->tenants.size());
    return true;
  }
  bool read(const std::string& text) {
    write(text);
    return read();
  }

  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / fmt::format("plan_reader_{}.json", ::getpid());
  std::vector<Service> services_;
  std::map<std::string, std::string> files_;
  PlanReader reader_{path_, secrets(), Duration::zero()};
};

TEST_F(PlanReaderTest, ReadsAnewWhatHasChanged) {
  EXPECT_TRUE(read(text_of(services_)));
  EXPECT_EQ(reader_.read_anew(), 16u);
  EXPECT_TRUE(read());
  EXPECT_EQ(reader_.read_anew(), 0u);
  services_[3].port = 9100;
  EXPECT_TRUE(read(text_of(services_)));
  EXPECT_EQ(reader_.read_anew(), 1u);
  files_["/secrets/s5"] = "another";
  EXPECT_TRUE(read());
  EXPECT_EQ(reader_.read_anew(), 1u);
  services_.erase(services_.begin());
  services_.push_back({"new", 9200, false, ""});
  EXPECT_TRUE(read(text_of(services_, ",\n\"access_log\": {\"path\": \"-\"}")));
  EXPECT_EQ(reader_.read_anew(), 2u);
}

TEST_F(PlanReaderTest, RefusesAsBeforeAndGoesOnFromTheLastGoodOne) {
  const std::string good = text_of(services_);
  EXPECT_TRUE(read(good));
  const std::vector<std::function<void(Service&)>> mistakes = {
      [](Service& s) { s.more = R"(,"polcy":"x")"; },
      [](Service& s) { s.more = R"(,"timeouts":{"connect":"1s"})"; },  // not over a Sluice replica
      [](Service& s) { s.port = 99'999; },
      [](Service& s) { s.name = "s0"; },
      [](Service& s) { s.name = "no name"; },
      [](Service& s) { s.more = R"(,"fallbacks":[{"upstream":"nobody"}])"; },
      [](Service& s) { s.more = R"(,"x)"; },
  };
  for (size_t i = 0; i < mistakes.size(); ++i) {
    std::vector<Service> bad = services_;
    mistakes[i](bad[4]);
    EXPECT_FALSE(read(text_of(bad))) << i;
  }
  EXPECT_FALSE(read(text_of(services_, ",\n\"x\": 1")));
  EXPECT_FALSE(read(text_of(services_, ",\n\"routes\": []")));
  EXPECT_FALSE(read(good.substr(0, good.size() / 2)));
  EXPECT_TRUE(read(good));
  EXPECT_EQ(reader_.read_anew(), 0u);
}

// What does not stand in a route itself is looked at whole: its upstream became another kind.
TEST_F(PlanReaderTest, WhatHoldsBetweenItemsIsLookedAtEachTime) {
  services_[2].typed = false;
  services_[2].more = R"(,"timeouts":{"connect":"1s"})";
  EXPECT_TRUE(read(text_of(services_)));
  services_[2].typed = true;
  EXPECT_FALSE(read(text_of(services_)));
}

TEST_F(PlanReaderTest, YamlIsReadToo) {
  const std::string yaml =
      "# a comment\nupstreams: [{name: u, endpoints: [{url: 'http://a:1'}]}]\n"
      "routes: [{name: r, targets: [{upstream: u}]}]\n";
  EXPECT_TRUE(read(yaml));
  EXPECT_TRUE(read(text_of(services_)));
  EXPECT_TRUE(read(yaml));
}

TEST_F(PlanReaderTest, AnyRowOfChangesIsFollowed) {
  Rng rng(7);
  int taken = 0;
  std::vector<Service> good = services_;
  for (int round = 0; round < 300; ++round) {
    for (uint64_t changes = rng.below(3); changes > 0; --changes) {
      const auto at = services_.begin() + static_cast<ptrdiff_t>(rng.below(services_.size()));
      switch (rng.below(6)) {
        case 0:
          at->port = static_cast<int>(9000 + rng.below(50));
          break;
        case 1:
          at->typed = !at->typed;
          break;
        case 2:
          at->more = rng.chance(0.5) ? R"(,"retry":{"on":["timeout"]})" : "";
          break;
        case 3:
          if (services_.size() > 3) services_.erase(at);
          break;
        case 4:
          services_.insert(at, {fmt::format("n{}", rng.below(40)), 9500, rng.chance(0.5), ""});
          break;
        default:
          files_["/secrets/" + at->name] = rng.chance(0.1) ? "" : fmt::format("t{}", round);
      }
    }
    const bool took = read(text_of(services_));
    if (HasFailure()) FAIL() << "round " << round;
    taken += took ? 1 : 0;
    if (took) good = services_;
    if (!took && rng.chance(0.7)) services_ = good;
    for (auto& [name, text] : files_) text = text.empty() ? "mended" : text;
    if (services_.size() > 20) services_.resize(8);
  }
  EXPECT_GT(taken, 20);
  EXPECT_LT(taken, 280);
}

}  // namespace
}  // namespace sluice::plan
