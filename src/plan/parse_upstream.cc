#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "plan/parse_parts.h"

namespace sluice::plan {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

void read_health(Fields& f, HealthPlan& out) {
  f.boolean("active", out.active);
  f.text("path", out.path);
  if (!out.path.starts_with('/')) f.problem("path", "expected a path that begins with '/'");
  f.duration("interval", out.interval, milliseconds(50), hours(1));
  f.duration("timeout", out.timeout, milliseconds(10), seconds(60));
  f.integer("unhealthy_after", out.unhealthy_after, 1, 100);
  f.integer("healthy_after", out.healthy_after, 1, 100);
}

void read_breaker(Fields& f, BreakerPlan& out) {
  f.integer("consecutive_failures", out.consecutive_failures, 1, 1'000'000);
  f.number("failure_ratio", out.failure_ratio, 0.01, 1);
  f.integer("min_requests", out.min_requests, 1, 1'000'000);
  f.duration("window", out.window, milliseconds(100), hours(1));
  f.duration("open_for", out.open_for, milliseconds(10), hours(1));
  f.duration("max_open", out.max_open, milliseconds(10), hours(24));
  f.integer("trial_requests", out.trial_requests, 1, 1000);
  f.integer("close_after", out.close_after, 1, 1000);
  out.max_open = std::max(out.max_open, out.open_for);
}

void read_outlier(Fields& f, OutlierPlan& out) {
  f.duration("interval", out.interval, milliseconds(100), hours(1));
  f.integer("min_requests", out.min_requests, 1, 1'000'000);
  f.number("failure_ratio", out.failure_ratio, 0.01, 1);
  f.number("latency_factor", out.latency_factor, 0, 1000);
  f.duration("eject_for", out.eject_for, milliseconds(10), hours(24));
  f.integer("max_ejected_percent", out.max_ejected_percent, 0, 100);
}

void read_hold(Fields& f, HoldPlan& out) {
  f.duration("max_wait", out.max_wait, milliseconds(1), hours(1));
  f.integer("max_held", out.max_held, 1, 100'000);
  f.duration("comment_every", out.comment_every, Duration::zero(), hours(1));
  if (out.comment_every > Duration::zero() && out.comment_every < milliseconds(100)) {
    f.problem("comment_every", "expected 0s or a duration of at least 100ms");
  }
}

// How a message travels, whom it is for, and what is made for each anew: not for a configuration.
constexpr std::array<std::string_view, 19> kMadeForEach = {"accept-encoding",
                                                           "connection",
                                                           "content-encoding",
                                                           "content-length",
                                                           "content-type",
                                                           "expect",
                                                           "forwarded",
                                                           "host",
                                                           "keep-alive",
                                                           "proxy-authenticate",
                                                           "proxy-authorization",
                                                           "proxy-connection",
                                                           "te",
                                                           "traceparent",
                                                           "trailer",
                                                           "transfer-encoding",
                                                           "upgrade",
                                                           "x-forwarded-for",
                                                           "x-request-id"};
constexpr std::array<std::string_view, 7> kSecretHeaders = {
    "api-key",   "authorization", "cookie",        "x-amz-security-token",
    "x-api-key", "x-auth-token",  "x-goog-api-key"};

// token of RFC 9110 §5.6.2.
bool is_header_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").contains(c);
  });
}

void read_header(Fields& f, const std::string& given, const SecretSource& secrets, Upstream& out) {
  std::string name = given;
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  const auto is_one_of = [&](const auto& names) {
    return std::ranges::find(names, name) != names.end();
  };
  std::string value;
  const Node* found = f.find(given);
  if (found == nullptr) return f.problem(given, "expected a text, {env: NAME} or {file: PATH}");
  const bool secret = found->kind == Node::Kind::kMap;
  if (secret) {
    read_secret(f, given, secrets, value);
  } else {
    f.text(given, value, 4096);
  }
  if (!is_header_name(name)) return f.problem(given, "expected the name of a header");
  if (is_one_of(kMadeForEach)) {
    return f.problem(given, "is made for each request anew: leave it out");
  }
  if (!secret && is_one_of(kSecretHeaders)) {
    return f.problem(given, "carries a secret: expected {env: NAME} or {file: PATH}");
  }
  const auto is_it = [&](const auto& header) { return header.first == name; };
  if (std::ranges::any_of(out.headers, is_it)) return f.problem(given, "stands there twice");
  const bool is_anthropic = out.protocol == Protocol::kAnthropic;
  if (name == (is_anthropic ? "x-api-key" : "authorization") && !out.api_key.empty()) {
    return f.problem(given, "api_key is sent in it: leave one of them out");
  }
  out.headers.emplace_back(std::move(name), std::move(value));
}

