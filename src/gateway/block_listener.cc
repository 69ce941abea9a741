#include "gateway/block_listener.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>

#include "api/block_events.h"
#include "api/internal_request.h"
#include "base/log.h"

namespace sluice::gateway {
namespace {

constexpr std::chrono::seconds kConnectPatience{2};
constexpr std::chrono::seconds kSilence{5};  // beats come every second
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::seconds kLongestPause{10};
constexpr int kOk = 200;

}  // namespace

// The stream of one replica.
class BlockListener::Line : public std::enable_shared_from_this<Line> {
 public:
  Line(std::shared_ptr<ReplicaState> replica, std::shared_ptr<UpstreamBlocks> blocks)
      : replica_(std::move(replica)), blocks_(std::move(blocks)) {}

  const std::shared_ptr<UpstreamBlocks>& blocks() const { return blocks_; }
  bool due(TimePoint now) const { return !open_ && now >= retry_at_ && replica_->healthy(); }

  void open(net::HttpClient& client, const Clock& clock) {
    open_ = true;
    reader_ = {};
    status_ = 0;
    const ReplicaInfo& replica = replica_->info();
    net::ClientRequest request{
        .method = "POST",
        .url = replica.url + "/internal/v1/blocks",
        .headers = {{"Authorization", "Bearer " + replica.internal_token},
                    {"Content-Type", std::string(api::kInternalContentType)}}};
    request.connect_timeout = kConnectPatience;
    request.first_byte_timeout = kSilence;
    request.read_timeout = kSilence;
    request.tls = replica.tls;
    request.tls_name = replica.tls_name;
    const auto self = shared_from_this();
    call_ = client.request(
        std::move(request),
        {.on_head = [self](int status, const net::Headers&) { self->status_ = status; },
         .on_data = [self](std::string_view bytes) { self->on_data(bytes); },
         .on_end = [self, &clock](const Outcome& outcome) { self->on_end(outcome, clock.now()); }});
  }

  void close() {
    if (std::exchange(closed_, true)) return;
    blocks_->on_lost(replica_->slot());
    call_.cancel();
  }

 private:
  void on_data(std::string_view bytes) {
    if (closed_ || status_ != kOk || !broken_.empty()) return;
    const Outcome read =
        reader_.feed(bytes, [this](const api::BlockEvent& event) { on_event(event); });
    if (read) return;
    broken_ = read.error().message();
    blocks_->on_lost(replica_->slot());
    call_.cancel();
  }

  void on_event(const api::BlockEvent& event) {
    blocks_->on_event(replica_->slot(), event);
    if (const auto* hello = std::get_if<api::BlockHello>(&event)) {
      for (const auto& model : hello->models) {
        for (const std::string& name : model.names) {
          replica_->learn_fingerprint(name, model.fingerprint);
        }
      }
    } else if (std::holds_alternative<api::BlocksSynced>(event)) {
      pause_ = kFirstPause;
      silent_ = false;
    }
  }

  void on_end(const Outcome& outcome, TimePoint now) {
    if (closed_) return;
    open_ = false;
    retry_at_ = now + pause_;
    pause_ = std::min<Duration>(2 * pause_, kLongestPause);
    blocks_->on_lost(replica_->slot());
    std::string why = std::exchange(broken_, {});
    if (why.empty() && status_ != kOk && status_ != 0) why = fmt::format("status {}", status_);
    if (why.empty() && !outcome) why = outcome.error().message();
    if (why.empty() || std::exchange(silent_, true)) return;
    log_warn("replica {} of {} does not tell what its prefix cache holds: {}",
             replica_->info().name, replica_->info().upstream, why);
  }

  const std::shared_ptr<ReplicaState> replica_;
  const std::shared_ptr<UpstreamBlocks> blocks_;
  net::ClientCall call_;
  api::BlockEventReader reader_;
  std::string broken_;
  int status_ = 0;
  bool open_ = false;
  bool closed_ = false;
  bool silent_ = false;  // that it does not tell has been said
  TimePoint retry_at_{};
  Duration pause_ = kFirstPause;
};

void BlockListener::tick(const Snapshot& snapshot) {
  std::map<std::shared_ptr<ReplicaState>, std::shared_ptr<UpstreamBlocks>> wanted;
  for (const auto& [name, upstream] : snapshot.upstreams()) {
    const auto blocks = upstream->blocks();
    if (!blocks) continue;
    for (const auto& replica : *upstream->replicas()) wanted.emplace(replica, blocks);
  }
  // Before anything is opened: a slot of one that is gone may be another's by now.
  std::erase_if(lines_, [&](const auto& line) {
    const auto still = wanted.find(line.first);
    if (still != wanted.end() && still->second == line.second->blocks()) return false;
    line.second->close();
    return true;
  });
  const TimePoint now = clock_.now();
  for (const auto& [replica, blocks] : wanted) {
    auto& line = lines_[replica];
    if (!line) line = std::make_shared<Line>(replica, blocks);
    if (line->due(now)) line->open(client_, clock_);
  }
}

void BlockListener::end() {
  for (const auto& [replica, line] : lines_) line->close();
  lines_.clear();
}

}  // namespace sluice::gateway
