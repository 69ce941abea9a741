#include "gateway/response_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "base/json.h"
#include "base/secret.h"
#include "gateway/quota.h"

namespace sluice::gateway {
namespace {

constexpr JsonLimits kLimits{.max_bytes = limits::kMaxBodyBytes, .max_depth = 64};
constexpr size_t kEntryOverhead = 512;  // list, map, key and headers, about

// Headers of one answer, or of one connection.
constexpr std::array<std::string_view, 4> kNotKept = {"x-request-id", "date", "server",
                                                      "x-sluice-cache"};

bool is_kept(std::string_view name) {
  const bool limit = name.size() > 12 && net::equals_ignoring_case(name.substr(0, 12),  //
                                                                   "x-ratelimit-");
  return !limit && std::ranges::none_of(kNotKept, [&](std::string_view each) {
    return net::equals_ignoring_case(each, name);
  });
}

bool is_whole(double number) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  return std::abs(number) <= kExact && number == std::trunc(number);
}

// Compact, with the fields of every object in the order of their names.
void append_sorted(std::string& out, const json::value& value) {
  if (const auto* object = value.if_object()) {
    std::vector<const json::key_value_pair*> fields;
    fields.reserve(object->size());
    for (const auto& field : *object) fields.push_back(&field);
    std::ranges::sort(fields, {}, [](const auto* field) { return field->key(); });
    out += '{';
    for (const auto* field : fields) {
      out += json::serialize(field->key());
      out += ':';
      append_sorted(out, field->value());
      out += ',';
    }
    out += '}';
  } else if (const auto* array = value.if_array()) {
    out += '[';
    for (const json::value& each : *array) {
      append_sorted(out, each);
      out += ',';
    }
    out += ']';
  } else if (const auto* number = value.if_double(); number != nullptr && is_whole(*number)) {
    out += std::to_string(static_cast<int64_t>(*number));  // 1.0 means 1
  } else {
    out += json::serialize(value);
  }
}

bool is_zero(const json::value* value) {
  return value != nullptr && value->is_number() && value->to_number<double>() == 0.0;
}

// The tokens are a function of the request. Parameters stand at the top, or under "parameters"
// (KServe, OIP).
bool without_chance(const json::object& body, std::string_view path) {
  if (path.ends_with("/embeddings")) return true;
  const auto decided = [](const json::object& fields) {
    const auto* seed = fields.if_contains("seed");
    return is_zero(fields.if_contains("temperature")) ||
           (seed != nullptr && (seed->is_int64() || seed->is_uint64()));
  };
  const auto* parameters = body.if_contains("parameters");
  return decided(body) ||
         (parameters != nullptr && parameters->is_object() && decided(parameters->get_object()));
}

// A stream that ended as its protocol has it, and told no error.
bool ended_well(std::string_view events) {
  const bool error = events.contains("\"error\":") || events.contains("event: error");
  const bool ended = events.contains("data: [DONE]") || events.contains("event: message_stop") ||
                     events.contains("event: response.completed");
  return ended && !error;
}

class Recorder final : public net::Responder {
 public:
  Recorder(std::shared_ptr<net::Responder> inner, std::shared_ptr<ResponseCache> cache,
           std::string key)
      : inner_(std::move(inner)), cache_(std::move(cache)), key_(std::move(key)) {}
  ~Recorder() override { forget(); }

  void send(net::HttpResponse response) override {
    note_miss(response.headers);
    if (response.status == 200 && response.body.size() <= cache_->max_answer_bytes()) {
      keep_headers(response.headers);
      answer_.body = response.body;
      store();
    }
    inner_->send(std::move(response));
  }

  void start(int status, net::Headers headers) override {
    {
      const std::lock_guard lock(mutex_);
      recording_ = status == 200;
      keep_headers(headers);
      answer_.streamed = true;
    }
    note_miss(headers);
    inner_->start(status, std::move(headers));
  }

  bool write(std::string_view bytes) override {
    {
      const std::lock_guard lock(mutex_);
      const bool room = recording_ &&
                        answer_.body.size() + bytes.size() <= cache_->max_answer_bytes() &&
                        cache_->take_room(bytes.size());
      if (room) {
        answer_.body += bytes;
        room_ += bytes.size();
      } else {
        forget();
      }
    }
    return inner_->write(bytes);
  }

  void finish() override {
    {
      const std::lock_guard lock(mutex_);
      if (recording_ && !inner_->closed() && ended_well(answer_.body)) store();
      forget();
    }
    inner_->finish();
  }

  void finish_with_error() override {
    {
      const std::lock_guard lock(mutex_);
      forget();
    }
    inner_->finish_with_error();
  }

  void on_close(std::function<void()> callback) override { inner_->on_close(std::move(callback)); }
  bool closed() const override { return inner_->closed(); }

 private:
  void keep_headers(const net::Headers& headers) {
    for (const auto& [name, value] : headers) {
      if (is_kept(name)) answer_.headers.emplace_back(name, value);
    }
  }

