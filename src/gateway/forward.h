// A client's request as the gateway sends it on, and an upstream's answer as the client gets it:
// which header fields travel.
#pragma once

#include <string>
#include <string_view>

#include "net/client.h"
#include "net/http.h"
#include "plan/plan.h"

namespace sluice::gateway {

// Hop-by-hop fields, credentials and what the client library adds itself are left out; the
// upstream's own key and headers, the request's id and the trace go along.
net::Headers onward_headers(const net::HttpRequest& request, const plan::Upstream& upstream,
                            std::string_view id, std::string_view traceparent);

// Fields of an answer that go to the client.
net::Headers answer_headers(const net::Headers& headers, std::string_view id);

bool is_event_stream(const net::Headers& headers);

// Of a client for all of a plan's requests: an attempt and a second one beside it for each
// connection that the server takes, the copies, and the gateway's own questions. Names and URLs may
// be users' own: it connects to services' addresses only.
net::ClientOptions client_options(const plan::Plan& plan);

// The caller's traceparent when it is one, else a new one (W3C Trace Context, version 00).
std::string traceparent_of(const net::HttpRequest& request);
// The trace id in it.
std::string_view trace_id_of(std::string_view traceparent);

}  // namespace sluice::gateway
