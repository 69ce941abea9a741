#include "endpoint/heartbeats.h"

#include <fmt/format.h>

#include <utility>

#include "net/sse.h"

namespace sluice::endpoint {

Heartbeats::Heartbeats(const completion::Backend& backend)
    : backend_(backend), thread_([this](const std::stop_token& stop) { run(stop); }) {}

Heartbeats::~Heartbeats() = default;

void Heartbeats::add(std::weak_ptr<net::Responder> stream, std::string model) {
  {
    const std::lock_guard lock(mutex_);
    streams_.push_back({std::move(stream), std::move(model)});
  }
  wake_.notify_one();
}

void Heartbeats::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (!wake_.wait(lock, stop, [this] { return !streams_.empty(); })) return;
    beat();
    wake_.wait_for(lock, stop, kInterval, [] { return false; });
  }
}

void Heartbeats::beat() {
  std::erase_if(streams_, [this](Stream& stream) {
    const auto responder = stream.responder.lock();
    if (!responder || responder->closed()) return true;
    const uint64_t step = backend_.steps(stream.model);
    if (step != stream.last_step) {
      stream.last_step = step;
      responder->write(net::sse_comment(fmt::format(" step {}", step)));
    }
    return false;
  });
}

}  // namespace sluice::endpoint
