// ReplicaStream: one request to one replica by the internal protocol, and the bytes of its answer.
//
// It is closed by close() or by its destruction; after close() its listener hears nothing more,
// even of bytes that have arrived already: that is the fence behind which a lost replica may wake
// up again and talk on.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "api/internal_events.h"
#include "base/clock.h"
#include "gateway/replica.h"
#include "gateway/unbroken_answer.h"
#include "net/client.h"

namespace sluice::gateway {

// What a replica said in an answer that is no stream: {"error":{"message","param","code"}}.
Status read_refusal(int http_status, std::string_view body);

class ReplicaStream : public std::enable_shared_from_this<ReplicaStream> {
 public:
  // Called on the client's loop thread, or, for a request that could not be begun, inside open().
  class Listener {
   public:
    virtual ~Listener() = default;
    // Bytes have come; `reader` turns them into events.
    virtual void on_bytes(int attempt, std::string_view bytes, api::EventReader& reader) = 0;
    // Nothing more comes. Events may have ended the answer before.
    virtual void on_end(int attempt, Loss loss, const Status& why) = 0;
  };

  ReplicaStream(int attempt, std::weak_ptr<Listener> listener)
      : attempt_(attempt), listener_(std::move(listener)) {}
  ~ReplicaStream() { close(); }
  ReplicaStream(const ReplicaStream&) = delete;
  ReplicaStream& operator=(const ReplicaStream&) = delete;

  // Once. `patience` bounds the connecting; `traceparent` may be empty.
  void open(net::HttpClient& client, const ReplicaInfo& replica, std::string body,
            const std::string& traceparent, Duration patience);
  // Any thread. The connection is cut, so that the replica stops within a step.
  void close();

 private:
  void on_head(int status);
  void on_data(std::string_view bytes);
  void on_end(const Outcome& outcome);

  const int attempt_;
  const std::weak_ptr<Listener> listener_;
  std::atomic<bool> closed_{false};

  // The loop thread's.
  api::EventReader reader_;
  int status_ = 0;
  std::string refusal_;  // the body of an answer that is no stream

  std::mutex mutex_;
  net::ClientCall call_;
};

}  // namespace sluice::gateway
