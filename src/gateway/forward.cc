#include "gateway/forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/rng.h"
#include "net/address.h"

namespace sluice::gateway {
namespace {

constexpr std::array<std::string_view, 10> kHopByHop = {"connection",
                                                        "keep-alive",
                                                        "proxy-authenticate",
                                                        "proxy-authorization",
                                                        "proxy-connection",
                                                        "te",
                                                        "trailer",
                                                        "transfer-encoding",
                                                        "upgrade",
                                                        "content-length"};
// Asked of the gateway, not of the upstream; added anew; or nothing that an upstream should see.
constexpr std::array<std::string_view, 14> kNotOnward = {"host",
                                                         "authorization",
                                                         "x-api-key",
                                                         "cookie",
                                                         "expect",
                                                         "accept-encoding",
                                                         "traceparent",
                                                         "x-request-id",
                                                         "forwarded",
                                                         "x-forwarded-for",
                                                         "x-forwarded-host",
                                                         "x-forwarded-port",
                                                         "x-forwarded-proto",
                                                         "x-real-ip"};
constexpr std::array<std::string_view, 5> kNotBack = {"date", "server", "set-cookie", "alt-svc",
                                                      "x-request-id"};

// Of Anthropic's API: what a client that knows nothing of it gets.
constexpr std::string_view kVersionHeader = "anthropic-version";
constexpr std::string_view kVersion = "2023-06-01";

template <size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::ranges::any_of(
      names, [&](std::string_view each) { return net::equals_ignoring_case(name, each); });
}

// Named by the Connection field: for this hop only.
bool named_in(std::string_view connection, std::string_view name) {
  while (!connection.empty()) {
    std::string_view word = connection.substr(0, connection.find(','));
    connection.remove_prefix(std::min(connection.size(), word.size() + 1));
    while (word.starts_with(' ') || word.starts_with('\t')) word.remove_prefix(1);
    while (word.ends_with(' ') || word.ends_with('\t')) word.remove_suffix(1);
    if (net::equals_ignoring_case(word, name)) return true;
  }
  return false;
}

bool is_traceparent(std::string_view text) {
  if (text.size() != 55 || !text.starts_with("00-") || text[35] != '-' || text[52] != '-') {
    return false;
  }
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  const auto all_hex = [&](size_t at, size_t count) {
    return std::ranges::all_of(text.substr(at, count), hex);
  };
  return all_hex(3, 32) && all_hex(36, 16) && all_hex(53, 2) &&
         text.substr(3, 32).find_first_not_of('0') != std::string_view::npos &&
         text.substr(36, 16).find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

net::Headers onward_headers(const net::HttpRequest& request, const plan::Upstream& upstream,
                            std::string_view id, std::string_view traceparent) {
  net::Headers out;
  out.reserve(request.headers.size() + upstream.headers.size() + 4);
  const std::string_view connection = request.header("connection");
  for (const auto& [name, value] : request.headers) {
    if (is_one_of(name, kHopByHop) || is_one_of(name, kNotOnward)) continue;
    if (!connection.empty() && named_in(connection, name)) continue;
    const auto same = [&](const auto& own) { return net::equals_ignoring_case(own.first, name); };
    if (std::ranges::any_of(upstream.headers, same)) continue;
    out.emplace_back(name, value);
  }
  out.insert(out.end(), upstream.headers.begin(), upstream.headers.end());
  if (upstream.protocol == plan::Protocol::kAnthropic) {
    if (net::find_header(out, kVersionHeader).empty()) out.emplace_back(kVersionHeader, kVersion);
    if (!upstream.api_key.empty()) out.emplace_back("x-api-key", upstream.api_key);
  } else if (!upstream.api_key.empty()) {
    out.emplace_back("Authorization", "Bearer " + upstream.api_key);
  }
  out.emplace_back("X-Request-Id", id);
  out.emplace_back("traceparent", traceparent);
  return out;
}

net::Headers answer_headers(const net::Headers& headers, std::string_view id) {
  net::Headers out;
  out.reserve(headers.size() + 1);
  const std::string_view connection = net::find_header(headers, "connection");
  for (const auto& [name, value] : headers) {
    if (is_one_of(name, kHopByHop) || is_one_of(name, kNotBack)) continue;
    if (!connection.empty() && named_in(connection, name)) continue;
    out.emplace_back(name, value);
  }
  out.emplace_back("X-Request-Id", id);
  return out;
}

bool is_event_stream(const net::Headers& headers) {
  return net::find_header(headers, "content-type").starts_with("text/event-stream");
}

net::ClientOptions client_options(const plan::Plan& plan) {
  constexpr size_t kOwnQuestions = 1024;
  net::ClientOptions options{.may_connect = net::is_service_address};
  options.max_connections = plan.server.max_connections * 2 + kOwnQuestions;
  for (const plan::Route& route : plan.routes) {
    if (route.mirror) options.max_connections += static_cast<size_t>(route.mirror->max_in_flight);
  }
  return options;
}

std::string traceparent_of(const net::HttpRequest& request) {
  const std::string_view given = request.header("traceparent");
  if (is_traceparent(given)) return std::string(given);
  thread_local Rng rng(random_seed());
  return fmt::format("00-{:016x}{:016x}-{:016x}-01", rng.next(), rng.next(), rng.next() | 1);
}

std::string_view trace_id_of(std::string_view traceparent) { return traceparent.substr(3, 32); }

}  // namespace sluice::gateway
