#include <algorithm>
#include <array>

#include "plan/parse_parts.h"

namespace sluice::plan {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// Each entry is "name" (any value) or a pair in a mapping "name: value".
void read_headers(Fields& f, std::string_view field, std::vector<HeaderMatch>& out) {
  const Node* found = f.find(field);
  if (found == nullptr) return;
  if (found->kind != Node::Kind::kMap || found->fields.size() > 32) {
    return f.problem(field, "expected a mapping of at most 32 header names to values ('*': any)");
  }
  for (const auto& [name, value] : found->fields) {
    if (value.kind != Node::Kind::kScalar || name.empty() || value.text.size() > 1024) {
      f.problem(field, "expected a header's value as text, found " + found_text(value));
      continue;
    }
    HeaderMatch match{.name = lower(name), .value = value.text};
    if (value.text == "*") match.value.reset();
    out.push_back(std::move(match));
  }
}

void read_prefix(Fields& f, RouteMatch& out) {
  f.text("prefix", out.prefix);
  if (out.prefix.empty()) return;
  const size_t second = out.prefix.find('/', 1);
  const bool good = out.prefix.starts_with('/') && second != std::string::npos && second > 1 &&
                    second + 1 < out.prefix.size() &&
                    out.prefix.find('/', second + 1) == std::string::npos &&
                    out.prefix.find_first_of(" ?#%\\") == std::string::npos;
  if (!good) f.problem("prefix", "expected two segments of a path such as /predictors/story");
  for (const std::string_view other : {"models", "hosts", "paths", "headers"}) {
    if (f.has(other)) f.problem(other, "has no effect beside prefix: leave it out");
  }
}

void read_match(Fields& f, RouteMatch& out) {
  read_prefix(f, out);
  f.texts("models", out.models, 1024);
  f.texts("hosts", out.hosts);
  for (std::string& host : out.hosts) host = lower(host);
  f.texts("paths", out.paths);
  for (const std::string& path : out.paths) {
    if (!path.starts_with('/')) f.problem("paths", "expected paths that begin with '/'");
  }
  read_headers(f, "headers", out.headers);
}

void read_errors(Fields& f, ErrorSet& out) {
  std::vector<std::string> words;
  if (!f.has("on")) return;
  f.texts("on", words);
  out = {};
  std::string known;
  for (size_t i = 0; i < kErrorClasses; ++i) {
    known.append(i > 0 ? " " : "").append(error_class_name(static_cast<ErrorClass>(i)));
  }
  for (const std::string& word : words) {
    bool found = false;
    for (size_t i = 0; i < kErrorClasses; ++i) {
      const auto each = static_cast<ErrorClass>(i);
      if (word != error_class_name(each)) continue;
      out.add(each);
      found = true;
    }
    if (found) continue;
    f.problem("on", std::string("expected some of ").append(known).append("; found ").append(word));
  }
}

void read_target(Fields& f, Target& out) {
  f.require("upstream");
  f.name("upstream", out.upstream);
  read_headers(f, "when", out.when);
  if (!out.when.empty()) out.weight = 0;
  f.number("weight", out.weight, 0, 1'000'000);
  f.text("model", out.model);
}

void read_sticky(Fields& f, Sticky& out) {
  f.require("by");
  f.choice<Sticky::By>("by", out.by,
                       {{"user", Sticky::By::kUser},
                        {"conversation", Sticky::By::kConversation},
                        {"header", Sticky::By::kHeader}});
  f.text("header", out.header);
  out.header = lower(out.header);
  if ((out.by == Sticky::By::kHeader) != !out.header.empty()) {
    f.problem("header", "is required when (and only when) 'by' is header");
  }
  f.boolean("replica", out.replica);
}

void read_prefix(Fields& f, PrefixPlan& out) {
  f.integer("block_tokens", out.block_tokens, 1, 1024);
  f.integer("index_blocks", out.index_blocks, 1024, 1 << 22);
  f.boolean("exact", out.exact);
  f.integer("imbalance", out.imbalance, 0, 1'000'000);
  f.number("imbalance_ratio", out.imbalance_ratio, 1, 1000);
}

void read_mirror(Fields& f, Mirror& out) {
  f.require("upstream");
  f.name("upstream", out.upstream);
  f.text("model", out.model);
  f.number("percent", out.percent, 0, 100);
  f.integer("max_in_flight", out.max_in_flight, 1, 100'000);
  f.duration("timeout", out.timeout, milliseconds(10), hours(1));
}

void read_retry(Fields& f, Retry& out) {
  f.integer("attempts", out.attempts, 0, 16);
  read_errors(f, out.on);
  f.duration("backoff", out.backoff, Duration::zero(), seconds(60));
  f.duration("max_backoff", out.max_backoff, Duration::zero(), seconds(600));
  f.duration("max_retry_after", out.max_retry_after, Duration::zero(), seconds(600));
  f.number("budget_ratio", out.budget_ratio, 0, 10);
  f.number("budget_per_second", out.budget_per_second, 0, 100'000);
}

void read_hedge(Fields& f, Hedge& out) {
  out.enabled = true;
  f.boolean("enabled", out.enabled);
  f.duration("after", out.after, Duration::zero(), seconds(600));
  f.number("quantile", out.quantile, 0.5, 0.999);
  f.number("budget_ratio", out.budget_ratio, 0, 1);
}

void read_timeouts(Fields& f, Timeouts& out) {
  f.duration("connect", out.connect, milliseconds(1), seconds(60));
  f.duration("first_byte", out.first_byte, milliseconds(1), hours(24));
  f.duration("idle", out.idle, milliseconds(1), hours(24));
  f.duration("total", out.total, milliseconds(1), hours(24));
}

void read_unbroken(Fields& f, Unbroken& out) {
  f.duration("resume_wait", out.resume_wait, Duration::zero(), hours(1));
  f.duration("hang_after", out.hang_after, milliseconds(500), seconds(600));
  f.integer("resumes", out.resumes, 0, 1'000'000);
  f.boolean("other_revision", out.other_revision);
}

void read_queue(Fields& f, Queue& out) {
  f.integer("max_concurrent", out.max_concurrent, 0, 1'000'000);
  f.integer("max_waiting", out.max_waiting, 0, 100'000);
  f.duration("max_wait", out.max_wait, Duration::zero(), hours(1));
}

void read_service_url(Fields& f, std::string_view field, std::string& out) {
  f.text(field, out, 2048);
  if (f.has(field) && !out.starts_with("http://") && !out.starts_with("https://")) {
    f.problem(field, "expected a URL such as http://host:8080/path");
  }
}

void read_transform(Fields& f, TransformPlan& out) {
  constexpr size_t kMaxTemplateBytes = 64u << 10;
  read_template(f, "request_template", out.request_template, kMaxTemplateBytes);
  read_template(f, "response_template", out.response_template, kMaxTemplateBytes);
  read_service_url(f, "request_url", out.request_url);
  read_service_url(f, "response_url", out.response_url);
  std::string both;
  read_service_url(f, "url", both);
  if (!both.empty()) {
    if (f.has("request_url") || f.has("response_url")) {
      f.problem("url", "stands for request_url and response_url: leave them out");
    }
    out.request_url = both + ":preprocess";
    out.response_url = both + ":postprocess";
  }
  f.duration("timeout", out.timeout, milliseconds(1), hours(1));
  if (!out.request_template.empty() && !out.request_url.empty()) {
    f.problem("", "expected one of a template and a URL for requests");
  }
  if (!out.response_template.empty() && !out.response_url.empty()) {
    f.problem("", "expected one of a template and a URL for answers");
  }
  if (out.request_template.empty() && out.request_url.empty() && !out.changes_answers()) {
    f.problem("", "expected a template or a URL");
  }
}

void read_explain(Fields& f, ExplainPlan& out) {
  f.choice<ExplainPlan::Segments>("segments", out.segments,
                                  {{"word", ExplainPlan::Segments::kWord},
                                   {"sentence", ExplainPlan::Segments::kSentence},
                                   {"line", ExplainPlan::Segments::kLine}});
  f.integer("max_segments", out.max_segments, 1, 200);
  f.integer("max_tokens", out.max_tokens, 1, 1024);
  read_service_url(f, "url", out.url);
  f.name("route", out.route);
  if (!out.url.empty() && !out.route.empty()) {
    f.problem("route", "has no effect beside url: leave it out");
  }
  f.duration("timeout", out.timeout, milliseconds(1), hours(1));
}

// CloudEvents: lower-case letters and digits, 20 at most.
bool is_attribute_name(std::string_view name) {
  return !name.empty() && name.size() <= 20 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
}

void read_attributes(Fields& f, PayloadLogPlan& out) {
  // What every event says of itself.
  constexpr std::array<std::string_view, 12> kTaken = {
      "id",     "type",   "source",   "specversion", "time", "datacontenttype",
      "status", "stream", "metadata", "truncated",   "cut",  "data"};
  const Node* found = f.find("attributes");
  if (found == nullptr) return;
  if (found->kind != Node::Kind::kMap || found->fields.size() > 16) {
    return f.problem("attributes", "expected a mapping of at most 16 names to texts");
  }
  for (const auto& [name, value] : found->fields) {
    if (!is_attribute_name(name) || std::ranges::find(kTaken, name) != kTaken.end()) {
      f.problem("attributes",
                "expected names of up to 20 lower-case letters and digits that no "
                "event has of itself, found '" +
                    name.substr(0, 64) + "'");
    }
    if (value.kind != Node::Kind::kScalar || value.text.size() > 4096) {
      f.problem("attributes", "expected a text of at most 4096 bytes, found " + found_text(value));
    }
    out.attributes.emplace_back(name, value.text);
  }
}

void read_log(Fields& f, PayloadLogPlan& out) {
  constexpr std::array<std::string_view, 8> kSecret = {
      "authorization",  "proxy-authorization",  "cookie",      "x-api-key", "api-key",
      "x-goog-api-key", "x-amz-security-token", "x-auth-token"};
  f.require("url");
  read_service_url(f, "url", out.url);
  f.choice<PayloadLogPlan::Mode>("mode", out.mode,
                                 {{"all", PayloadLogPlan::Mode::kAll},
                                  {"request", PayloadLogPlan::Mode::kRequest},
                                  {"response", PayloadLogPlan::Mode::kResponse}});
  f.texts("headers", out.headers, 32);
  for (std::string& header : out.headers) {
    header = lower(header);
    if (std::ranges::find(kSecret, header) != kSecret.end()) {
      f.problem("headers", "'" + header + "' carries a secret and is never told");
    }
  }
  read_attributes(f, out);
  f.size("max_body", out.max_body, 0, 16u << 20);
  f.duration("timeout", out.timeout, milliseconds(10), seconds(600));
}

void read_batch(Fields& f, BatchPlan& out) {
  f.integer("max_instances", out.max_instances, 1, 1024);
  f.duration("max_latency", out.max_latency, milliseconds(1), seconds(60));
  f.duration("timeout", out.timeout, milliseconds(1), hours(1));
}

void check_weights(Fields& f, const Route& route) {
  double sum = 0;
  bool any_when = false;
  for (const Target& target : route.targets) {
    sum += target.weight;
    any_when = any_when || !target.when.empty();
    if (target.weight == 0 && target.when.empty()) {
      f.problem("targets", "a target of weight 0 without 'when' would never be used");
    }
  }
  if (route.targets.empty()) f.problem("targets", "expected one target at least");
  if (!route.targets.empty() && sum == 0 && !any_when) {
    f.problem("targets", "the weights add up to 0");
  }
}

}  // namespace

Route read_route(Fields& f) {
  Route out;
  f.require("name");
  f.name("name", out.name);
  f.map("match", [&](Fields& match) { read_match(match, out.match); });
  f.require("targets");
  f.list("targets", kMaxTargets, [&](Fields& target) {
    out.targets.emplace_back();
    read_target(target, out.targets.back());
  });
  check_weights(f, out);
  f.choice<Policy>("policy", out.policy,
                   {{"round_robin", Policy::kRoundRobin},
                    {"weighted_round_robin", Policy::kWeightedRoundRobin},
                    {"least_outstanding", Policy::kLeastOutstanding},
                    {"power_of_two", Policy::kPowerOfTwo},
                    {"prefix_affinity", Policy::kPrefixAffinity}});
  f.map("prefix", [&](Fields& prefix) { read_prefix(prefix, out.prefix); });
  f.map("sticky", [&](Fields& sticky) { read_sticky(sticky, out.sticky); });
  f.map("mirror", [&](Fields& mirror) { read_mirror(mirror, out.mirror.emplace()); });
  f.map("retry", [&](Fields& retry) { read_retry(retry, out.retry); });
  f.list("fallbacks", 16, [&](Fields& fallback) {
    Fallback& added = out.fallbacks.emplace_back();
    fallback.require("upstream");
    fallback.name("upstream", added.upstream);
    fallback.text("model", added.model);
    read_errors(fallback, added.on);
  });
  f.map("hedge", [&](Fields& hedge) { read_hedge(hedge, out.hedge); });
  f.map("timeouts", [&](Fields& timeouts) { read_timeouts(timeouts, out.timeouts); });
  f.map("unbroken", [&](Fields& unbroken) { read_unbroken(unbroken, out.unbroken); });
  f.map("queue", [&](Fields& queue) { read_queue(queue, out.queue); });
  f.map("transform", [&](Fields& t) { read_transform(t, out.transform.emplace()); });
  f.map("explain", [&](Fields& e) { read_explain(e, out.explain.emplace()); });
  f.map("batch", [&](Fields& batch) { read_batch(batch, out.batch.emplace()); });
  f.map("log", [&](Fields& log) { read_log(log, out.log.emplace()); });
  f.boolean("public", out.is_public);
  f.boolean("listed", out.listed);
  f.map("cache", [&](Fields& cache) {
    cache.require("ttl");
    cache.duration("ttl", out.cache_for, std::chrono::seconds(1), std::chrono::hours(24 * 30));
  });
  f.map("price", [&](Fields& price) { read_price(price, out.price); });
  f.integer("default_max_tokens", out.default_max_tokens, 1, 1 << 20);
  return out;
}

}  // namespace sluice::plan
