#include "platform/model_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/secret.h"
#include "platform/model_place.h"
#include "registry/model_uri.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxEntries = 4096;
constexpr size_t kNameDigits = 32;
constexpr std::string_view kStorage = "storage/";  // what was pulled here, each for one token
constexpr int kAttempts = 3;                       // of one request, in one pull
constexpr Duration kProgressEvery = std::chrono::seconds(1);

bool is_local(std::string_view uri) {
  return uri.starts_with('/') || uri.starts_with("file:") || uri.starts_with(kPvcScheme);
}

// Under which the cache keeps what this uri stands for: whole, since a query may decide, and with
// whose token: who may read it was asked for that one.
std::string cache_name(const std::string& uri, const std::string& token_digest) {
  const SecretDigest digest(fmt::format("{}\n{}", token_digest, uri));
  return fmt::format("{}{}", kStorage, digest.hex().substr(0, kNameDigits));
}

// As registry::pull() writes it into the manifest; empty where another source could look the same.
std::string source_text(const registry::ModelUri& uri) {
  if (uri.kind == registry::SourceKind::kHub) {
    std::string text = fmt::format("hf://{}:{}", uri.repository, uri.revision);
    if (!uri.file.empty()) text.append("/").append(uri.file);
    return text;
  }
  return uri.url.find('?') == std::string::npos ? uri.url : std::string();
}

ModelView ready(std::string path) { return {.phase = ModelPhase::kReady, .path = std::move(path)}; }

bool is_final(const Status& error) {
  return error.code() == Code::kInvalidArgument || error.code() == Code::kUnimplemented;
}

}  // namespace

struct ModelStore::Impl {
  struct Entry {
    std::string uri;
    std::string token;
    ModelView view;
    bool queued = false;  // or being pulled
    uint64_t asked = 0;   // turn of the last want()
    TimePoint told{};     // last time that progress was told
  };
  using Key = std::pair<std::string, std::string>;  // uri, digest of the token

