#include "control/replica_logs.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <optional>
#include <utility>

#include "control/limits.h"

namespace sluice::control {
namespace {

constexpr std::chrono::milliseconds kLook{200};

net::Headers headers() {
  return {{"Content-Type", "text/plain; charset=utf-8"},
          {"Cache-Control", "no-cache, private"},
          {"X-Content-Type-Options", "nosniff"}};
}

}  // namespace

std::string_view behind(std::string_view seen, std::string_view now) {
  if (seen == now) return {};
  // Knuth, Morris, Pratt: the longest beginning of `now` that is an end of `seen`.
  std::vector<uint32_t> fallback(now.size(), 0);
  for (size_t i = 1, length = 0; i < now.size(); ++i) {
    while (length > 0 && now[i] != now[length]) length = fallback[length - 1];
    if (now[i] == now[length]) ++length;
    fallback[i] = static_cast<uint32_t>(length);
  }
  size_t length = 0;
  for (const char c : seen) {
    while (length > 0 && (length == now.size() || c != now[length])) length = fallback[length - 1];
    if (!now.empty() && c == now[length]) ++length;
  }
  return now.substr(length);
}

std::string_view last_lines(std::string_view text, uint64_t lines) {
  if (lines == 0) return {};
  size_t at = text.size();
  if (text.ends_with('\n')) --at;
  while (at > 0) {
    const size_t end = text.rfind('\n', at - 1);
    if (end == std::string_view::npos) return text;
    if (--lines == 0) return text.substr(end + 1);
    at = end;
  }
  return text;
}

ReplicaLogs::~ReplicaLogs() {
  end();
  looker_ = {};
}

void ReplicaLogs::set_source(Tail tail) {
  const std::lock_guard lock(source_mutex_);
  source_ = std::move(tail);
}

Result<std::string> ReplicaLogs::tail(const ObjectKey& replica, size_t max_bytes) {
  const std::lock_guard lock(source_mutex_);
  if (!source_) {
    return fail(Code::kUnavailable, "this controller runs no replicas: there are no logs");
  }
  return source_(replica, max_bytes);
}

ApiOutcome ReplicaLogs::answer(const ObjectKey& replica, const Query& query,
                               const std::shared_ptr<net::Responder>& responder) {
  SLUICE_ASSIGN_OR_RETURN(const auto lines, query.number("tailLines"));
  auto text = tail(replica, limits::kMaxLogBytes);
  if (!text) return std::unexpected(ApiError(text.error()));
  std::string_view shown = *text;
  if (lines) shown = last_lines(shown, *lines);
  if (!query.flag("follow")) {
    responder->send({.status = 200, .headers = headers(), .body = std::string(shown)});
    return {};
  }
  auto follow = std::make_unique<Follow>(Follow{replica, responder, {}});
  const size_t kept = std::min(text->size(), limits::kMaxFollowBytes);
  follow->seen = text->substr(text->size() - kept);
  const std::lock_guard lock(mutex_);
  if (ended_ || follows_.size() >= limits::kMaxLogFollows) {
    ApiError busy(
        429, "TooManyRequests",
        fmt::format("{} logs are being followed already: end one of them first", follows_.size()));
    busy.retry_after_seconds = 1;
    return std::unexpected(std::move(busy));
  }
  responder->start(200, headers());
  responder->write(shown);
  follows_.push_back(std::move(follow));
  if (!looker_.joinable()) {
    looker_ = std::jthread([this](const std::stop_token& stop) { look_again(stop); });
  }
  wake_.notify_all();
  return {};
}

// False: it is over.
bool ReplicaLogs::go_on(Follow& follow) {
  if (follow.responder->closed()) return false;
  auto now = tail(follow.replica, limits::kMaxFollowBytes);
  if (!now) {
    follow.responder->finish();
    return false;
  }
  const std::string_view news = behind(follow.seen, *now);
  const bool taken = news.empty() || follow.responder->write(news);
  follow.seen = *std::move(now);
  return taken;
}

void ReplicaLogs::look_again(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    wake_.wait(lock, stop, [this] { return !follows_.empty(); });
    // Logs are read without the lock, so that new follows need not wait for the disk.
    std::vector<std::unique_ptr<Follow>> looked = std::exchange(follows_, {});
    lock.unlock();
    std::erase_if(looked, [this](const auto& each) { return !go_on(*each); });
    lock.lock();
    if (ended_) {
      for (const auto& each : looked) each->responder->finish();
      continue;
    }
    std::ranges::move(looked, std::back_inserter(follows_));
    wake_.wait_for(lock, stop, kLook, [this] { return ended_; });
  }
}

void ReplicaLogs::end() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  for (const auto& each : follows_) each->responder->finish();
  follows_.clear();
  wake_.notify_all();
}

}  // namespace sluice::control
