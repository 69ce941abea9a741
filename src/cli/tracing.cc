#include "cli/tracing.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/build_info.h"
#include "base/ids.h"
#include "base/log.h"
#include "net/client.h"
#include "net/syntax.h"
#include "net/tls.h"
#include "net/url.h"
#include "telemetry/otlp.h"
#include "telemetry/span_exporter.h"

namespace sluice::cli {
namespace {

using std::chrono::milliseconds;

// Empty where it is not set.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// The variable of traces, or else that of all signals.
std::string of_traces(std::string_view rest) {
  const std::string own = variable(fmt::format("OTEL_EXPORTER_OTLP_TRACES_{}", rest).c_str());
  return own.empty() ? variable(fmt::format("OTEL_EXPORTER_OTLP_{}", rest).c_str()) : own;
}

Result<int64_t> number(const char* name, std::string_view text, int64_t otherwise, int64_t most) {
  if (text.empty()) return otherwise;
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && at == end && value >= 1 && value <= most) return value;
  return invalid(fmt::format("{}: expected a number from 1 to {}, found '{}'", name, most, text));
}

std::string endpoint_of(const std::string& flag) {
  if (!flag.empty()) return flag;
  if (variable("OTEL_SDK_DISABLED") == "true" || variable("OTEL_TRACES_EXPORTER") == "none") {
    return {};
  }
  if (std::string own = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); !own.empty()) return own;
  std::string base = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
  if (base.empty()) return {};
  if (!base.ends_with('/')) base += '/';
  return base + "v1/traces";
}

Result<std::vector<telemetry::Attribute>> resource(const std::string& service) {
  std::vector<telemetry::Attribute> out;
  auto pairs = parse_pairs(variable("OTEL_RESOURCE_ATTRIBUTES"));
  if (!pairs) return std::unexpected(pairs.error().at("OTEL_RESOURCE_ATTRIBUTES"));
  std::string name = variable("OTEL_SERVICE_NAME");
  for (auto& [key, value] : *pairs) {
    if (key == "service.name") {
      if (name.empty()) name = value;
    } else {
      out.push_back({key, std::move(value)});
    }
  }
  out.push_back({"service.name", name.empty() ? service : name});
  out.push_back({"service.version", std::string(kVersion)});
  out.push_back({"service.instance.id", new_id("")});
  return out;
}

// What each request to the receiver is like, but for its body.
Result<net::ClientRequest> request_to(const std::string& endpoint) {
  const auto url = net::parse_url(endpoint);
  if (!url) return std::unexpected(url.error().at("the endpoint of traces"));
  const std::string protocol = of_traces("PROTOCOL");
  if (!protocol.empty() && protocol != "http/protobuf") {
    return invalid(
        fmt::format("OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf, found '{}'", protocol));
  }
  SLUICE_ASSIGN_OR_RETURN(const int64_t timeout, number("OTEL_EXPORTER_OTLP_TIMEOUT",
                                                        of_traces("TIMEOUT"), 10'000, 600'000));
  net::ClientRequest request{.method = "POST", .url = endpoint};
  request.timeout = milliseconds(timeout);
  request.headers = {{"Content-Type", std::string(telemetry::kOtlpContentType)},
                     {"User-Agent", fmt::format("sluice/{}", kVersion)}};
  auto headers = parse_pairs(of_traces("HEADERS"));
  if (!headers) return std::unexpected(headers.error().at("OTEL_EXPORTER_OTLP_HEADERS"));
  for (auto& [name, value] : *headers) {
    if (!net::is_token(name) || !net::is_field_value(value)) {
      return invalid("OTEL_EXPORTER_OTLP_HEADERS: a name or value that no header has");
    }
    request.headers.emplace_back(name, value);
  }
  if (url->scheme == "https") {
    auto tls = net::TlsContext::for_client(
        {.ca_file = of_traces("CERTIFICATE"),
         .identity = {of_traces("CLIENT_CERTIFICATE"), of_traces("CLIENT_KEY")}});
    if (!tls) return std::unexpected(tls.error().at("OTEL_EXPORTER_OTLP_CERTIFICATE"));
    request.tls = *std::move(tls);
  }
  return request;
}

