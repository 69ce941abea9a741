#include "endpoint/block_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "api/internal_request.h"
#include "endpoint/sinks.h"

namespace sluice::endpoint {

// One model's; what it tells of may outlive the stream.
class BlockStream::Watcher final : public completion::BlockWatcher {
 public:
  Watcher(std::weak_ptr<BlockStream> stream, size_t model)
      : stream_(std::move(stream)), model_(model) {}

  void on_blocks(std::span<const PrefixChange> changes) override {
    if (const auto stream = stream_.lock()) stream->send(model_, changes);
  }
  bool over() const override {
    const auto stream = stream_.lock();
    return !stream || stream->over();
  }

 private:
  const std::weak_ptr<BlockStream> stream_;
  const size_t model_;
};

namespace {

// The models by their own names, aliases joined.
api::BlockHello hello_of(const completion::Backend& backend) {
  api::BlockHello hello;
  for (const completion::ModelCard& card : backend.models()) {
    if (card.block_size <= 0) continue;
    const auto known = std::ranges::find_if(
        hello.models, [&](const auto& model) { return model.names.front() == card.primary; });
    if (known == hello.models.end()) {
      hello.models.push_back({.names = {card.primary},
                              .fingerprint = card.fingerprint,
                              .block_size = card.block_size});
      if (card.id != card.primary) hello.models.back().names.push_back(card.id);
    } else if (std::ranges::find(known->names, card.id) == known->names.end()) {
      known->names.push_back(card.id);
    }
  }
  return hello;
}

}  // namespace

void BlockStream::begin(completion::Backend& backend) {
  const api::BlockHello hello = hello_of(backend);
  responder_->start(200, {{"Content-Type", std::string(api::kInternalContentType)},
                          {"Cache-Control", "no-store"}});
  {
    const std::lock_guard lock(mutex_);
    frames_.clear();
    writer_.write(hello, frames_);
    responder_->write(frames_);
    begun_ = true;
  }
  for (size_t i = 0; i < hello.models.size(); ++i) {
    const Outcome watched = backend.watch_blocks(hello.models[i].names.front(),
                                                 std::make_shared<Watcher>(weak_from_this(), i));
    // The reader sees a stream that ends, and comes again.
    if (!watched) return end();
  }
  {
    const std::lock_guard lock(mutex_);
    frames_.clear();
    writer_.write(api::BlocksSynced{}, frames_);
    responder_->write(frames_);
  }
  if (over_) responder_->finish();  // ended before there was anything to finish
}

void BlockStream::send(size_t model, std::span<const PrefixChange> changes) {
  const std::lock_guard lock(mutex_);
  if (over()) return;
  frames_.clear();
  writer_.write(model, changes, frames_);
  responder_->write(frames_);
}

void BlockStream::beat() {
  if (!begun_ || over()) return;
  std::string frame;
  api::BlockEventWriter::write_beat(frame);
  responder_->write(frame);
}

void BlockStream::end() {
  if (!over_.exchange(true) && begun_) responder_->finish();
}

}  // namespace sluice::endpoint
