#include "endpoint/internal_stream.h"

#include <utility>

#include "api/internal_request.h"

namespace sluice::endpoint {

InternalStream::InternalStream(std::shared_ptr<net::Responder> responder)
    : responder_(std::move(responder)) {
  responder_->start(200, {{"Content-Type", std::string(api::kInternalContentType)},
                          {"Cache-Control", "no-store"}});
}

void InternalStream::set_start(std::string model, std::string fingerprint, int max_model_len,
                               uint64_t seed, bool resumed) {
  const std::lock_guard lock(mutex_);
  model_ = std::move(model);
  start_.fingerprint = std::move(fingerprint);
  start_.max_model_len = max_model_len;
  start_.seed = seed;
  resumed_ = resumed;
}

std::string InternalStream::model() const {
  const std::lock_guard lock(mutex_);
  return model_;
}

template <typename Event>
void InternalStream::send(const Event& event) {
  const std::lock_guard lock(mutex_);
  if (over_) return;
  frame_.clear();
  writer_.write(event, frame_);
  spoke_ = true;
  responder_->write(frame_);
}

void InternalStream::end() {
  if (!over_.exchange(true)) responder_->finish();
}

void InternalStream::on_start(completion::PromptInfo info) {
  api::StartEvent start;
  {
    const std::lock_guard lock(mutex_);
    start = std::move(start_);
    if (!info.fingerprint.empty()) start.fingerprint = info.fingerprint;
    if (!resumed_) start.info = std::move(info);
  }
  send(start);
}

void InternalStream::on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) {
  send(api::PromptLogprobsEvent{prompt, std::move(entries)});
}

void InternalStream::on_delta(completion::Delta delta) { send(delta); }

void InternalStream::on_done(const completion::Usage& usage) {
  send(usage);
  end();
}

void InternalStream::on_error(const Status& status) {
  send(status);
  end();
}

void InternalStream::leave() { send(api::LeavingEvent{}); }

void InternalStream::beat(uint64_t step) {
  if (spoke_.exchange(false) || over()) return;
  std::string frame;
  api::EventWriter::write_beat(step, frame);
  responder_->write(frame);
}

}  // namespace sluice::endpoint
