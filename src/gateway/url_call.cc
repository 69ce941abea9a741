#include "gateway/url_call.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "net/name_cache.h"

namespace sluice::gateway {
namespace {

constexpr uint32_t kLinkLocal = 0xa9fe0000;  // 169.254.0.0/16
constexpr uint32_t kMulticast = 0xe0000000;  // and what is reserved behind it

bool may_be_called(uint32_t address) {
  return (address & 0xff000000) != 0 && (address & 0xffff0000) != kLinkLocal &&
         address < kMulticast;
}

}  // namespace

bool may_be_called(const net::SocketAddress& address) {
  if (address.raw()->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.raw());
    return may_be_called(ntohl(v4->sin_addr.s_addr));
  }
  if (address.raw()->sa_family != AF_INET6) return false;
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(address.raw())->sin6_addr;
  if (IN6_IS_ADDR_LOOPBACK(&v6)) return true;
  if (IN6_IS_ADDR_V4MAPPED(&v6) || IN6_IS_ADDR_V4COMPAT(&v6)) {
    const uint8_t* last = v6.s6_addr + 12;
    return may_be_called(uint32_t{last[0]} << 24 | uint32_t{last[1]} << 16 |
                         uint32_t{last[2]} << 8 | last[3]);
  }
  return !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6) &&
         !IN6_IS_ADDR_MULTICAST(&v6);
}

std::shared_ptr<UrlCall> UrlCall::begin(std::shared_ptr<net::EventLoop> loop,
                                        net::HttpClient& client, const std::string& url,
                                        net::Headers headers, std::string body, Duration timeout,
                                        Done done) {
  auto call = std::make_shared<UrlCall>(std::move(loop), client, std::move(headers),
                                        std::move(body), timeout, std::move(done));
  auto parsed = net::parse_url(url);
  if (!parsed) {
    call->tell(std::unexpected(parsed.error()));
    return call;
  }
  call->url_ = *std::move(parsed);
  call->look_up();
  return call;
}

UrlCall::UrlCall(std::shared_ptr<net::EventLoop> loop, net::HttpClient& client,
                 net::Headers headers, std::string body, Duration timeout, Done done)
    : loop_(std::move(loop)),
      client_(client),
      headers_(std::move(headers)),
      body_(std::move(body)),
      until_(net::EventLoop::now() + timeout),
      done_(std::move(done)) {}

void UrlCall::look_up() {
  const auto found = net::NameCache::shared().find(
      url_.host, url_.port,
      [self = shared_from_this()](const Result<net::NameCache::Addresses>& late) {
        self->loop_->post([self, late] { self->connect(late); });
      });
  if (found) connect(*found);
}

void UrlCall::connect(const Result<std::vector<net::SocketAddress>>& found) {
  if (!done_) return;
  if (!found) return tell(std::unexpected(found.error()));
  const auto address =
      std::ranges::find_if(*found, [](const auto& each) { return may_be_called(each); });
  if (address == found->end()) {
    return tell(fail(Code::kPermissionDenied,
                     fmt::format("{} stands for no address that may be called", url_.host)));
  }
  net::ClientRequest request{
      .method = "POST",
      .url = fmt::format("{}://{}{}", url_.scheme, net::address_text(*address), url_.target),
      .headers = std::move(headers_),
      .body = std::move(body_),
      .timeout = std::max<Duration>(until_ - net::EventLoop::now(), std::chrono::milliseconds(1)),
      .host = url_.authority,
      .tls_name = url_.host};
  const auto self = shared_from_this();
  call_ = client_.request(
      std::move(request),
      {.on_head =
           [self](int status, const net::Headers& headers) {
             self->answer_.status = status;
             self->answer_.headers = headers;
           },
       .on_data =
           [self](std::string_view bytes) {
             if (self->answer_.body.size() + bytes.size() > kMaxAnswerBytes) {
               self->too_large_ = true;
               return self->call_.cancel();
             }
             self->answer_.body += bytes;
           },
       .on_end =
           [self](const Outcome& outcome) {
             if (self->too_large_) {
               return self->tell(
                   fail(Code::kUnavailable,
                        fmt::format("the answer has more than {} bytes", kMaxAnswerBytes)));
             }
             if (!outcome) return self->tell(std::unexpected(outcome.error()));
             self->tell(std::move(self->answer_));
           }});
}

bool UrlCall::cancel() {
  call_.cancel();
  return std::exchange(done_, nullptr) != nullptr;
}

void UrlCall::tell(Result<net::HttpResponse> answer) {
  const Done done = std::exchange(done_, nullptr);
  if (done) done(std::move(answer));
}

}  // namespace sluice::gateway
