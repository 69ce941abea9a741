#include "process/replica_watch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "process/folder.h"
#include "process/folder_watch.h"
#include "process/leftovers.h"

namespace sluice::process {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Only until the keeper is known; from then on its pidfd tells.
constexpr Duration kLookAgain = milliseconds(200);
constexpr Duration kUsageAge = seconds(1);
// One that does not answer has no use for a long grace, and its place is wanted.
constexpr Duration kNotLiveGrace = seconds(10);

// Of the file `ready`, which is there from the first time on.
constexpr std::string_view kNow = "now\n";
constexpr std::string_view kNotNow = "not now\n";

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

template <typename T>
Result<T> read_record(const fs::path& path, Result<T> (*parse)(std::string_view)) {
  SLUICE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxOrderBytes));
  auto record = parse(text);
  if (!record) return std::unexpected(record.error().at(path.string()));
  return record;
}

bool is_https(const ReplicaSpec& spec) {
  const auto asks = [](const std::optional<Probe>& probe) {
    return probe && probe->kind == Probe::Kind::kHttp && probe->https;
  };
  return asks(spec.readiness) || asks(spec.startup) || asks(spec.liveness);
}

}  // namespace

ReplicaWatch::ReplicaWatch(World world, fs::path folder)
    : world_(std::move(world)),
      folder_(std::move(folder)),
      id_(folder_.filename().string()),
      timer_(*world_.loop, [this] { look(); }) {}

std::shared_ptr<ReplicaWatch> ReplicaWatch::make(World world, const fs::path& folder) {
  const auto destroy = [loop = world.loop](ReplicaWatch* replica) {
    struct Destroy {
      void operator()(ReplicaWatch* owned) const { delete owned; }
    };
    // Destroyed with the task: on the loop's thread, or here when the loop has ended.
    loop->post([owned = std::unique_ptr<ReplicaWatch, Destroy>(replica)] {});
  };
  return {new ReplicaWatch(std::move(world), folder), destroy};
}

std::shared_ptr<ReplicaWatch> ReplicaWatch::started(World world, const fs::path& folder,
                                                    KeeperOrder order, net::Fd keeper) {
  auto out = make(std::move(world), folder);
  out->order_ = std::move(order);
  out->keeper_ = std::move(keeper);
  return out;
}

std::shared_ptr<ReplicaWatch> ReplicaWatch::adopt(World world, const fs::path& folder) {
  auto out = make(std::move(world), folder);
  if (const auto ready = read_file(folder / kReadyFile, kMaxRecordBytes)) {
    out->history_ = *ready == kNow ? ProbeHistory::kReady : ProbeHistory::kNotReady;
  }
  if (is_there(folder / kEndFile)) {
    out->status_.phase = WatchedPhase::kDraining;
    const auto order = read_record(folder / kEndFile, parse_end_order);
    if (order) out->end_order_ = *order;
  }
  out->look_for_order();
  if (out->look_for_end()) return out;
  out->look_for_state();
  const auto locked = is_locked(folder);
  if (locked && !*locked) out->lose_keeper();
  return out;
}

ReplicaWatch::~ReplicaWatch() {
  timer_.disarm();
  if (keeper_watched_) world_.loop->unwatch(keeper_.get());
  world_.folders.remove(folder_number_);
}

void ReplicaWatch::begin() {
  if (status().phase == WatchedPhase::kExited) return;
  folder_number_ = world_.folders.add(folder_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->look();
  });
  if (keeper_.valid()) hold_keeper(std::move(keeper_));
  start_probing();
  look();
}

void ReplicaWatch::when_gone(std::function<void()> gone) {
  world_.loop->post([self = shared_from_this(), gone = std::move(gone)]() mutable {
    if (self->keeper_gone_ || !self->keeper_watched_) return gone();
    self->gone_ = std::move(gone);
  });
}

WatchedReplica ReplicaWatch::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

Usage ReplicaWatch::usage() {
  const TimePoint now = system_clock().now();
  ProcessName program;
  {
    const std::lock_guard lock(mutex_);
    if (status_.phase == WatchedPhase::kExited || program_.pid == 0) return {};
    if (now < usage_until_) return usage_;
    program = program_;
  }
  const Usage found = tree_usage(program).value_or(Usage{});
  const std::lock_guard lock(mutex_);
  usage_ = found;
  usage_until_ = now + kUsageAge;
  return usage_;
}

void ReplicaWatch::drain() {
  set_phase(WatchedPhase::kDraining);
  world_.loop->post([self = shared_from_this()] { self->order_end({}, SIGTERM); });
}

