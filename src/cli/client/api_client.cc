#include "cli/client/api_client.h"

#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <iostream>
#include <mutex>

#include "base/build_info.h"
#include "control/json_util.h"
#include "net/client.h"
#include "net/tls.h"

namespace sluice::cli {
namespace {

constexpr size_t kMaxErrorBytes = 1u << 20;
constexpr size_t kMaxLineBytes = 64u << 20;
constexpr size_t kMaxLinesWaiting = 100'000;
constexpr JsonLimits kAnswerLimits{
    .max_bytes = 256u << 20, .max_depth = 128, .max_nodes = 50'000'000};
constexpr Duration kPatience = std::chrono::seconds(60);

// Between the client's thread, which receives, and ours, which prints.
class Lines {
 public:
  void head(int status) {
    const std::lock_guard lock(mutex_);
    status_ = status;
  }
  void feed(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    if (status_ != 200) {
      if (rest_.size() < kMaxErrorBytes) rest_ += bytes;
      return;
    }
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      rest_ += bytes.substr(0, end);
      if (rest_.size() > kMaxLineBytes || lines_.size() > kMaxLinesWaiting) too_much_ = true;
      if (end == std::string_view::npos) break;
      if (!too_much_) lines_.push_back(std::move(rest_));
      rest_.clear();
      bytes.remove_prefix(end + 1);
    }
    wake_.notify_all();
  }
  void end(Outcome outcome) {
    const std::lock_guard lock(mutex_);
    if (status_ == 200 && !rest_.empty()) lines_.push_back(std::move(rest_));
    ended_ = std::move(outcome);
    wake_.notify_all();
  }

  // Nothing: there are no more.
  std::optional<std::string> next() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return !lines_.empty() || ended_.has_value() || too_much_; });
    if (lines_.empty()) return std::nullopt;
    std::string line = std::move(lines_.front());
    lines_.pop_front();
    return line;
  }
  Outcome outcome() {
    const std::lock_guard lock(mutex_);
    if (too_much_) return fail(Code::kTooLarge, "a line of the answer is too long");
    if (status_ != 0 && status_ != 200) {
      const auto body = parse_json(rest_, kAnswerLimits);
      return std::unexpected(status_of(status_, body ? *body : json::value(rest_)));
    }
    if (!ended_ || *ended_) return {};
    return fail(ended_->error().code(), ended_->error().message());  // its reason is not the API's
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  int status_ = 0;
  std::string rest_;
  std::deque<std::string> lines_;
  std::optional<Outcome> ended_;
  bool too_much_ = false;
};

std::string with_query(std::string url, const QueryParts& query) {
  char mark = url.contains('?') ? '&' : '?';
  for (const auto& [name, value] : query) {
    url += fmt::format("{}{}={}", mark, name, escape_query(value));
    mark = '&';
  }
  return url;
}

Code code_of(int status) {
  switch (status) {
    case 400:
    case 422:
      return Code::kInvalidArgument;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 409:
      return Code::kAlreadyExists;
    case 410:
      return Code::kDataLoss;
    case 429:
      return Code::kResourceExhausted;
    default:
      return status < 500 ? Code::kFailedPrecondition : Code::kUnavailable;
  }
}

// Header values of the form: 299 - "text".
void show_warnings(const net::Headers& headers) {
  for (const auto& [name, value] : headers) {
    if (!net::equals_ignoring_case(name, "warning")) continue;
    const size_t begin = value.find('"');
    const size_t end = value.rfind('"');
    if (begin == std::string::npos || end <= begin) continue;
    std::string text;
    for (size_t i = begin + 1; i < end; ++i) {
      if (value[i] == '\\' && i + 1 < end) ++i;  // a quoted-pair (RFC 9110 §5.6.4)
      text += value[i];
    }
    std::cerr << "Warning: " << text << "\n";
  }
}

Status unreachable(const ApiAddress& address, const Status& why) {
  return {why.code(),
          fmt::format("cannot reach {}: {} (is `sluice up` running? the address is from {})",
                      address.server, why.message(), address.source)};
}

net::ClientRequest request_to(const ApiAddress& address, const std::string& path,
                              const QueryParts& query) {
  net::ClientRequest request{.url = with_query(address.server + path, query)};
  request.headers = {{"User-Agent", fmt::format("sluice/{}", kVersion)}};
  if (!address.token.empty()) {
    request.headers.emplace_back("Authorization", "Bearer " + address.token);
  }
  request.timeout = kPatience;
  request.tls_name = address.tls_name;
  return request;
}

}  // namespace

