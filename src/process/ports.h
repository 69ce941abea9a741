// A port for a program that is told a number and listens there itself.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "net/socket.h"

namespace sluice::process {

// Free when it was chosen, outside of those that the kernel gives to connections by itself, and
// promised to no other keeper of this network namespace for as long as `promise` is open.
struct ReservedPort {
  uint16_t port = 0;
  net::Fd promise;
};
Result<ReservedPort> reserve_port();

}  // namespace sluice::process