void ReplicaWatch::kill() {
  set_phase(WatchedPhase::kDraining);
  world_.loop->post([self = shared_from_this()] {
    self->order_end({.message = "killed as it was told to"}, SIGUSR1);
  });
}

// Exited and draining replicas stay so. Tells nobody.
void ReplicaWatch::set_phase(WatchedPhase phase) {
  const std::lock_guard lock(mutex_);
  const bool ending =
      status_.phase == WatchedPhase::kExited || status_.phase == WatchedPhase::kDraining;
  if (!ending) status_.phase = phase;
}

void ReplicaWatch::order_end(const EndOrder& order, int signal) {
  const bool repeated = ordered_signal_ == signal || ordered_signal_ == SIGUSR1;
  if (repeated || status().phase == WatchedPhase::kExited) return;
  prober_.reset();
  ordered_signal_ = signal;
  signal_sent_ = false;
  if (end_order_.reason.empty()) end_order_ = order;
  end_order_.message = readable_tail(end_order_.message);  // it may quote what a server said
  // A keeper that cannot be told why ends it all the same.
  if (const auto told = write_record(folder_ / kEndFile, record_text(end_order_)); !told) {
    log_warn("{}", told.error().message());
  }
  send_signal();
  world_.changed(id_);
}

void ReplicaWatch::send_signal() {
  if (ordered_signal_ == 0 || signal_sent_) return;
  signal_sent_ = signal_process(keeper_, ordered_signal_);
}

void ReplicaWatch::hold_keeper(net::Fd keeper) {
  keeper_ = std::move(keeper);
  keeper_watched_ = world_.loop->watch(keeper_.get(), EPOLLIN, this).has_value();
  send_signal();
}

// The keeper has ended.
void ReplicaWatch::on_events(uint32_t) {
  const auto self = shared_from_this();
  world_.loop->unwatch(keeper_.get());
  keeper_watched_ = false;
  siginfo_t info{};
  // It may be this process's child, or another one's; only a parent reaps.
  ::waitid(P_PIDFD, static_cast<id_t>(keeper_.get()), &info, WEXITED | WNOHANG);
  keeper_gone_ = true;
  look();
  if (gone_) std::exchange(gone_, nullptr)();
}

void ReplicaWatch::look() {
  const auto self = shared_from_this();
  if (status().phase == WatchedPhase::kExited) return;
  if (look_for_end()) return world_.changed(id_);
  if (keeper_gone_ || !look_for_keeper()) {
    // It may have written its last word since that was looked for.
    if (!look_for_end()) lose_keeper();
    return world_.changed(id_);
  }
  if (!order_) look_for_order();
  if (!state_) {
    look_for_state();
    if (state_) {
      start_probing();
      world_.changed(id_);
    }
  }
  if (!keeper_watched_ || !state_ || !order_) timer_.set(net::EventLoop::now() + kLookAgain);
}

bool ReplicaWatch::look_for_end() {
  const fs::path path = folder_ / kExitFile;
  if (!is_there(path)) return false;
  auto end = read_record(path, parse_end);
  if (!end) {
    log_error("{}", end.error().message());
    end = ReplicaEnd{.reason = std::string(kError), .message = end.error().message()};
  }
  finish(*std::move(end));
  return true;
}

// False when nobody holds the lock.
bool ReplicaWatch::look_for_keeper() {
  if (keeper_watched_) return true;
  const auto locked = is_locked(folder_);
  if (!locked) complain_once(locked.error().message());
  if (!locked || !*locked) return !locked;
  net::Fd keeper;
  if (state_) keeper = open_process(state_->keeper);
  if (!keeper.valid()) {
    const ProcessName holder = find_lock_holder(folder_);
    if (holder.pid != 0) keeper = open_process(holder);
  }
  if (keeper.valid()) hold_keeper(std::move(keeper));
  return true;
}

void ReplicaWatch::look_for_order() {
  auto order = read_record(folder_ / kSpecFile, parse_order);
  if (!order) return complain_once(order.error().message());
  order_ = *std::move(order);
}