void read_own_headers(Fields& f, const SecretSource& secrets, Upstream& out) {
  constexpr size_t kMaxHeaders = 32;
  f.map("headers", [&](Fields& headers) {
    if (headers.node().fields.size() > kMaxHeaders) {
      headers.problem("", fmt::format("expected {} headers at most", kMaxHeaders));
    }
    for (const NodeField& each : headers.node().fields) {
      read_header(headers, each.key, secrets, out);
    }
  });
}

void read_sources(Fields& f, Upstream& out) {
  f.map("dns", [&](Fields& dns) {
    DnsSource source;
    dns.require("name");
    dns.name("name", source.name);
    int port = source.port;
    dns.integer("port", port, 1, 65535);
    source.port = static_cast<uint16_t>(port);
    dns.duration("refresh", source.refresh, milliseconds(100), hours(24));
    out.dns = std::move(source);
  });
  f.map("file", [&](Fields& file) {
    FileSource source;
    file.require("path");
    file.text("path", source.path, 4096);
    file.duration("refresh", source.refresh, milliseconds(50), hours(24));
    out.file = std::move(source);
  });
  const int sources = (f.has("endpoints") ? 1 : 0) + (out.dns ? 1 : 0) + (out.file ? 1 : 0);
  if (sources != 1) f.problem("", "expected exactly one of endpoints, dns and file");
}

void read_endpoints(Fields& f, Upstream& out) {
  f.list("endpoints", kMaxEndpoints, [&](Fields& e) {
    Endpoint endpoint;
    e.require("url");
    e.text("url", endpoint.url, 512);
    if (const Outcome good = check_base_url(endpoint.url); e.has("url") && !good) {
      e.problem("url", good.error().message());
    }
    endpoint.name = endpoint.url.substr(std::min(endpoint.url.size(), endpoint.url.find("//") + 2));
    e.name("name", endpoint.name);
    e.number("weight", endpoint.weight, 0.001, 1000);
    const auto same = [&](const Endpoint& other) {
      return other.name == endpoint.name || other.url == endpoint.url;
    };
    if (std::ranges::any_of(out.endpoints, same)) {
      e.problem("", "an endpoint of this name or url stands above already");
    }
    out.endpoints.push_back(std::move(endpoint));
  });
}

void read_upstream_tls(Fields& f, Upstream& out) {
  UpstreamTlsPlan& tls = out.tls.emplace();
  f.text("ca", tls.ca, 4096);
  read_certificate(f, tls.identity);
  f.name("server_name", tls.server_name);
  if (tls.identity.certificate.empty() != tls.identity.key.empty()) {
    f.problem("", "certificate and key go together");
  }
  // Discovered addresses are in no certificate; their name is.
  if (out.dns && tls.server_name.empty()) tls.server_name = out.dns->name;
  const auto secured = [](const Endpoint& e) { return e.url.starts_with("https://"); };
  if (!out.endpoints.empty() && std::ranges::none_of(out.endpoints, secured)) {
    f.problem("", "has no effect: no endpoint of this upstream is an https:// URL");
  }
}

}  // namespace

void read_certificate(Fields& f, CertificateFiles& out) {
  f.text("certificate", out.certificate, 4096);
  f.text("key", out.key, 4096);
}

bool read_host_and_port(std::string_view text, std::string& host, uint16_t& port) {
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && text.find(']', colon) == std::string_view::npos) {
    const std::string_view digits = text.substr(colon + 1);
    int number = 0;
    const auto [at, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || at != digits.data() + digits.size() || number < 1 ||
        number > 65535) {
      return false;
    }
    port = static_cast<uint16_t>(number);
    text = text.substr(0, colon);
  }
  const bool good = !text.empty() && text.size() <= 255 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.[]:").contains(c);
  });
  if (!good) return false;
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  host = text;
  return true;
}

Outcome check_base_url(std::string_view url) {
  const std::string_view scheme = url.starts_with("https://") ? "https://" : "http://";
  const auto wrong = [&] {
    Node shown;
    shown.kind = Node::Kind::kScalar;
    shown.text = url;
    return invalid("expected a URL such as http://host:8000, found " + found_text(shown));
  };
  if (!url.starts_with(scheme)) return wrong();
  std::string host;
  uint16_t port = 0;
  const bool good = read_host_and_port(url.substr(scheme.size()), host, port);
  if (!good) return wrong();
  return {};
}

