// ResponseCache: whole answers by the exact request, tenant by tenant, for routes that ask for it.
//
// Only what would be answered the same again is kept: requests whose tokens do not depend on chance
// (temperature 0, or a seed), answered to their end with status 200. Nothing crosses from one
// tenant to another. The memory of the answers, and of those being recorded, is bounded; the
// answer that was used the longest ago goes first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "gateway/snapshot.h"
#include "net/http.h"
#include "net/server.h"

namespace sluice::gateway {

struct CachedAnswer {
  net::Headers headers;
  std::string body;
  bool streamed = false;
  TimePoint made{};
};

// Any thread.
class ResponseCache {
 public:
  explicit ResponseCache(const Clock& clock) : clock_(clock) {}

  // Takes effect at once; 0 empties it.
  void set_max_bytes(size_t max_bytes);

  // Null: none, or older than `ttl`.
  std::shared_ptr<const CachedAnswer> find(const std::string& key, Duration ttl);
  // Answers larger than an eighth of the cache are not kept.
  void store(const std::string& key, CachedAnswer answer);

  // Room for answers that are being recorded, as much again as the cache has in all.
  bool take_room(size_t bytes);
  void give_room(size_t bytes) { recording_ -= bytes; }

  size_t max_answer_bytes() const { return max_bytes_ / 8; }
  size_t bytes() const;
  size_t size() const;
  const Clock& clock() const { return clock_; }

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const CachedAnswer> answer;
    size_t bytes = 0;
  };
  using Entries = std::list<Entry>;  // the last used first

  void drop(Entries::iterator entry);

  const Clock& clock_;
  std::atomic<size_t> max_bytes_{0};
  std::atomic<size_t> recording_{0};
  mutable std::mutex mutex_;
  Entries entries_;
  std::unordered_map<std::string_view, Entries::iterator> by_key_;  // of entries_' keys
  size_t bytes_ = 0;
};

// Stands for all that decides the answer: tenant, route and what it leads to, path, and the body's
// meaning (the order of its fields and its blanks do not count). Nothing where the answer depends
// on chance, or the request is none whose answer could be known. The body is foreign.
std::optional<std::string> cache_key(const net::HttpRequest& request, const Caller& caller,
                                     const Route& route, std::string_view model);

// What the client's Cache-Control says (RFC 9111 §5.2.1).
struct CacheWishes {
  bool read = true;   // no "no-cache", no "no-store"
  bool store = true;  // no "no-store"
};
CacheWishes cache_wishes(const net::HttpRequest& request);

// Passes an answer on and keeps a copy, which is stored when it has ended well.
std::shared_ptr<net::Responder> record_answer(std::shared_ptr<net::Responder> inner,
                                              std::shared_ptr<ResponseCache> cache,
                                              std::string key);

// The answer as the client sees it, with its `Age`.
void replay_answer(const CachedAnswer& answer, TimePoint now, net::Headers extra,
                   net::Responder& responder);

}  // namespace sluice::gateway
