#include "net/redis_client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/rng.h"
#include "net/name_cache.h"

namespace sluice::net {
namespace {

std::optional<SocketAddress> unix_address(const std::string& path) {
  SocketAddress address;
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  if (path.size() >= sizeof(local.sun_path)) return std::nullopt;
  std::memcpy(local.sun_path, path.data(), path.size());
  std::memcpy(&address.storage, &local, sizeof(local));
  address.length = sizeof(local);
  return address;
}

// The first word of "NOAUTH Authentication required."
std::string first_word(const std::string& text) { return text.substr(0, text.find(' ')); }

}  // namespace

RedisClient::RedisClient(std::shared_ptr<EventLoop> loop, RedisOptions options,
                         std::function<void(const Outcome&)> on_state)
    : loop_(std::move(loop)),
      options_(std::move(options)),
      on_state_(std::move(on_state)),
      timer_(*loop_, [this] { on_timer(); }) {}

RedisClient::~RedisClient() { stop(); }

void RedisClient::start() { connect(); }

void RedisClient::stop() {
  if (std::exchange(state_, State::kStopped) == State::kStopped) return;
  close();
  timer_.disarm();
  const Status why(Code::kCancelled, "the client of Redis was closed", {}, std::string(kNotSent));
  for (Queued& each : std::exchange(queued_, {})) each.done(std::unexpected(why));
}

std::string RedisClient::where() const {
  if (!options_.unix_path.empty()) return options_.unix_path;
  return fmt::format("{}:{}", options_.host, options_.port);
}

void RedisClient::call(const std::vector<std::string>& command, Done done) {
  const bool waits = state_ == State::kResolving || state_ == State::kConnecting ||
                     state_ == State::kSecuring || state_ == State::kGreeting;
  if (waiting_.size() + queued_.size() >= options_.max_waiting || (!waits && !up())) {
    Status why(Code::kUnavailable,
               up() || waits ? fmt::format("{} commands wait for Redis already", waiting_.size())
                             : fmt::format("no connection to Redis at {}", where()),
               {}, std::string(kNotSent));
    loop_->post([done = std::move(done), why = std::move(why)]() mutable {
      done(std::unexpected(std::move(why)));
    });
    return;
  }
  if (waits) {
    queued_.push_back({redis_command(command), std::move(done)});
    return;
  }
  send(redis_command(command), std::move(done));
  flush();
}

void RedisClient::connect() {
  state_ = State::kResolving;
  attempt_ends_ = EventLoop::now() + options_.timeout;
  set_timer();
  const int attempt = ++attempt_;
  if (!options_.unix_path.empty()) {
    const auto address = unix_address(options_.unix_path);
    if (!address) return lose({Code::kInvalidArgument, "the path of the socket is too long"});
    return connect_to(*address);
  }
  const auto found = [weak = weak_from_this(), loop = loop_,
                      attempt](const Result<NameCache::Addresses>& addresses) {
    loop->post([weak, attempt, addresses] {
      const auto self = weak.lock();
      if (!self || self->attempt_ != attempt || self->state_ != State::kResolving) return;
      if (!addresses) return self->lose(addresses.error());
      self->connect_to(addresses->front());
    });
  };
  const auto known = NameCache::shared().find(options_.host, options_.port, found);
  // One address for each attempt, in turn.
  if (known) connect_to((*known)[static_cast<size_t>(attempt) % known->size()]);
}

void RedisClient::connect_to(const SocketAddress& address) {
  stream_ = Stream(
      Fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
  if (!stream_.valid()) {
    return lose({Code::kUnavailable, errno_text("cannot open a socket", errno)});
  }
  if (address.storage.ss_family != AF_UNIX) set_no_delay(stream_.fd());
  const int error = ::connect(stream_.fd(), address.raw(), address.length) == 0 ? 0 : errno;
  if (error != 0 && error != EINPROGRESS) {
    return lose({Code::kUnavailable, errno_text("cannot connect", error)});
  }
  interest_ = EPOLLOUT;
  if (auto watched = loop_->watch(stream_.fd(), interest_, this); !watched) {
    return lose(watched.error());
  }
  state_ = State::kConnecting;
}

void RedisClient::on_connected() {
  int error = 0;
  socklen_t length = sizeof(error);
  ::getsockopt(stream_.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) return lose({Code::kUnavailable, errno_text("cannot connect", error)});
  if (!options_.tls) return greet();
  stream_.connect_tls(*options_.tls, options_.tls_name.empty() ? options_.host : options_.tls_name);
  state_ = State::kSecuring;
  secure();
}

void RedisClient::secure() {
  const Stream::State state = stream_.handshake();
  if (state == Stream::State::kBlocked) {
    return set_interest(stream_.wants_write() ? EPOLLOUT : EPOLLIN);
  }
  if (state != Stream::State::kDone) return lose({Code::kUnavailable, stream_.error()});
  greet();
}

// Who we are and which database; then those who wait.
void RedisClient::greet() {
  state_ = State::kGreeting;
  const auto ask = [this](const std::vector<std::string>& command, std::string_view what,
                          bool last) {
    send(redis_command(command), [this, what, last](const Result<RedisReply>& answer) {
      if (state_ != State::kGreeting) return;
      if (!answer) return lose(answer.error().at(what));
      if (!last) return;
      state_ = State::kUp;
      up_since_ = EventLoop::now();
      ping_at_ = up_since_ + kPing;
      for (Queued& each : std::exchange(queued_, {})) {
        send(each.bytes, std::move(each.done));
      }
      on_state_({});
    });
  };
  if (!options_.password.empty()) {
    std::vector<std::string> auth = {"AUTH"};
    if (!options_.username.empty()) auth.push_back(options_.username);
    auth.push_back(options_.password);
    ask(auth, "AUTH", false);
  }
  if (options_.database != 0) {
    ask({"SELECT", std::to_string(options_.database)}, "SELECT", false);
  }
  ask({"PING"}, "PING", true);
  set_interest(EPOLLIN);
  flush();
}

void RedisClient::send(const std::string& bytes, Done done) {
  out_ += bytes;
  waiting_.push_back({std::move(done), EventLoop::now() + options_.timeout});
  set_timer();
}

void RedisClient::flush() {
  while (sent_ < out_.size()) {
    const Stream::Moved moved = stream_.write(std::string_view(out_).substr(sent_));
    if (moved.state == Stream::State::kBlocked) return set_interest(EPOLLIN | EPOLLOUT);
    // What it said before it left is still there to be read.
    if (moved.state == Stream::State::kBroken) break;
    sent_ += moved.bytes;
  }
  out_.clear();
  sent_ = 0;
  set_interest(EPOLLIN);
}

void RedisClient::set_interest(uint32_t events) {
  if (!stream_.valid() || events == interest_) return;
  interest_ = events;
  loop_->rewatch(stream_.fd(), events, this);
}

void RedisClient::on_events(uint32_t events) {
  const auto kept = weak_from_this().lock();  // a callback may drop the last of the others
  if (state_ == State::kConnecting) return on_connected();
  if (state_ == State::kSecuring) return secure();
  if (state_ != State::kGreeting && state_ != State::kUp) return;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive();
  if (stream_.valid() && (events & EPOLLOUT) != 0) flush();
}

void RedisClient::receive() {
  do {
    const std::span<char> space = loop_->scratch();
    const Stream::Moved moved = stream_.read(space);
    if (moved.state == Stream::State::kBlocked) return;
    if (moved.state != Stream::State::kDone) {
      return lose({Code::kUnavailable, moved.state == Stream::State::kEnd
                                           ? "Redis closed the connection"
                                           : stream_.error()});
    }
    const std::string bytes(space.data(), moved.bytes);
    std::string_view rest = bytes;
    while (!rest.empty() && stream_.valid()) {
      rest.remove_prefix(parser_.feed(rest));
      if (parser_.state() == RedisReplyParser::State::kFault) {
        return lose({Code::kUnavailable, "what answers is no Redis: " + parser_.fault()});
      }
      if (parser_.state() == RedisReplyParser::State::kDone) answered(parser_.take());
    }
    if (stream_.valid()) flush();
  } while (stream_.valid() && stream_.unread());
}

void RedisClient::answered(RedisReply reply) {
  if (waiting_.empty()) return lose({Code::kUnavailable, "an answer to no command"});
  Done done = std::move(waiting_.front().done);
  waiting_.pop_front();
  ping_at_ = EventLoop::now() + kPing;
  set_timer();
  if (reply.kind != RedisReply::Kind::kError) return done(std::move(reply));
  done(fail(Code::kFailedPrecondition, "Redis: " + reply.text, {}, first_word(reply.text)));
}

void RedisClient::set_timer() {
  switch (state_) {
    case State::kResolving:
    case State::kConnecting:
    case State::kSecuring:
    case State::kGreeting:
      return timer_.set(attempt_ends_);
    case State::kUp:
      return timer_.set(waiting_.empty() ? ping_at_ : waiting_.front().deadline);
    default:
      return;
  }
}

void RedisClient::on_timer() {
  const auto kept = weak_from_this().lock();
  if (state_ == State::kPausing) return connect();
  const TimePoint now = EventLoop::now();
  if (state_ == State::kUp) {
    if (waiting_.empty() && now >= ping_at_) {
      ping_at_ = now + kPing;
      send(redis_command({"PING"}), [](const Result<RedisReply>&) {});
      return flush();
    }
    if (waiting_.empty() || now < waiting_.front().deadline) return set_timer();
  } else if (now < attempt_ends_) {
    return set_timer();
  }
  lose({Code::kDeadlineExceeded,
        fmt::format("no answer within {:.3f} s", to_seconds(options_.timeout))});
}

void RedisClient::close() {
  if (stream_.valid()) {
    // What was read and is still to be told belongs to nobody any more.
    loop_->unwatch(stream_.fd());
    stream_.close();
  }
  interest_ = 0;
  parser_ = {};
  out_.clear();
  sent_ = 0;
  const Status why(Code::kUnavailable, "the connection to Redis was lost", {}, std::string(kLost));
  for (Waiting& each : std::exchange(waiting_, {})) each.done(std::unexpected(why));
}

void RedisClient::lose(const Status& why) {
  if (state_ == State::kStopped || state_ == State::kPausing) return;
  const TimePoint now = EventLoop::now();
  const bool at_once = up() && now - up_since_ >= kSteady;
  if (at_once) pause_ = {};
  // Whoever is told of it may call at once: that waits for the next attempt where one follows.
  state_ = at_once ? State::kResolving : State::kPausing;
  attempt_ends_ = now + options_.timeout;
  close();
  if (state_ == State::kStopped) return;
  if (at_once) {
    on_state_(std::unexpected(why.at(fmt::format("Redis at {}", where()))));
    if (state_ == State::kResolving) connect();
    return;
  }
  for (Queued& each : std::exchange(queued_, {})) {
    each.done(fail(Code::kUnavailable, fmt::format("no connection to Redis at {}", where()), {},
                   std::string(kNotSent)));
  }
  pause_ = std::clamp<Duration>(pause_ * 2, kFirstPause, kLongestPause);
  thread_local Rng jitter(random_seed());
  const double wait = static_cast<double>(pause_.count()) * (0.8 + 0.4 * jitter.uniform());
  timer_.disarm();
  timer_.set(now + Duration(static_cast<Duration::rep>(wait)));
  on_state_(std::unexpected(why.at(fmt::format("Redis at {}", where()))));
}

}  // namespace sluice::net
