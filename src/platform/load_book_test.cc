// What gateways tell: load_book, internal_api.
#include "platform/load_book.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "net/client.h"
#include "plan/load_report.h"
#include "platform/internal_api.h"

namespace sluice::platform {
namespace {

constexpr int64_t kNow = 1'700'000'000;

plan::UpstreamLoad load(std::string name, double concurrency, int64_t arrived = 0) {
  plan::UpstreamLoad out;
  out.name = std::move(name);
  out.concurrency = concurrency;
  out.arrived = arrived;
  out.answered = arrived;
  for (int64_t i = 0; i < arrived; ++i) out.ttft.add(50);
  return out;
}

plan::LoadReport report(std::string gateway, int64_t second,
                        std::vector<plan::UpstreamLoad> upstreams) {
  plan::LoadReport out;
  out.gateway = std::move(gateway);
  out.second = second;
  out.upstreams = std::move(upstreams);
  return out;
}

TEST(LoadBook, SumsTheGateways) {
  LoadBook book;
  book.take(report("a", kNow - 2, {load("u", 1.5, 3)}), kNow);
  book.take(report("b", kNow - 2, {load("u", 2, 4), load("v", 1)}), kNow);
  const auto seconds = book.seconds("u", kNow - 10, kNow, kNow);
  ASSERT_EQ(seconds.size(), 1u);
  EXPECT_EQ(seconds[0].second, kNow - 2);
  EXPECT_DOUBLE_EQ(seconds[0].concurrency, 3.5);
  EXPECT_EQ(seconds[0].arrived, 7);
  EXPECT_EQ(seconds[0].ttft.count(), 7u);
  EXPECT_EQ(book.span("u", kNow - 10, kNow).ended(), 7);
  EXPECT_EQ(book.gateways(kNow), 2);
  EXPECT_TRUE(book.seconds("nobody", kNow - 10, kNow, kNow).empty());
}

TEST(LoadBook, KnowsThePlansOfThoseThatTakeRequests) {
  LoadBook book;
  using Plans = std::set<std::string>;
  EXPECT_EQ(book.plans(kNow), Plans());
  book.take({.gateway = "a", .plan_id = "p1"}, kNow);
  book.take({.gateway = "b", .plan_id = "p1"}, kNow);
  EXPECT_EQ(book.plans(kNow), Plans{"p1"});
  book.take({.gateway = "b", .plan_id = "p2"}, kNow);
  EXPECT_EQ(book.plans(kNow), (Plans{"p1", "p2"}));
  book.take({.gateway = "a", .plan_id = ""}, kNow);  // drains, and still reports
  book.take(report("a", kNow - 1, {load("u", 1)}), kNow);
  EXPECT_EQ(book.plans(kNow), Plans{"p2"});
  book.take({.gateway = "b", .ended = true}, kNow);
  EXPECT_EQ(book.plans(kNow), Plans());
  book.take({.gateway = "c", .plan_id = "p3"}, kNow);
  EXPECT_EQ(book.plans(kNow + LoadBook::kSilence), Plans{"p3"});
  EXPECT_EQ(book.plans(kNow + LoadBook::kSilence + 1), Plans());
}

TEST(LoadBook, ASecondCountsOnceHoweverOftenItComes) {
  LoadBook book;
  for (int i = 0; i < 3; ++i) book.take(report("a", kNow - 1, {load("u", 2, 1)}), kNow);
  book.take(report("a", kNow - 3, {load("u", 4, 1)}), kNow);  // late, and new
  book.take(report("a", kNow - 3, {load("u", 4, 1)}), kNow);
  book.take(report("a", kNow - 1, {load("v", 1, 1)}), kNow);  // the rest of a second
  EXPECT_EQ(book.span("u", kNow - 10, kNow).arrived, 2);
  EXPECT_EQ(book.span("v", kNow - 10, kNow).arrived, 1);
  const auto seconds = book.seconds("u", kNow - 10, kNow, kNow);
  ASSERT_EQ(seconds.size(), 2u);
  EXPECT_DOUBLE_EQ(seconds[0].concurrency, 4);
  EXPECT_DOUBLE_EQ(seconds[1].concurrency, 2);
}

TEST(LoadBook, TooOldOrNotYetOverIsLeftOut) {
  LoadBook book;
  book.take(report("a", kNow - LoadBook::kLate - 1, {load("u", 1, 1)}), kNow);
  book.take(report("a", kNow + 5, {load("u", 1, 1)}), kNow);
  book.take(report("a", INT64_MAX - 1, {load("u", 1, 1)}), kNow);
  EXPECT_EQ(book.span("u", 0, INT64_MAX).arrived, 0);
  book.take(report("a", kNow - LoadBook::kLate, {load("u", 1, 1)}), kNow);
  EXPECT_EQ(book.span("u", 0, INT64_MAX).arrived, 1);
}

TEST(LoadBook, WaitsForGatewaysThatLive) {
  LoadBook book;
  for (int64_t s = kNow - 4; s < kNow; ++s) book.take(report("a", s, {load("u", 1)}), s + 1.1);
  book.take(report("b", kNow - 4, {load("u", 1)}), kNow - 2.9);
  // b has told nothing of the last three seconds, but was heard just now.
  auto seconds = book.seconds("u", kNow - 10, kNow, kNow);
  ASSERT_EQ(seconds.size(), 1u);
  EXPECT_DOUBLE_EQ(seconds[0].concurrency, 2);
  // Silent for long: it is not waited for any more.
  for (int64_t s = kNow; s < kNow + 6; ++s) book.take(report("a", s, {load("u", 1)}), s + 1.1);
  seconds = book.seconds("u", kNow - 10, kNow + 6, kNow + 6.2);
  EXPECT_EQ(seconds.size(), 10u);
  EXPECT_EQ(book.gateways(kNow + 6.2), 1);
}

TEST(LoadBook, AGatewayThatEndedIsNeitherWaitedForNorCounted) {
  LoadBook book;
  auto busy = load("u", 3, 1);
  busy.in_flight = 3;
  busy.held = 1;
  book.take(report("old", kNow - 1, {busy}), kNow);
  book.take(report("new", kNow - 1, {load("u", 0)}), kNow);
  EXPECT_EQ(book.at("u", kNow).in_flight, 3);
  EXPECT_EQ(book.at("u", kNow).held, 1);
  plan::LoadReport last;
  last.gateway = "old";
  last.ended = true;
  book.take(last, kNow);
  EXPECT_EQ(book.at("u", kNow).in_flight, 0);
  book.take(report("new", kNow, {load("u", 1)}), kNow + 1);
  EXPECT_EQ(book.seconds("u", kNow, kNow + 1, kNow + 1).size(), 1u);
  EXPECT_DOUBLE_EQ(book.seconds("u", kNow - 1, kNow, kNow + 1)[0].concurrency, 3);
}

TEST(LoadBook, NothingBeforeTheFirstOfAnUpstreamAndZeroAfter) {
  LoadBook book;
  book.take(report("a", kNow - 3, {load("old", 1)}), kNow - 2);
  book.take(report("a", kNow - 2, {load("old", 0), load("u", 0)}), kNow - 1);
  book.take(report("a", kNow - 1, {load("old", 0), load("u", 0)}), kNow);
  EXPECT_EQ(book.seconds("u", kNow - 10, kNow, kNow).size(), 2u);
  EXPECT_EQ(book.seconds("old", kNow - 10, kNow, kNow).size(), 3u);
}

TEST(LoadBook, TellsWhoIsWaitedFor) {
  LoadBook book;
  plan::LoadReport wake;
  wake.gateway = "a";
  wake.wake = {"u", "v"};
  EXPECT_EQ(book.take(wake, kNow), (std::vector<std::string>{"u", "v"}));
  auto held = load("w", 1);
  held.held = 2;
  EXPECT_EQ(book.take(report("a", kNow - 1, {load("u", 1), held}), kNow),
            (std::vector<std::string>{"w"}));
}

TEST(LoadBook, LongSpansAreMadeOfSlots) {
  LoadBook book;
  const int64_t begin = kNow / LoadBook::kSlot * LoadBook::kSlot;
  for (int64_t s = begin; s < begin + 1000; ++s)
    book.take(report("a", s, {load("u", 1, 1)}), s + 1);
  const LoadSpan all = book.span("u", begin, begin + 1000);
  EXPECT_EQ(all.arrived, 1000);
  EXPECT_EQ(all.ttft.count(), 1000u);
  EXPECT_EQ(book.span("u", begin, begin + 500).arrived, 500);
  EXPECT_EQ(book.span("u", begin + 900, begin + 917).arrived, 17);
  EXPECT_EQ(book.span("u", begin + 400, begin + 1000).arrived, 600);
}

TEST(LoadBook, StaysSmall) {
  LoadBook book;
  Rng rng(7);
  for (int i = 0; i < 20'000; ++i) {
    const int64_t second = kNow + i / 10;
    book.take(report("g" + std::to_string(rng.below(200)), second,
                     {load("u" + std::to_string(rng.below(50)), 1, 1)}),
              static_cast<double>(second) + 1);
  }
  EXPECT_LE(book.gateways(kNow + 2000), static_cast<int>(LoadBook::kMaxGateways));
  book.keep_only({"u1"});
  EXPECT_EQ(book.span("u2", 0, INT64_MAX).arrived, 0);
  EXPECT_GT(book.span("u1", kNow, INT64_MAX).arrived, 0);
}

// Against sums made the plain way: reports come late, twice and in any order.
TEST(LoadBook, AgreesWithPlainSumsOnRandomReports) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Rng rng(seed);
    LoadBook book;
    std::map<std::pair<std::string, int64_t>, std::map<std::string, int64_t>> told;
    int64_t now = kNow;
    for (int i = 0; i < 400; ++i) {
      if (rng.below(3) == 0) ++now;
      const std::string gateway = "g" + std::to_string(rng.below(3));
      const int64_t second = now - 1 - static_cast<int64_t>(rng.below(20));
      const std::string upstream = "u" + std::to_string(rng.below(2));
      const auto arrived = static_cast<int64_t>(rng.below(5));
      book.take(report(gateway, second, {load(upstream, 1, arrived)}), static_cast<double>(now));
      told[{upstream, second}].emplace(gateway, arrived);
    }
    for (int64_t from = kNow - 20; from < now; from += 7) {
      const int64_t to = from + static_cast<int64_t>(rng.below(60));
      int64_t wanted = 0;
      for (const auto& [key, gateways] : told) {
        if (key.first != "u1" || key.second < from || key.second >= to) continue;
        for (const auto& [gateway, arrived] : gateways) wanted += arrived;
      }
      ASSERT_EQ(book.span("u1", from, to).arrived, wanted) << seed;
    }
  }
}