std::string escape_query(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").contains(c);
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Status status_of(int http_status, const json::value& body) {
  const json::object* fields = body.if_object();
  const std::string message(fields == nullptr ? "" : control::text_at(*fields, "message"));
  std::string reason(fields == nullptr ? "" : control::text_at(*fields, "reason"));
  if (reason.empty()) reason = "HTTP" + std::to_string(http_status);
  return {code_of(http_status),
          message.empty() ? fmt::format("the server answered HTTP {}", http_status) : message,
          {},
          std::move(reason)};
}

std::string error_text(const Status& status) {
  if (status.reason() == "Unauthorized") {
    return fmt::format("You must be logged in to the server ({})", status.message());
  }
  if (status.reason().empty()) return status.message();
  return fmt::format("Error from server ({}): {}", status.reason(), status.message());
}

ApiClient::ApiClient(ApiAddress address)
    : address_(std::move(address)),
      http_(std::make_unique<net::HttpClient>(
          net::ClientOptions{.connect_timeout = std::chrono::seconds(5),
                             .read_timeout = std::chrono::hours(24),
                             .max_body_bytes = kAnswerLimits.max_bytes})) {}

ApiClient::~ApiClient() = default;

Result<std::unique_ptr<ApiClient>> ApiClient::open(const ApiOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(ApiAddress address, find_api(options));
  std::unique_ptr<ApiClient> client(new ApiClient(std::move(address)));
  SLUICE_ASSIGN_OR_RETURN(client->tls_,
                          net::TlsContext::for_client({.ca_pem = client->address_.ca_pem}));
  return client;
}

std::string ApiClient::path_of(const control::ResourceType& type, std::string_view ns,
                               std::string_view name, std::string_view subresource) {
  std::string path = type.group.empty() ? fmt::format("/api/{}", type.version)
                                        : fmt::format("/apis/{}/{}", type.group, type.version);
  if (type.namespaced && !ns.empty()) path += fmt::format("/namespaces/{}", escape_query(ns));
  path += fmt::format("/{}", type.plural);
  if (!name.empty()) path += fmt::format("/{}", escape_query(name));
  if (!subresource.empty()) path += fmt::format("/{}", subresource);
  return path;
}

Result<ApiAnswer> ApiClient::get(const std::string& path, const QueryParts& query,
                                 std::string_view accept) {
  net::ClientRequest request = request_to(address_, path, query);
  request.tls = tls_;
  request.headers.emplace_back("Accept", accept);
  auto response = http_->fetch(std::move(request));
  if (!response) return std::unexpected(unreachable(address_, response.error()));
  auto body = parse_json(response->body, kAnswerLimits);
  if (response->status >= 300) {
    return std::unexpected(status_of(response->status, body ? *body : json::value(nullptr)));
  }
  if (!body) return std::unexpected(body.error().at("the server's answer"));
  show_warnings(response->headers);
  return ApiAnswer{response->status, *std::move(body)};
}

Result<ApiAnswer> ApiClient::send(std::string_view method, const std::string& path,
                                  const QueryParts& query, std::string body,
                                  std::string_view content_type) {
  net::ClientRequest request = request_to(address_, path, query);
  request.tls = tls_;
  request.method = method;
  request.headers.emplace_back("Accept", "application/json");
  if (!body.empty()) request.headers.emplace_back("Content-Type", content_type);
  request.body = std::move(body);
  auto response = http_->fetch(std::move(request));
  if (!response) return std::unexpected(unreachable(address_, response.error()));
  auto parsed = parse_json(response->body, kAnswerLimits);
  if (response->status >= 300) {
    return std::unexpected(status_of(response->status, parsed ? *parsed : json::value(nullptr)));
  }
  if (!parsed) return std::unexpected(parsed.error().at("the server's answer"));
  show_warnings(response->headers);
  return ApiAnswer{response->status, *std::move(parsed)};
}

Result<std::string> ApiClient::text(const std::string& path, const QueryParts& query) {
  net::ClientRequest request = request_to(address_, path, query);
  request.tls = tls_;
  auto response = http_->fetch(std::move(request));
  if (!response) return std::unexpected(unreachable(address_, response.error()));
  if (response->status >= 300) {
    const auto body = parse_json(response->body, kAnswerLimits);
    return std::unexpected(status_of(response->status, body ? *body : json::value(nullptr)));
  }
  return std::move(response->body);
}

Outcome ApiClient::stream(const std::string& path, const QueryParts& query, std::string_view accept,
                          std::optional<Duration> patience,
                          const std::function<bool(std::string_view line)>& line) {
  net::ClientRequest request = request_to(address_, path, query);
  request.tls = tls_;
  request.timeout = patience.value_or(Duration::zero());
  request.headers.emplace_back("Accept", accept);
  const auto lines = std::make_shared<Lines>();
  net::ClientCall call =
      http_->request(std::move(request),
                     {.on_head = [lines](int status, const net::Headers&) { lines->head(status); },
                      .on_data = [lines](std::string_view bytes) { lines->feed(bytes); },
                      .on_end = [lines](Outcome outcome) { lines->end(std::move(outcome)); }});
  while (const auto each = lines->next()) {
    if (line(*each)) continue;
    call.cancel();
    return {};
  }
  return lines->outcome();
}

}  // namespace sluice::cli
