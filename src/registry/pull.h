// pull(): brings a model into the cache: finds its files, fetches what is not there, checks it,
// gives it a name.
//
// Blocks until done. Callable from any thread, also for the same model at once: who comes second
// waits for the first and finds the bytes there. What an ended pull had fetched is continued by
// the next one. The process must ignore SIGPIPE.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "registry/hub.h"
#include "registry/model_cache.h"
#include "registry/model_uri.h"

namespace sluice::registry {

struct PullProgress {
  std::string_view file;
  uint64_t done = 0;   // bytes of the whole model that are there
  uint64_t total = 0;  // of the whole model; 0 while not known
};

struct PullOptions {
  std::string name;      // empty: made from the source
  std::string checksum;  // "sha256:…" of a source of one file
  PlainHttp plain_http = PlainHttp::kRefused;
  HubOptions hub;
  // Also files whose bytes are in the cache are asked of the hub, lest they were another one's.
  bool prove_access = false;
  int attempts = 5;                        // of each request, when the network or the server fails
  std::function<void(int attempt)> pause;  // between them; unset: 1, 2, 4, … seconds
  std::function<bool(const PullProgress&)> on_progress;  // false stops
  std::function<void(const std::string&)> on_note;       // a line for people
};

struct PullResult {
  Manifest manifest;
  std::filesystem::path path = {};  // as resolve() gives it
  uint64_t fetched_bytes = 0;       // that were not in the cache before
};

Result<PullResult> pull(const ModelCache& cache, std::string_view source,
                        const PullOptions& options);

}  // namespace sluice::registry