class InternalApiTest : public testing::Test {
 protected:
  void SetUp() override {
    auto api = InternalApi::start(
        {.token = "secret"}, book_,
        [this](const std::vector<std::string>& awaited) {
          ++told_;
          woken_ = awaited;
        },
        clock_);
    ASSERT_TRUE(api.has_value()) << api.error().message();
    api_ = *std::move(api);
  }

  int ask(std::string method, const std::string& path, std::string token, std::string body = {}) {
    net::ClientRequest request{.method = std::move(method), .url = api_->url() + path};
    if (!token.empty()) request.headers.emplace_back("Authorization", "Bearer " + token);
    request.body = std::move(body);
    const auto answer = client_.fetch(std::move(request));
    EXPECT_TRUE(answer.has_value()) << answer.error().message();
    if (answer) answer_ = answer->body;
    return answer ? answer->status : 0;
  }

  ManualClock clock_;
  LoadBook book_;
  std::vector<std::string> woken_;
  int told_ = 0;
  std::unique_ptr<InternalApi> api_;
  net::HttpClient client_;
  std::string answer_;
};

TEST_F(InternalApiTest, TakesReportsOfThoseWithTheToken) {
  const int64_t second = static_cast<int64_t>(clock_.unix_seconds()) - 1;
  const std::string text = plan::to_json(report("g", second, {load("u", 2, 5)}));
  EXPECT_EQ(ask("POST", "/internal/v1/load", "", text), 401);
  EXPECT_EQ(ask("POST", "/internal/v1/load", "Secret", text), 401);
  EXPECT_EQ(book_.gateways(clock_.unix_seconds()), 0);
  EXPECT_EQ(ask("POST", "/internal/v1/load", "secret", text), 204);
  EXPECT_EQ(book_.span("u", second, second + 1).arrived, 5);
  EXPECT_TRUE(woken_.empty());
  EXPECT_EQ(ask("POST", "/internal/v1/load", "secret", R"({"gateway":"g","wake":["b","a","b"]})"),
            204);
  EXPECT_EQ(woken_, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(ask("POST", "/internal/v1/load", "secret", R"({"gateway":"g","plan_id":"p"})"), 204);
  EXPECT_EQ(told_, 3);
  EXPECT_TRUE(woken_.empty());
  EXPECT_EQ(book_.plans(clock_.unix_seconds()), std::set<std::string>{"p"});
}

TEST_F(InternalApiTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(ask("GET", "/health", ""), 200);
  EXPECT_EQ(ask("GET", "/internal/v1/load", "secret"), 405);
  EXPECT_EQ(ask("POST", "/internal/v1/other", "secret", "{}"), 404);
  EXPECT_EQ(ask("POST", "/internal/v1/load", "secret", R"({"gateway":"g","colour":1})"), 400);
  EXPECT_TRUE(answer_.contains("colour")) << answer_;
  const std::string long_text(plan::kMaxLoadReportBytes + 1, ' ');
  EXPECT_EQ(ask("POST", "/internal/v1/load", "secret", long_text), 413);
  EXPECT_FALSE(InternalApi::start({.token = ""}, book_, nullptr, clock_).has_value());
}

}  // namespace
}  // namespace sluice::platform
