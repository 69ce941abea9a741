// ObjectStore: all objects, in memory and in one SQLite file; every change has a version of one
// counter, and recent changes can be watched.
//
// Objects are immutable once stored. get(), list() and version() may be called from any thread at
// any time. commit() and subscribe() come one after another; a Watcher is called by the thread that
// commits, in the order of the versions, and must neither block nor call the store's commit() or
// subscribe(). What commit() has returned outlives the end of the process and of the machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "control/api_error.h"
#include "control/change_history.h"
#include "control/limits.h"
#include "control/resource_types.h"
#include "control/stored_object.h"
#include "store/database.h"

namespace sluice::control {

// One thing to do: without a body, a deletion.
struct Write {
  ObjectKey key;
  std::optional<json::object> body;
};

struct StoreLimits {
  size_t objects = limits::kMaxObjects;
  size_t bytes = limits::kMaxStoredBytes;
  size_t history = limits::kMaxHistory;
  size_t history_bytes = limits::kMaxHistoryBytes;
  size_t watchers = limits::kMaxWatchers;
};

class ObjectStore {
 public:
  // Whether a file of no bytes is one that was begun only just now, or one that was emptied.
  enum class Expect { kAnything, kObjects };
  // Opens or creates the file. A damaged one is refused by name, with what to do.
  static Result<std::unique_ptr<ObjectStore>> open(const std::filesystem::path& path,
                                                   StoreLimits limits = {},
                                                   Expect expect = Expect::kAnything);
  static Result<std::unique_ptr<ObjectStore>> open_in_memory(StoreLimits limits = {});

  ObjectPtr get(const ObjectKey& key) const;

  struct Listing {
    std::vector<ObjectPtr> objects;  // by namespace and name
    uint64_t version = 0;
  };
  // All of the type, of one namespace unless `ns` is empty.
  Listing list(const ResourceType& type, std::string_view ns) const;
  std::vector<ObjectPtr> in_namespace(std::string_view ns) const;
  // Objects that name the uid as an owner.
  std::vector<ObjectPtr> dependents(const std::string& uid) const;
  bool has_uid(const std::string& uid) const;

  uint64_t version() const;
  size_t size() const;

  // All of it or nothing. Gives the objects as stored, of deletions the last state. Versions in
  // the bodies are set here.
  ApiResult<std::vector<ObjectPtr>> commit(std::vector<Write> writes);

  // Changes after `from`, then those to come. 410 when `from` is before the oldest that is kept.
  // Every type when `type` is null.
  ApiOutcome subscribe(const ResourceType* type, uint64_t from, Watcher watcher);
  // As before, but begins with what is there now: `start` is called with it before any change.
  ApiOutcome subscribe_now(const ResourceType* type,
                           const std::function<void(const Listing& present)>& start,
                           Watcher watcher);
  size_t watchers() const;
  // The oldest version that a watch may begin from.
  uint64_t oldest_version() const;
  // Asks every watcher of a type with an empty change (kind kModified, no object), so that those
  // who have left are forgotten and bookmarks are sent.
  void poll_watchers();
  // The same with kind kDeleted: every watch is to end now.
  void end_watchers();

 private:
  struct Subscription {
    const ResourceType* type;
    Watcher watcher;
  };

  ObjectStore(store::Database database, StoreLimits limits)
      : limits_(limits),
        database_(std::move(database)),
        history_(limits.history, limits.history_bytes) {}
  static Result<std::unique_ptr<ObjectStore>> with(store::Database database, StoreLimits limits);
  Outcome load();
  Outcome load_row(const std::string& resource, const std::string& body);
  ApiOutcome check_room(const std::vector<Write>& writes) const;
  std::vector<Change> changes_of(std::vector<Write>& writes) const;
  Outcome persist(const std::vector<Change>& changes);
  void take(const Change& change);
  void index(const ObjectPtr& object);
  void forget(const ObjectPtr& object);
  void remember(const Change& change);
  void tell(const Change& change);
  ApiOutcome check_watchers() const;

  const StoreLimits limits_;

  std::mutex commit_mutex_;  // writers and subscriptions, one after another
  store::Database database_;
  ChangeHistory history_;
  std::list<Subscription> subscriptions_;

  mutable std::shared_mutex mutex_;  // guards what follows
  std::map<ObjectKey, ObjectPtr> objects_;
  std::unordered_map<std::string, std::set<ObjectKey>> owned_;  // by the owner's uid
  std::set<std::string> uids_;
  size_t bytes_ = 0;
  size_t lasting_ = 0;  // objects but events
  uint64_t version_ = 1;
  uint64_t floor_ = 1;
  size_t watchers_ = 0;
};

}  // namespace sluice::control
