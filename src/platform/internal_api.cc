#include "platform/internal_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/secret.h"
#include "net/http.h"
#include "net/server.h"
#include "plan/load_report.h"
#include "platform/load_book.h"

namespace sluice::platform {
namespace {

constexpr std::string_view kLoadPath = "/internal/v1/load";
constexpr std::string_view kBearer = "Bearer ";
constexpr size_t kMaxConnections = 256;

net::HttpResponse error_page(int status, std::string_view message, std::string_view) {
  const json::object body{
      {"error", json::object{{"message", message}, {"type", net::reason_phrase(status)}}}};
  return {
      .status = status, .headers = {{"Content-Type", "application/json"}}, .body = to_json(body)};
}

class Handler : public net::HttpHandler {
 public:
  Handler(std::string_view token, LoadBook& book, InternalApi::OnReport on_report,
          const Clock& clock)
      : token_(token), book_(book), on_report_(std::move(on_report)), clock_(clock) {}

  // Before any of the body is read.
  std::optional<net::HttpResponse> refuse(const net::HttpRequest& head) override {
    if (head.path == "/health" && (head.method == "GET" || head.method == "HEAD")) {
      return net::HttpResponse{.headers = {{"Content-Type", "text/plain"}}, .body = "ok"};
    }
    std::string_view given = head.header("authorization");
    if (given.size() < kBearer.size() ||
        !net::equals_ignoring_case(given.substr(0, kBearer.size()), kBearer) ||
        !SecretDigest(given.substr(kBearer.size())).matches(token_)) {
      auto page = error_page(401, "expected the installation's internal token as a bearer", {});
      page.headers.emplace_back("WWW-Authenticate", "Bearer");
      return page;
    }
    if (head.path != kLoadPath) return error_page(404, "there is POST /internal/v1/load", {});
    if (head.method == "POST") return std::nullopt;
    auto page = error_page(405, "expected POST", {});
    page.headers.emplace_back("Allow", "POST");
    return page;
  }

  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override {
    auto report = plan::parse_load_report(request.body);
    if (!report) return responder->send(error_page(400, report.error().message(), {}));
    std::vector<std::string> awaited = book_.take(*report, clock_.unix_seconds());
    responder->send({.status = 204});
    if (!on_report_) return;
    std::ranges::sort(awaited);
    awaited.erase(std::ranges::unique(awaited).begin(), awaited.end());
    on_report_(awaited);
  }

 private:
  const SecretDigest token_;
  LoadBook& book_;
  const InternalApi::OnReport on_report_;
  const Clock& clock_;
};

}  // namespace

InternalApi::InternalApi(std::unique_ptr<net::HttpServer> server) : server_(std::move(server)) {}
InternalApi::~InternalApi() = default;

Result<std::unique_ptr<InternalApi>> InternalApi::start(const InternalApiOptions& options,
                                                        LoadBook& book, OnReport on_report,
                                                        const Clock& clock) {
  if (options.token.empty()) return invalid("the internal API needs a token", "token");
  net::ServerOptions server;
  server.host = "127.0.0.1";
  server.port = options.port;
  server.limits.body_bytes = plan::kMaxLoadReportBytes;
  server.limits.connections = kMaxConnections;
  server.error_body = error_page;
  SLUICE_ASSIGN_OR_RETURN(
      auto http, net::HttpServer::start(
                     std::move(server),
                     std::make_shared<Handler>(options.token, book, std::move(on_report), clock)));
  return std::unique_ptr<InternalApi>(new InternalApi(std::move(http)));
}

uint16_t InternalApi::port() const { return server_->port(); }

std::string InternalApi::url() const { return fmt::format("http://127.0.0.1:{}", port()); }

}  // namespace sluice::platform