  static void note_miss(net::Headers& headers) { headers.emplace_back("X-Sluice-Cache", "miss"); }

  void store() {
    answer_.made = cache_->clock().now();
    cache_->store(key_, std::move(answer_));
  }

  void forget() {
    recording_ = false;
    answer_ = {};
    cache_->give_room(std::exchange(room_, 0));
  }

  const std::shared_ptr<net::Responder> inner_;
  const std::shared_ptr<ResponseCache> cache_;
  const std::string key_;
  std::mutex mutex_;  // an answer may be written by more than one thread in turn
  CachedAnswer answer_;
  bool recording_ = false;
  size_t room_ = 0;
};

}  // namespace

void ResponseCache::set_max_bytes(size_t max_bytes) {
  max_bytes_ = max_bytes;
  const std::lock_guard lock(mutex_);
  while (bytes_ > max_bytes && !entries_.empty()) drop(std::prev(entries_.end()));
}

void ResponseCache::drop(Entries::iterator entry) {
  bytes_ -= entry->bytes;
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

std::shared_ptr<const CachedAnswer> ResponseCache::find(const std::string& key, Duration ttl) {
  const TimePoint now = clock_.now();
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  if (now - found->second->answer->made > ttl) {
    drop(found->second);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->answer;
}

void ResponseCache::store(const std::string& key, CachedAnswer answer) {
  const size_t bytes = kEntryOverhead + key.size() + answer.body.size();
  auto kept = std::make_shared<const CachedAnswer>(std::move(answer));
  const std::lock_guard lock(mutex_);
  if (const auto old = by_key_.find(key); old != by_key_.end()) drop(old->second);
  if (bytes > max_answer_bytes()) return;
  while (bytes_ + bytes > max_bytes_ && !entries_.empty()) drop(std::prev(entries_.end()));
  entries_.push_front({.key = key, .answer = std::move(kept), .bytes = bytes});
  by_key_.emplace(entries_.front().key, entries_.begin());
  bytes_ += bytes;
}

bool ResponseCache::take_room(size_t bytes) {
  if (recording_.fetch_add(bytes) + bytes <= max_bytes_) return true;
  recording_ -= bytes;
  return false;
}

size_t ResponseCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

size_t ResponseCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

std::optional<std::string> cache_key(const net::HttpRequest& request, const Caller& caller,
                                     const Route& route, std::string_view model) {
  if (request.method != "POST") return std::nullopt;
  const auto body = parse_json(request.body, kLimits);
  if (!body || !body->is_object()) return std::nullopt;
  if (!without_chance(body->get_object(), request.path)) return std::nullopt;
  // What the route leads to now: another model behind the name is another answer.
  std::set<std::string> leads_to;
  for (const auto& target : route.targets()) {
    const std::string& asked = target->settings().model;
    leads_to.insert(fmt::format("upstream {} {}", target->upstream().name(), asked));
    for (const auto& replica : *target->upstream().replicas()) {
      const std::string fingerprint = replica->fingerprint(asked.empty() ? model : asked);
      if (!fingerprint.empty()) leads_to.insert(fmt::format("numerics {}", fingerprint));
    }
  }
  std::string all = fmt::format("{}\n{}\n{}\n{}\n", caller.tenant_name(), route.settings().name,
                                request.target, fmt::join(leads_to, ","));
  for (const std::string_view name : {"anthropic-version", "anthropic-beta", "openai-beta"}) {
    all += fmt::format("{}\n", request.header(name));
  }
  append_sorted(all, *body);
  return SecretDigest(all).hex();
}

CacheWishes cache_wishes(const net::HttpRequest& request) {
  const std::string_view said = request.header("cache-control");
  const auto says = [&](std::string_view word) {
    return !std::ranges::search(said, word, [](char a, char b) {
              return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
            }).empty();
  };
  const bool no_store = says("no-store");
  return {.read = !no_store && !says("no-cache"), .store = !no_store};
}

std::shared_ptr<net::Responder> record_answer(std::shared_ptr<net::Responder> inner,
                                              std::shared_ptr<ResponseCache> cache,
                                              std::string key) {
  return std::make_shared<Recorder>(std::move(inner), std::move(cache), std::move(key));
}

void replay_answer(const CachedAnswer& answer, TimePoint now, net::Headers extra,
                   net::Responder& responder) {
  net::Headers headers = answer.headers;
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - answer.made);
  headers.emplace_back("Age", std::to_string(std::max<int64_t>(0, age.count())));
  headers.emplace_back("X-Sluice-Cache", "hit");
  take_headers(headers, std::move(extra));
  if (!answer.streamed) {
    return responder.send({.status = 200, .headers = std::move(headers), .body = answer.body});
  }
  responder.start(200, std::move(headers));
  responder.write(answer.body);
  responder.finish();
}

}  // namespace sluice::gateway
