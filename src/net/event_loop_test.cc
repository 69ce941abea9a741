#include "net/event_loop.h"

#include <gtest/gtest.h>

#include <latch>
#include <string>

namespace sluice::net {
namespace {

using std::chrono::milliseconds;

// A loop on its own thread.
class Running {
 public:
  Running() : loop(*EventLoop::create()), thread_([this] { loop->run(); }) {}
  ~Running() { end(); }

  void end() {
    loop->stop();
    if (thread_.joinable()) thread_.join();
  }

  std::shared_ptr<EventLoop> loop;

 private:
  std::thread thread_;
};

TEST(EventLoop, RunsPostedWorkInOrderOnItsThread) {
  std::string order;
  {
    Running running;
    for (const char c : {'a', 'b', 'c'}) {
      running.loop->post([&, c] {
        EXPECT_TRUE(running.loop->on_thread());
        order += c;
      });
    }
    EXPECT_FALSE(running.loop->on_thread());
  }
  EXPECT_EQ(order, "abc");
}

TEST(EventLoop, TakesWorkFromManyThreads) {
  std::atomic<int> done{0};
  {
    Running running;
    std::vector<std::thread> posters;
    for (int t = 0; t < 4; ++t) {
      posters.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) running.loop->post([&] { ++done; });
      });
    }
    for (std::thread& poster : posters) poster.join();
  }
  EXPECT_EQ(done, 4000);
}

TEST(EventLoop, DropsWorkBehindItsEnd) {
  Running running;
  running.end();
  const auto held = std::make_shared<int>(0);
  running.loop->post([held] { ++*held; });
  EXPECT_EQ(*held, 0);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(EventLoop, TimersFireInTheOrderOfTheirDeadlines) {
  Running running;
  std::latch done(1);
  std::string order;
  EventLoop& loop = *running.loop;
  EventLoop::Timer first(loop, [&] { order += '1'; });
  EventLoop::Timer second(loop, [&] { order += '2'; });
  EventLoop::Timer moved_later(loop, [&] {
    order += 'L';
    done.count_down();
  });
  EventLoop::Timer moved_sooner(loop, [&] { order += 'S'; });
  EventLoop::Timer cleared(loop, [&] { order += 'X'; });
  loop.post([&] {
    const TimePoint now = EventLoop::now();
    second.set(now + milliseconds(20));
    first.set(now + milliseconds(10));
    moved_later.set(now + milliseconds(5));
    moved_later.set(now + milliseconds(40));
    moved_sooner.set(now + std::chrono::hours(1));
    moved_sooner.set(now + milliseconds(30));
    cleared.set(now + milliseconds(1));
    cleared.clear();
  });
  done.wait();
  running.end();
  EXPECT_EQ(order, "12SL");
}

TEST(EventLoop, KeepsRetiredObjectsToTheEndOfTheRound) {
  Running running;
  auto object = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = object;
  std::latch first(1);
  std::latch second(1);
  running.loop->post([&] {
    running.loop->retire(std::move(object));
    EXPECT_FALSE(watched.expired());
    // Posted work of this round runs in the next one.
    running.loop->post([&] {
      EXPECT_TRUE(watched.expired());
      second.count_down();
    });
    first.count_down();
  });
  first.wait();
  second.wait();
}

}  // namespace
}  // namespace sluice::net