class Exporting final : public Tracing {
 public:
  Exporting(telemetry::ExporterOptions options, net::ClientRequest request,
            telemetry::Sampler sampler, telemetry::Metrics& metrics)
      : request_(std::move(request)),
        exporter_(
            std::move(options), [this](const std::string& body) { return send(body); }, metrics),
        tracer_(sampler, exporter_) {}

  const telemetry::Tracer& tracer() const override { return tracer_; }

 private:
  telemetry::ExportReply send(const std::string& body) {
    net::ClientRequest request = request_;
    request.body = body;
    const auto answer = client_.fetch(std::move(request));
    if (!answer) return {.error = answer.error().message()};
    telemetry::ExportReply reply{.status = answer->status};
    const std::string_view after = net::find_header(answer->headers, "retry-after");
    int seconds = 0;
    const auto [at, error] = std::from_chars(after.data(), after.data() + after.size(), seconds);
    if (error == std::errc() && at == after.data() + after.size() && seconds >= 0) {
      reply.retry_after = std::chrono::seconds(seconds);
    }
    return reply;
  }

  const net::ClientRequest request_;
  net::HttpClient client_;
  telemetry::SpanExporter exporter_;
  const telemetry::Tracer tracer_;
};

}  // namespace

Result<std::vector<std::pair<std::string, std::string>>> parse_pairs(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto trimmed = [](std::string_view part) {
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    return part;
  };
  const auto decoded = [](std::string_view part) -> std::string {
    std::string plain;
    for (size_t i = 0; i < part.size(); ++i) {
      unsigned value = 0;
      const char* end = part.data() + i + 3;
      if (part[i] == '%' && i + 2 < part.size() &&
          std::from_chars(part.data() + i + 1, end, value, 16).ptr == end) {
        plain += static_cast<char>(value);
        i += 2;
      } else {
        plain += part[i];
      }
    }
    return plain;
  };
  while (!text.empty()) {
    const std::string_view part = trimmed(text.substr(0, text.find(',')));
    text.remove_prefix(std::min(
        text.size(), text.find(',') == std::string_view::npos ? text.size() : text.find(',') + 1));
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    const std::string_view name = trimmed(part.substr(0, equals));
    // The value may be a secret.
    if (equals == std::string_view::npos || name.empty()) {
      return invalid("expected name=value, and further ones behind commas");
    }
    out.emplace_back(name, decoded(trimmed(part.substr(equals + 1))));
  }
  return out;
}

Result<std::unique_ptr<Tracing>> open_tracing(const std::string& endpoint,
                                              const std::string& service,
                                              telemetry::Metrics& metrics) {
  const std::string url = endpoint_of(endpoint);
  if (url.empty()) return nullptr;
  SLUICE_ASSIGN_OR_RETURN(auto request, request_to(url));
  SLUICE_ASSIGN_OR_RETURN(const auto sampler,
                          telemetry::parse_sampler(variable("OTEL_TRACES_SAMPLER"),
                                                   variable("OTEL_TRACES_SAMPLER_ARG")));
  telemetry::ExporterOptions options;
  SLUICE_ASSIGN_OR_RETURN(options.resource, resource(service));
  constexpr int64_t kMostDelay = 3'600'000;
  SLUICE_ASSIGN_OR_RETURN(
      const int64_t delay,
      number("OTEL_BSP_SCHEDULE_DELAY", variable("OTEL_BSP_SCHEDULE_DELAY"), 5000, kMostDelay));
  options.delay = milliseconds(delay);
  SLUICE_ASSIGN_OR_RETURN(
      const int64_t queue,
      number("OTEL_BSP_MAX_QUEUE_SIZE", variable("OTEL_BSP_MAX_QUEUE_SIZE"), 2048, 1'000'000));
  options.max_queue = static_cast<size_t>(queue);
  options.batch = std::min(options.batch, options.max_queue);
  log_info("traces go to {}", url);
  return std::make_unique<Exporting>(std::move(options), std::move(request), sampler, metrics);
}

}  // namespace sluice::cli
