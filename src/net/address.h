// Which addresses are on the public internet, and which may be called at all. Pure functions.
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

// Whether a service may be asked there that a configuration or an object names: on this machine, in
// private networks and outside, but not where clouds tell their machines' secrets (link-local, and
// the addresses of the large ones), nor at an address of many or of none. IPv4 inside IPv6 is
// judged by what it stands for.
bool is_service_address(const SocketAddress& address);

}  // namespace sluice::net
