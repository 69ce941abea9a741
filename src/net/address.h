// Which addresses are on the public internet. Pure functions.
//
// Source: the IANA special-purpose address registries (RFC 6890 and its updates), read narrowly:
// what is not plainly global is not public.
#pragma once

#include "net/socket.h"

namespace sluice::net {

// False for loopback, private, link-local (cloud metadata), shared (carrier NAT), multicast,
// documentation and reserved addresses, for IPv4 inside IPv6 forms of those, and for every other
// family.
bool is_public_address(const SocketAddress& address);

}  // namespace sluice::net
