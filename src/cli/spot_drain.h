// SpotDrain: what the platform does when its machine is about to be taken back.
//
//   at once         the gateway says that it is not ready, and goes on answering: who sends
//   requests
//                   here goes elsewhere
//   after a third   the platform ends in order: the gateway answers what it has begun, replicas
//   of the time     drain, then the controller
//   at the end      whatever still runs is ended, before the machine is
//
// A notice may also be about some replicas only (POST /admin/v1/notice): those are replaced first,
// then drained; their streams go on at others.
//
// One thread, beside the watcher's.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/json.h"
#include "base/status.h"
#include "cli/platform_flags.h"
#include "cli/spot/watcher.h"
#include "net/http.h"

namespace sluice::control {
class ControlPlane;
struct Identity;
}  // namespace sluice::control

namespace sluice::cli {

class SpotDrain {
 public:
  // `plane` outlives it, and is handed the admin call.
  static Result<std::unique_ptr<SpotDrain>> start(const PlatformFlags& flags,
                                                  control::ControlPlane& plane);
  ~SpotDrain();

 private:
  explicit SpotDrain(control::ControlPlane& plane) : plane_(plane) {}

  net::HttpResponse answer(const net::HttpRequest& request, const control::Identity& who);
  net::HttpResponse evict(const json::array& replicas, const control::Identity& who);
  void on_notice(const SpotNotice& notice);
  void leave(const std::stop_token& stop, const SpotNotice& notice);

  control::ControlPlane& plane_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread leaving_;
  std::unique_ptr<SpotWatcher> watcher_;  // last: calls on_notice()
};

}  // namespace sluice::cli
