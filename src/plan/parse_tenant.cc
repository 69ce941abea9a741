#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "plan/parse_parts.h"

namespace sluice::plan {
namespace {

// "2027-01-31" or "2027-01-31T12:00:00Z", as seconds since the epoch.
std::optional<double> parse_date(std::string_view text) {
  const auto digits = [&](size_t at, size_t count) -> std::optional<int> {
    int value = 0;
    if (at + count > text.size()) return std::nullopt;
    const char* end = text.data() + at + count;
    const auto [last, error] = std::from_chars(text.data() + at, end, value);
    if (error != std::errc() || last != end || value < 0) return std::nullopt;
    return value;
  };
  const bool with_time =
      text.size() == 20 && text[10] == 'T' && text[13] == ':' && text[16] == ':' && text[19] == 'Z';
  if ((text.size() != 10 && !with_time) || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto year = digits(0, 4), month = digits(5, 2), day = digits(8, 2);
  if (!year || !month || !day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  double unix = static_cast<double>(std::chrono::sys_days(date).time_since_epoch().count()) * 86400;
  if (with_time) {
    const auto hour = digits(11, 2), minute = digits(14, 2), second = digits(17, 2);
    if (!hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 60) {
      return std::nullopt;
    }
    unix += *hour * 3600 + *minute * 60 + *second;
  }
  return unix;
}

constexpr int64_t kMostTokens = int64_t{1} << 39;
constexpr double kMicros = 1e6;
constexpr double kMostMoney = 1e8;

// An amount of money, kept in millionths.
void read_money(Fields& f, std::string_view name, int64_t& out) {
  double amount = 0;
  f.number(name, amount, 0, kMostMoney);
  out = static_cast<int64_t>(std::llround(amount * kMicros));
}

void read_limits(Fields& f, Limits& out) {
  f.integer("requests_per_minute", out.requests_per_minute, int64_t{0}, kMostTokens);
  f.integer("tokens_per_minute", out.tokens_per_minute, int64_t{0}, kMostTokens);
  f.integer("tokens_per_day", out.tokens_per_day, int64_t{0}, kMostTokens);
  f.integer("concurrency", out.max_concurrent, int64_t{0}, int64_t{1'000'000});
  read_money(f, "money_per_day", out.micros_per_day);
  read_money(f, "money_per_month", out.micros_per_month);
}

void read_key(Fields& f, const SecretSource& secrets, ApiKey& out) {
  f.require("name");
  f.name("name", out.name);
  if (f.has("sha256") == f.has("key")) {
    f.problem("",
              "expected exactly one of sha256 (64 hex digits: printf %s KEY | sha256sum) and key");
  }
  std::string hex;
  f.text("sha256", hex);
  if (f.has("sha256")) {
    const auto digest = SecretDigest::from_hex(hex);
    if (digest) {
      out.digest = *digest;
    } else {
      f.problem("sha256", digest.error().message());
    }
  }
  std::string plain;
  read_secret(f, "key", secrets, plain);
  if (!plain.empty()) out.digest = SecretDigest(plain);
  f.texts("models", out.models, 1024);
  f.texts("routes", out.routes, 1024);
  std::string expires;
  f.text("expires", expires);
  if (!expires.empty()) {
    out.expires_unix = parse_date(expires);
    if (!out.expires_unix) {
      f.problem("expires", "expected a UTC date such as 2027-01-31 or 2027-01-31T12:00:00Z");
    }
  }
  f.boolean("admin", out.admin);
  f.map("limits", [&](Fields& limits) { read_limits(limits, out.limits); });
}

}  // namespace

void read_price(Fields& f, Price& out) {
  read_money(f, "prompt", out.prompt);
  read_money(f, "completion", out.completion);
}

void read_secret(Fields& f, std::string_view name, const SecretSource& secrets, std::string& out) {
  const Node* found = f.find(name);
  if (found == nullptr) return;
  if (found->kind != Node::Kind::kMap) {
    return f.problem(name,
                     "expected {env: NAME} or {file: PATH}; a secret does not stand here in plain");
  }
  f.map(name, [&](Fields& secret) {
    std::string variable;
    std::string path;
    secret.name("env", variable);
    secret.text("file", path, 4096);
    if (variable.empty() == path.empty()) {
      return secret.problem("", "expected exactly one of env and file");
    }
    auto value = variable.empty() ? secrets.file(path) : secrets.environment(variable);
    if (!value) return secret.problem("", value.error().message());
    while (!value->empty() && (value->back() == '\n' || value->back() == '\r')) value->pop_back();
    if (value->empty() || value->size() > 4096) {
      return secret.problem("", "expected a secret of 1 to 4096 bytes");
    }
    // It goes into a header field.
    for (const char c : *value) {
      if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f) {
        return secret.problem("", "the secret holds blanks or characters that are not ASCII");
      }
    }
    out = *std::move(value);
  });
}

Tenant read_tenant(Fields& f, const SecretSource& secrets) {
  Tenant out;
  f.require("name");
  f.name("name", out.name);
  f.list("keys", kMaxKeys, [&](Fields& key) { read_key(key, secrets, out.keys.emplace_back()); });
  f.texts("models", out.models, 1024);
  f.texts("routes", out.routes, 1024);
  f.map("limits", [&](Fields& limits) { read_limits(limits, out.limits); });
  f.integer("priority", out.priority, -100, 100);
  f.number("weight", out.weight, 0.001, 1000);
  return out;
}

}  // namespace sluice::plan
