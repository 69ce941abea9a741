// ModelStore: where a storageUri lies on this machine.
//
//   file:///path, /path       checked, used where it is
//   pvc://NAME/path           a folder that is mapped for NAME in the options
//   https://…, hf://…         pulled into the model cache, on threads of its own
//
// What was pulled with a token is for that token: with another one, or none, the source is asked
// again whether it may be read, though its bytes are not fetched twice. What somebody has put into
// the cache by `sluice pull` is for everybody on this machine.
//
// want() may be called as often as one likes, by any thread; it never waits for a network. What is
// pulled goes on while nobody asks; what has failed is tried again with growing pauses, while it is
// asked for. The listener is called, on any thread and without locks held, when the state of a uri
// has changed. The process must ignore SIGPIPE.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "registry/hub.h"
#include "registry/model_cache.h"
#include "registry/pull.h"

namespace sluice::platform {

enum class ModelPhase {
  kReady,    // `path` is there
  kPulling,  // or waits for its turn
  kFailed,   // `error` says why; tried again at `retry_at` unless it is `final`
};

struct ModelView {
  ModelPhase phase = ModelPhase::kPulling;
  std::string path = {};  // of kReady: a GGUF file or a folder
  uint64_t done = 0;      // bytes that are there
  uint64_t total = 0;     // 0: not known yet
  std::string error = {};
  bool final = false;        // trying again is of no use: the uri itself is wrong
  bool cannot_load = false;  // it is here, and is no model that its process can load
  TimePoint retry_at{};      // of kFailed
  int attempts = 0;
};

struct ModelStoreOptions {
  registry::ModelCache cache;
  std::map<std::string, std::filesystem::path> volumes = {};  // pvc://NAME → folder
  registry::HubOptions hub = {};
  registry::PlainHttp plain_http = registry::PlainHttp::kRefused;
  int pulls = 2;  // at a time
  Duration first_pause = std::chrono::seconds(5);
  Duration max_pause = std::chrono::minutes(5);
  // Of one pull, in place of registry::pull(): for tests.
  std::function<Result<registry::PullResult>(const std::string& uri,
                                             const registry::PullOptions& options)>
      pull = {};
};

class ModelStore {
 public:
  explicit ModelStore(ModelStoreOptions options, const Clock& clock = system_clock());
  // Stops what is being pulled; the next one goes on with it.
  ~ModelStore();
  ModelStore(const ModelStore&) = delete;
  ModelStore& operator=(const ModelStore&) = delete;

  // Set once, before the first want().
  void on_change(std::function<void(const std::string& uri)> listener);

  // `token`: for the hub, empty for the one of the options.
  ModelView want(const std::string& uri, const std::string& token = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::platform