void ReplicaWatch::look_for_state() {
  // A damaged spec: the living keeper has it.
  if (!order_) return ask_anew();
  const fs::path path = folder_ / kStateFile;
  if (!is_there(path)) return;
  auto state = read_record(path, parse_state);
  if (state && state->token != order_->token) {
    state = invalid(fmt::format("{} is of another start", path.string()));
  }
  if (!state) {
    complain_once(state.error().message());
    return ask_anew();
  }
  state_ = *std::move(state);
  const std::lock_guard lock(mutex_);
  status_.url =
      fmt::format("{}://127.0.0.1:{}", is_https(order_->spec) ? "https" : "http", state_->port);
  status_.pid = state_->program.pid;
  status_.started_unix = state_->started_unix;
  program_ = state_->program;
  if (status_.phase != WatchedPhase::kStarting || history_ == ProbeHistory::kNone) return;
  status_.phase = history_ == ProbeHistory::kReady ? WatchedPhase::kReady : WatchedPhase::kNotReady;
}

void ReplicaWatch::ask_anew() {
  if (!asked_anew_) asked_anew_ = signal_process(keeper_, SIGHUP);
}

void ReplicaWatch::complain_once(const std::string& text) {
  if (!std::exchange(complained_, true)) log_error("{}", text);
}

void ReplicaWatch::start_probing() {
  if (!state_ || !order_ || prober_) return;
  const WatchedPhase phase = status().phase;
  if (phase == WatchedPhase::kDraining || phase == WatchedPhase::kExited) return;
  prober_ = std::make_unique<Prober>(
      *world_.loop, world_.client, "127.0.0.1", state_->port,
      ProbeSchedule(order_->spec, net::EventLoop::now(), history_),
      [this](ProbeVerdict verdict, const std::string& why) { on_verdict(verdict, why); });
}

void ReplicaWatch::note_history(ProbeHistory history) {
  history_ = history;
  const bool now = history == ProbeHistory::kReady;
  const auto noted = write_record(folder_ / kReadyFile, now ? kNow : kNotNow);
  if (!noted) log_warn("{}", noted.error().message());
}

void ReplicaWatch::on_verdict(ProbeVerdict verdict, const std::string& why) {
  const auto self = shared_from_this();
  switch (verdict) {
    case ProbeVerdict::kNothing:
      return;
    case ProbeVerdict::kReady:
      note_history(ProbeHistory::kReady);
      set_phase(WatchedPhase::kReady);
      break;
    case ProbeVerdict::kNotReady:
      log_warn("{}: not ready any more: {}", id_, why);
      note_history(ProbeHistory::kNotReady);
      set_phase(WatchedPhase::kNotReady);
      break;
    case ProbeVerdict::kStartTimeout:
      set_phase(WatchedPhase::kDraining);
      return order_end({.reason = std::string(kStartTimeout), .message = why}, SIGUSR1);
    case ProbeVerdict::kNotLive:
      set_phase(WatchedPhase::kDraining);
      return order_end({.reason = std::string(kNotLive),
                        .message = why,
                        .grace = std::min(kNotLiveGrace, order_->spec.grace)},
                       SIGTERM);
  }
  world_.changed(id_);
}

// The kernel has killed the program with its keeper; what that had started may still run.
void ReplicaWatch::lose_keeper() {
  const size_t killed =
      order_ ? kill_leftovers(order_->token, state_ ? &*state_ : nullptr) : size_t{0};
  ReplicaEnd end;
  end.token = order_ ? order_->token : "";
  end.at_unix = system_clock().unix_seconds();
  const bool ran = state_ || is_there(folder_ / kStateFile);
  end.reason = ran ? kError : kCannotStart;
  end.signal = ran ? SIGKILL : 0;
  end.message = ran ? "its keeper was killed, and it with its keeper"
                    : "its keeper ended before it had started it";
  if (killed > 0) end.message += fmt::format("; {} processes that it had left were ended", killed);
  const auto said = read_file(folder_ / kKeeperLogFile, kMaxRecordBytes);
  if (said && !said->empty()) end.message = readable_tail(end.message + "\n" + *said);
  if (const auto written = write_record(folder_ / kExitFile, record_text(end)); !written) {
    log_error("{}", written.error().message());
  }
  finish(std::move(end));
}

void ReplicaWatch::finish(ReplicaEnd end) {
  prober_.reset();
  timer_.disarm();
  // Where the keeper could not be told the reason, for want of room on the disk.
  const bool told = end.reason != kError && end.reason != kCompleted;
  if (!end_order_.reason.empty() && !told) {
    end.reason = end_order_.reason;
    end.message = readable_tail(end_order_.message + "\n" + end.message);
  }
  const std::lock_guard lock(mutex_);
  status_.phase = WatchedPhase::kExited;
  status_.end = std::move(end);
}

}  // namespace sluice::process
