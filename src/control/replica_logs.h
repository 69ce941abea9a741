// ReplicaLogs: GET …/replicas/NAME/log: the end of what a replica wrote, and what it writes from
// then on.
//
//   ?tailLines=N      only the last N lines
//   ?follow=true      the answer goes on until the client leaves, or the replica's log is gone
//
// Any thread. Follows share one thread, which looks several times a second; it starts with the
// first of them.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/status.h"
#include "control/api_request.h"
#include "control/object_store.h"
#include "net/server.h"

namespace sluice::control {

class ReplicaLogs {
 public:
  // At most the last `max_bytes` of what the replica wrote. Called on this class's thread and on
  // workers.
  using Tail = std::function<Result<std::string>(const ObjectKey& replica, size_t max_bytes)>;

  ReplicaLogs() = default;
  ~ReplicaLogs();
  ReplicaLogs(const ReplicaLogs&) = delete;
  ReplicaLogs& operator=(const ReplicaLogs&) = delete;

  // Until it is set there are no logs. An empty one takes it away again and waits until nobody is
  // inside.
  void set_source(Tail tail);

  // An error means that nothing was answered yet.
  ApiOutcome answer(const ObjectKey& replica, const Query& query,
                    const std::shared_ptr<net::Responder>& responder);

  // Ends all follows.
  void end();

 private:
  struct Follow {
    ObjectKey replica;
    std::shared_ptr<net::Responder> responder;
    std::string seen;  // the last end of the log that was looked at
  };

  Result<std::string> tail(const ObjectKey& replica, size_t max_bytes);
  bool go_on(Follow& follow);
  void look_again(const std::stop_token& stop);

  std::mutex source_mutex_;  // held while the source is asked
  Tail source_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<std::unique_ptr<Follow>> follows_;
  bool ended_ = false;
  std::jthread looker_;  // last: uses the members above
};

// What `now` holds behind the end of `seen`, where both are the end of one text that only grows.
// All of it when the two do not meet. Pure.
std::string_view behind(std::string_view seen, std::string_view now);

// The last `lines` lines. Pure.
std::string_view last_lines(std::string_view text, uint64_t lines);

}  // namespace sluice::control
