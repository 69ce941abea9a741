// The field `limits`: where limits are counted.
#include <algorithm>
#include <charconv>
#include <chrono>

#include "plan/parse_parts.h"

namespace sluice::plan {
namespace {

constexpr std::string_view kExpectedUrl =
    "expected redis://host[:port][/database], rediss://… (TLS) or unix:///path of a socket; user "
    "and password stand in fields of their own";

bool read_redis_url(std::string_view url, RedisPlan& out) {
  if (url.starts_with("unix://")) {
    out.unix_path = url.substr(sizeof("unix://") - 1);
    return out.unix_path.starts_with('/') && out.unix_path.size() <= 107;
  }
  out.secure = url.starts_with("rediss://");
  const std::string_view scheme = out.secure ? "rediss://" : "redis://";
  if (!url.starts_with(scheme)) return false;
  std::string_view rest = url.substr(scheme.size());
  if (const size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view digits = rest.substr(slash + 1);
    rest = rest.substr(0, slash);
    const char* end = digits.data() + digits.size();
    const auto [at, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), out.database);
    if (!digits.empty() && (error != std::errc() || at != end)) return false;
    if (out.database < 0 || out.database > 1023) return false;
  }
  return read_host_and_port(rest, out.host, out.port);
}

void read_redis_tls(Fields& f, RedisPlan& out) {
  f.text("ca", out.tls.ca, 4096);
  read_certificate(f, out.tls.identity);
  f.name("server_name", out.tls.server_name);
  if (out.tls.identity.certificate.empty() != out.tls.identity.key.empty()) {
    f.problem("", "certificate and key go together");
  }
  if (!out.secure) f.problem("", "has no effect without a rediss:// URL");
}

void read_redis(Fields& f, const SecretSource& secrets, RedisPlan& out) {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  f.require("url");
  std::string url;
  f.text("url", url, 512);
  if (!url.empty() && !read_redis_url(url, out)) f.problem("url", kExpectedUrl);
  f.map("tls", [&](Fields& tls) { read_redis_tls(tls, out); });
  f.name("username", out.username);
  read_secret(f, "password", secrets, out.password);
  if (!out.username.empty() && !f.has("password")) {
    f.problem("username", "has no effect without a password");
  }
  f.name("prefix", out.prefix);
  f.duration("timeout", out.timeout, milliseconds(5), seconds(10));
  f.duration("lease", out.lease, seconds(1), std::chrono::minutes(10));
  if (out.lease < 4 * out.timeout) f.problem("lease", "expected four times the timeout at least");
  using OnLoss = RedisPlan::OnLoss;
  f.choice<OnLoss>(
      "on_loss", out.on_loss,
      {{"refuse", OnLoss::kRefuse}, {"local", OnLoss::kLocal}, {"allow", OnLoss::kAllow}});
}

}  // namespace

void read_shared_limits(Fields& f, const SecretSource& secrets, LimitsPlan& out) {
  f.map("redis", [&](Fields& redis) { read_redis(redis, secrets, out.redis.emplace()); });
}

}  // namespace sluice::plan
