// HeldRequest: a request on its way from the door to a branch whose upstream holds requests: goes
// on at once where there is a place, else waits for one. The branch that the split chose is kept.
#pragma once

#include <functional>
#include <memory>

#include "gateway/hold_wait.h"
#include "gateway/relay.h"
#include "net/event_loop.h"

namespace sluice::gateway {

// On the loop's thread. Keeps itself alive until it went on, was refused or was left.
class HeldRequest : public std::enable_shared_from_this<HeldRequest> {
 public:
  // Goes on with the request, on the loop's thread.
  using Next = std::function<void(RelayRequest request)>;
  // Told what it is refused with.
  using Refuse = std::function<void(RelayRequest& request, const Status& status)>;

  struct Ways {
    Next next;
    Next again;  // the branch's upstream is gone: by the plan that is in force now
    Refuse refuse;
  };

  // The request has a branch that holds.
  static void begin(RelayHost& host, net::EventLoop& loop, RelayRequest request, Ways ways);
  // Use begin().
  HeldRequest(RelayHost& host, net::EventLoop& loop, RelayRequest request, Ways ways);

 private:
  void wait();
  void on_place(Result<Admission::Permit> place, Duration waited);
  void on_client_gone();

  RelayHost& host_;
  net::EventLoop& loop_;
  RelayRequest request_;
  const Ways ways_;
  std::shared_ptr<HoldWait> wait_;
  std::shared_ptr<HeldRequest> self_;  // until it is over
};

}  // namespace sluice::gateway
