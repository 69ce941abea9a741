// RedisClient: one connection to a Redis server, commands in a pipeline, answers in their order.
//
// It keeps its connection up by itself: after a loss it tries again at once, and then after waits
// that double (a connection that did not hold for a second is no reason to try at once). While it
// connects, commands wait; between two attempts they fail at once. No answer in time means that the
// connection is lost, and with it all that was under way. Every command ends within two times the
// timeout. Belongs to one event loop's thread, where its callbacks come, too.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "net/event_loop.h"
#include "net/redis_reply.h"
#include "net/stream.h"

namespace sluice::net {

class TlsContext;

struct RedisOptions {
  std::string host = {};  // name or address
  uint16_t port = 6379;
  std::string unix_path = {};  // a socket in the file system, instead of host and port
  std::shared_ptr<const TlsContext> tls = {};  // none: in the clear
  std::string tls_name = {};                   // that the server's certificate must name
  std::string username = {};
  std::string password = {};  // empty: no AUTH
  int database = 0;
  // For a connection to be ready, and for an answer.
  Duration timeout = std::chrono::milliseconds(250);
  size_t max_waiting = 16384;  // commands without an answer
};

class RedisClient final : public EventLoop::Watcher,
                          public std::enable_shared_from_this<RedisClient> {
 public:
  // Of a failure the reason() is Redis's own first word ("NOSCRIPT") for an answer of Redis that is
  // an error, and otherwise one of those below.
  using Done = std::move_only_function<void(Result<RedisReply>)>;
  // It was not sent.
  static constexpr std::string_view kNotSent = "not_sent";
  // It may have been carried out or not.
  static constexpr std::string_view kLost = "lost";

  // `on_state` is told of each attempt's end: connected, or why not; and of each loss.
  RedisClient(std::shared_ptr<EventLoop> loop, RedisOptions options,
              std::function<void(const Outcome&)> on_state);
  ~RedisClient();

  void start();
  // Fails what waits; nothing comes after that.
  void stop();
  // `done` is called once, never inside call().
  void call(const std::vector<std::string>& command, Done done);
  bool up() const { return state_ == State::kUp; }

  void on_events(uint32_t events) override;

  static constexpr std::chrono::milliseconds kFirstPause{50};
  static constexpr std::chrono::seconds kLongestPause{1};
  static constexpr std::chrono::seconds kPing{1};  // after so long without a command
  // A connection that held so long is worth another attempt at once.
  static constexpr std::chrono::seconds kSteady{1};

 private:
  enum class State {
    kIdle,
    kResolving,
    kConnecting,
    kSecuring,
    kGreeting,
    kUp,
    kPausing,
    kStopped
  };
  struct Waiting {
    Done done;
    TimePoint deadline;
  };
  struct Queued {
    std::string bytes;
    Done done;
  };

  void connect();
  void connect_to(const SocketAddress& address);
  void on_connected();
  void secure();
  void greet();
  void send(const std::string& bytes, Done done);
  void flush();
  void receive();
  void answered(RedisReply reply);
  void set_interest(uint32_t events);
  void on_timer();
  void set_timer();
  void lose(const Status& why);
  void close();
  std::string where() const;

  const std::shared_ptr<EventLoop> loop_;
  const RedisOptions options_;
  const std::function<void(const Outcome&)> on_state_;

  State state_ = State::kIdle;
  Stream stream_;
  uint32_t interest_ = 0;
  RedisReplyParser parser_;
  std::string out_;
  size_t sent_ = 0;
  std::deque<Waiting> waiting_;  // sent, in their order
  std::deque<Queued> queued_;    // until it is connected
  TimePoint attempt_ends_{};
  TimePoint ping_at_{};
  TimePoint up_since_{};
  Duration pause_{};
  int attempt_ = 0;  // tells a look-up's answer from that of an earlier attempt
  EventLoop::Timer timer_;
};

}  // namespace sluice::net