Upstream read_upstream(Fields& f, const SecretSource& secrets) {
  Upstream out;
  f.require("name");
  f.name("name", out.name);
  f.choice<UpstreamKind>("kind", out.kind,
                         {{"sluice", UpstreamKind::kSluice}, {"foreign", UpstreamKind::kForeign}});
  read_sources(f, out);
  read_endpoints(f, out);
  read_secret(f, "api_key", secrets, out.api_key);
  read_secret(f, "internal_token", secrets, out.internal_token);
  if (out.kind == UpstreamKind::kSluice && !f.has("internal_token")) {
    f.problem("",
              "internal_token is required of an upstream of kind sluice: what its replicas were "
              "given as --internal-token");
  }
  f.name("host", out.host);
  f.text("path_prefix", out.path_prefix);
  f.choice<Protocol>("protocol", out.protocol,
                     {{"openai", Protocol::kOpenai}, {"anthropic", Protocol::kAnthropic}});
  read_own_headers(f, secrets, out);
  if (out.kind == UpstreamKind::kSluice) {
    constexpr std::string_view kWhy =
        "has no effect on an upstream of kind sluice, which is sent typed requests with its "
        "internal_token; leave it out";
    for (const std::string_view field : {"api_key", "host", "path_prefix", "protocol", "headers"}) {
      if (f.has(field)) f.problem(field, kWhy);
    }
  } else if (f.has("internal_token")) {
    f.problem("internal_token", "has no effect on an upstream of kind foreign; leave it out");
  }
  const bool good_prefix = out.path_prefix.empty() ||
                           (out.path_prefix.starts_with('/') && !out.path_prefix.ends_with('/') &&
                            out.path_prefix.find_first_of(" ?#%\\") == std::string::npos);
  if (!good_prefix) f.problem("path_prefix", "expected a path such as /openai");
  f.map("tls", [&](Fields& tls) { read_upstream_tls(tls, out); });
  f.integer("max_outstanding", out.max_outstanding, 0, 1'000'000);
  f.map("hold", [&](Fields& hold) { read_hold(hold, out.hold.emplace()); });
  f.map("health", [&](Fields& health) { read_health(health, out.health); });
  f.map("breaker", [&](Fields& breaker) { read_breaker(breaker, out.breaker); });
  f.map("outlier", [&](Fields& outlier) { read_outlier(outlier, out.outlier); });
  return out;
}

Result<std::vector<Endpoint>> parse_endpoints(std::string_view text, const std::string& file) {
  std::vector<Endpoint> endpoints;
  int line_number = 0;
  while (!text.empty()) {
    ++line_number;
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    line = line.substr(0, line.find('#'));
    std::vector<std::string> words;
    while (true) {
      const size_t begin = line.find_first_not_of(" \t\r");
      if (begin == std::string_view::npos) break;
      const size_t end = std::min(line.size(), line.find_first_of(" \t\r", begin));
      words.emplace_back(line.substr(begin, end - begin));
      line.remove_prefix(end);
    }
    if (words.empty()) continue;
    const auto place = fmt::format("{}:{}", file, line_number);
    if (words.size() > 3) return invalid(place + ": expected URL [NAME] [WEIGHT]");
    if (const Outcome good = check_base_url(words[0]); !good) {
      return std::unexpected(good.error().at(place));
    }
    Endpoint endpoint{
        .name = words.size() > 1 ? words[1] : words[0].substr(words[0].find("//") + 2),
        .url = words[0]};
    if (words.size() > 2) {
      const char* end = words[2].data() + words[2].size();
      const auto [at, error] = std::from_chars(words[2].data(), end, endpoint.weight);
      if (error != std::errc() || at != end ||
          !(endpoint.weight >= 0.001 && endpoint.weight <= 1000)) {
        return invalid(place + ": expected a weight from 0.001 to 1000");
      }
    }
    const auto same = [&](const Endpoint& e) {
      return e.name == endpoint.name || e.url == endpoint.url;
    };
    if (std::ranges::any_of(endpoints, same)) return invalid(place + ": stands there twice");
    if (endpoints.size() >= kMaxEndpoints) {
      return invalid(fmt::format("{}: more than {} endpoints", place, kMaxEndpoints));
    }
    endpoints.push_back(std::move(endpoint));
  }
  return endpoints;
}

}  // namespace sluice::plan
