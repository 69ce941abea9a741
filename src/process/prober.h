// Prober: asks one replica how it is, as a ProbeSchedule says, over HTTP, HTTPS or a bare TCP
// connection. HTTPS takes any certificate: a replica is asked how it is, not who.
//
// Belongs to its loop's thread, made and destroyed there (or after the loop ended). Each probe has
// a connection of its own and ends within its timeout.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "net/client.h"
#include "net/event_loop.h"
#include "process/probe_schedule.h"

namespace sluice::process {

class Prober {
 public:
  // Told of every verdict but kNothing, with what the probe saw, for people. It may destroy the
  // prober.
  using Listener = std::function<void(ProbeVerdict verdict, const std::string& why)>;

  // `loop` and `client`, which runs on it, outlive the prober.
  Prober(net::EventLoop& loop, net::HttpClient& client, std::string host, uint16_t port,
         ProbeSchedule schedule, Listener listener);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace sluice::process