  Impl(ModelStoreOptions given, const Clock& the_clock)
      : options(std::move(given)), clock(the_clock) {
    for (int i = 0; i < std::max(1, options.pulls); ++i) {
      threads.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
  }

  ~Impl() {
    for (std::jthread& thread : threads) thread.request_stop();
    wake.notify_all();
    threads.clear();
  }

  ModelView local(const std::string& uri) const {
    auto path = uri.starts_with(kPvcScheme) ? pvc_model(uri, options.volumes) : file_model(uri);
    if (path) return ready(*std::move(path));
    return {.phase = ModelPhase::kFailed,
            .error = path.error().message(),
            .final = is_final(path.error()),
            .retry_at = clock.now() + options.first_pause};
  }

  // What is in the cache: pulled with this token, or put there by who runs this machine.
  std::optional<std::string> cached(const Key& key) const {
    const auto& [uri, token_digest] = key;
    if (auto path = options.cache.resolve(cache_name(uri, token_digest))) return model_in(*path);
    const auto parsed = registry::parse_model_uri(uri, options.plain_http);
    const std::string source = parsed ? source_text(*parsed) : std::string();
    if (source.empty()) return std::nullopt;
    for (const registry::Manifest& manifest : options.cache.list()) {
      if (manifest.source != source || manifest.name.starts_with(kStorage)) continue;
      if (auto path = options.cache.resolve(manifest.name)) return model_in(*path);
    }
    return std::nullopt;
  }

  ModelView want(const std::string& uri, const std::string& token) {
    if (is_local(uri)) return local(uri);
    const Key key{uri, token.empty() ? std::string() : SecretDigest(token).hex()};
    {
      const std::lock_guard lock(mutex);
      if (const auto found = entries.find(key); found != entries.end()) {
        return again(found->first, found->second);
      }
    }
    auto path = cached(key);  // reads files: not under the lock
    const std::lock_guard lock(mutex);
    make_room();
    Entry& entry = entries.try_emplace(key).first->second;
    entry.uri = uri;
    entry.token = token;
    entry.asked = ++turn;
    if (path) {
      entry.view = ready(*std::move(path));
    } else if (!entry.queued && entry.view.phase == ModelPhase::kPulling) {
      enqueue(key, entry);
    }
    return entry.view;
  }

  ModelView again(const Key& key, Entry& entry) {
    entry.asked = ++turn;
    if (entry.queued) return entry.view;
    std::error_code error;
    const bool gone = entry.view.phase == ModelPhase::kReady && !fs::exists(entry.view.path, error);
    const bool due = entry.view.phase == ModelPhase::kFailed && !entry.view.final &&
                     clock.now() >= entry.view.retry_at;
    if (gone || due) enqueue(key, entry);
    return entry.view;
  }

  void enqueue(const Key& key, Entry& entry) {
    entry.queued = true;
    entry.view.phase = ModelPhase::kPulling;
    entry.view.path.clear();
    entry.view.done = 0;
    entry.view.total = 0;
    queue.push_back(key);
    wake.notify_all();  // who pauses between two tries waits on it too
  }

  // Forgets what nobody has asked for the longest; it is looked up anew when it is asked for.
  void make_room() {
    if (entries.size() < kMaxEntries) return;
    auto oldest = entries.end();
    for (auto each = entries.begin(); each != entries.end(); ++each) {
      if (each->second.queued) continue;
      if (oldest == entries.end() || each->second.asked < oldest->second.asked) oldest = each;
    }
    if (oldest != entries.end()) entries.erase(oldest);
  }

  void work(const std::stop_token& stop) {
    while (true) {
      Key key;
      std::string token;
      {
        std::unique_lock lock(mutex);
        if (!wake.wait(lock, stop, [&] { return !queue.empty(); })) return;
        key = std::move(queue.front());
        queue.pop_front();
        token = entries.at(key).token;
      }
      auto path = pull(key, token, stop);
      if (stop.stop_requested()) return;
      finish(key, std::move(path));
    }
  }

  Result<std::string> pull(const Key& key, const std::string& token, const std::stop_token& stop) {
    registry::PullOptions pull;
    pull.name = cache_name(key.first, key.second);
    pull.prove_access = true;
    pull.plain_http = options.plain_http;
    pull.hub = options.hub;
    pull.attempts = kAttempts;
    if (!token.empty()) pull.hub.token = token;
    pull.pause = [this, &stop](int attempt) {
      std::unique_lock lock(mutex);
      wake.wait_for(lock, stop, std::chrono::seconds(1LL << std::min(attempt - 1, 5)),
                    [&stop] { return stop.stop_requested(); });
    };
    pull.on_progress = [this, &key, &stop](const registry::PullProgress& progress) {
      note_progress(key, progress);
      return !stop.stop_requested();
    };
    if (options.pull) {
      SLUICE_ASSIGN_OR_RETURN(const auto result, options.pull(key.first, pull));
      return model_in(result.path);
    }
    SLUICE_ASSIGN_OR_RETURN(const auto result, registry::pull(options.cache, key.first, pull));
    return model_in(result.path);
  }

  void note_progress(const Key& key, const registry::PullProgress& progress) {
    {
      const std::lock_guard lock(mutex);
      Entry& entry = entries.at(key);
      entry.view.done = progress.done;
      entry.view.total = progress.total;
      const TimePoint now = clock.now();
      if (entry.told != TimePoint{} && now - entry.told < kProgressEvery) return;
      entry.told = now;
    }
    tell(key.first);
  }

  void finish(const Key& key, Result<std::string> path) {
    {
      const std::lock_guard lock(mutex);
      Entry& entry = entries.at(key);
      entry.queued = false;
      if (path) {
        entry.view = ready(*std::move(path));
      } else {
        ModelView& view = entry.view;
        view.phase = ModelPhase::kFailed;
        view.error = path.error().message();
        view.final = is_final(path.error());
        const int doublings = std::min(view.attempts++, 20);
        view.retry_at = clock.now() + std::min<Duration>(options.max_pause,
                                                         options.first_pause * (1LL << doublings));
        log_warn("platform: a model cannot be brought here: {}", view.error);
      }
    }
    tell(key.first);
  }

  void tell(const std::string& uri) {
    if (listener) listener(uri);
  }

  const ModelStoreOptions options;
  const Clock& clock;
  std::function<void(const std::string&)> listener;
  std::mutex mutex;
  std::condition_variable_any wake;
  std::map<Key, Entry> entries;
  std::deque<Key> queue;
  uint64_t turn = 0;
  std::vector<std::jthread> threads;  // last: they use all else
};

ModelStore::ModelStore(ModelStoreOptions options, const Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), clock)) {}

ModelStore::~ModelStore() = default;

void ModelStore::on_change(std::function<void(const std::string& uri)> listener) {
  impl_->listener = std::move(listener);
}

ModelView ModelStore::want(const std::string& uri, const std::string& token) {
  return impl_->want(uri, token);
}

}  // namespace sluice::platform
