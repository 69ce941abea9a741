#include "net/curl_session.h"

#include <fmt/format.h>

#include <cstring>
#include <mutex>

#include "net/address.h"
#include "net/syntax.h"

namespace sluice::net {

namespace {

constexpr size_t kMaxHeaderBytes = 256u << 10;  // of all answers on the way together
constexpr long kSlowBytesPerSecond = 1024;

CURL* new_handle() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  return curl_easy_init();
}

long whole_seconds(Duration duration) {
  return std::chrono::ceil<std::chrono::seconds>(duration).count();
}

}  // namespace

CurlSession::CurlSession(const std::string& url, const DownloadOptions& options)
    : options_(options),
      curl_(new_handle(), &curl_easy_cleanup),
      lines_(nullptr, &curl_slist_free_all),
      error_text_(CURL_ERROR_SIZE, '\0') {
  if (!curl_) {
    outcome_ = fail(Code::kResourceExhausted, "libcurl cannot begin a transfer");
    return;
  }
  set_options(url);
  for (const auto& [name, value] : options.headers) {
    if (!is_token(name) || !is_field_value(value)) {
      outcome_ =
          invalid(fmt::format("the header field '{}' holds a character that none may", name));
      return;
    }
    add_header(name + ": " + value);
  }
}

void CurlSession::set_options(const std::string& url) {
  CURL* curl = curl_.get();
  const char* schemes = options_.allow_http ? "http,https" : "https";
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, schemes);
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, schemes);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, static_cast<long>(options_.max_redirects));
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "sluice");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, whole_seconds(options_.connect_timeout));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kSlowBytesPerSecond);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, whole_seconds(options_.stall_timeout));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error_text_.data());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &CurlSession::write);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &CurlSession::header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &CurlSession::progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, this);
  if (options_.addresses == AddressPolicy::kPublicOnly) {
    // A proxy would connect for us, to wherever it likes.
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, &CurlSession::open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, this);
  }
}

void CurlSession::add_header(const std::string& line) {
  curl_slist* longer = curl_slist_append(lines_.get(), line.c_str());
  if (longer == nullptr) return;
  static_cast<void>(lines_.release());
  lines_.reset(longer);
}

Outcome CurlSession::run() {
  SLUICE_RETURN_IF_ERROR(outcome_);
  curl_easy_setopt(curl_.get(), CURLOPT_HTTPHEADER, lines_.get());
  const CURLcode code = curl_easy_perform(curl_.get());
  SLUICE_RETURN_IF_ERROR(outcome_);
  if (code != CURLE_OK) return std::unexpected(failure(code));
  return {};
}

Status CurlSession::failure(CURLcode code) const {
  const std::string detail =
      error_text_.front() != '\0' ? std::string(error_text_.c_str()) : curl_easy_strerror(code);
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
      return {Code::kInvalidArgument, fmt::format("cannot fetch: {}", detail), "url"};
    case CURLE_TOO_MANY_REDIRECTS:
      return {Code::kFailedPrecondition, fmt::format("cannot fetch: {}", detail), "url"};
    case CURLE_ABORTED_BY_CALLBACK:
      return {Code::kCancelled, "the transfer was stopped"};
    case CURLE_OPERATION_TIMEDOUT:
      return {Code::kDeadlineExceeded, fmt::format("the transfer stands still: {}", detail)};
    case CURLE_PEER_FAILED_VERIFICATION:
      return {Code::kPermissionDenied, fmt::format("the server's certificate: {}", detail)};
    default:
      return {Code::kUnavailable, fmt::format("the transfer failed: {}", detail)};
  }
}

int CurlSession::status() const {
  long code = 0;
  curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &code);
  return static_cast<int>(code);
}

std::string CurlSession::final_url() const {
  const char* url = nullptr;
  curl_easy_getinfo(curl_.get(), CURLINFO_EFFECTIVE_URL, &url);
  return url == nullptr ? "" : url;
}

size_t CurlSession::write(char* data, size_t size, size_t count, void* self) {
  auto* session = static_cast<CurlSession*>(self);
  if (session->on_body) session->outcome_ = session->on_body({data, size * count});
  return session->outcome_ ? size * count : CURL_WRITEFUNC_ERROR;
}

size_t CurlSession::header(char* data, size_t size, size_t count, void* self) {
  auto* session = static_cast<CurlSession*>(self);
  session->header_bytes_ += size * count;
  if (session->header_bytes_ > kMaxHeaderBytes) {
    session->outcome_ = sluice::fail(Code::kTooLarge, "the answer's header is too large");
    return 0;
  }
  session->on_header_line({data, size * count});
  return size * count;
}

void CurlSession::on_header_line(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) return headers_.clear();  // the next answer on the way
  if (auto field = parse_field_line(line)) {
    headers_.emplace_back(std::move(field->name), field->value);
  }
}

int CurlSession::progress(void* self, curl_off_t total, curl_off_t now, curl_off_t, curl_off_t) {
  auto* session = static_cast<CurlSession*>(self);
  if (!session->on_progress) return 0;
  return session->on_progress(static_cast<uint64_t>(now), static_cast<uint64_t>(total)) ? 0 : 1;
}

curl_socket_t CurlSession::open_socket(void* self, curlsocktype, curl_sockaddr* address) {
  SocketAddress target;
  target.length = std::min<socklen_t>(address->addrlen, sizeof(target.storage));
  std::memcpy(&target.storage, &address->addr, target.length);
  if (!is_public_address(target)) {
    static_cast<CurlSession*>(self)->outcome_ = sluice::fail(
        Code::kPermissionDenied,
        fmt::format("{} is not an address on the public internet", address_text(target)), "url");
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

}  // namespace sluice::net
