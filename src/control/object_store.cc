#include "control/object_store.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

#include "control/json_util.h"

namespace sluice::control {
namespace {

constexpr std::string_view kSchema = R"(
CREATE TABLE objects (
  resource TEXT NOT NULL,   -- plural.version.group
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('version', 1);
)";

std::string resource_key(const ResourceType& type) {
  return fmt::format("{}.{}.{}", type.plural, type.version, type.group);
}

const ResourceType* type_of_key(std::string_view key) {
  for (const ResourceType& type : resource_types()) {
    if (resource_key(type) == key) return &type;
  }
  return nullptr;
}

Status unreadable(const std::filesystem::path& path, const Status& why) {
  if (why.code() != Code::kDataLoss) return why;
  return why.at(
      fmt::format("the objects in {} cannot be read (restore the file from a backup, or "
                  "move it away to begin with none and apply the manifests again)",
                  path.string()));
}

ApiError not_stored(const Status& why) {
  if (why.code() == Code::kResourceExhausted) {
    return {507, "InsufficientStorage",
            fmt::format("nothing was changed: the disk that holds the objects is full; free some "
                        "space there and send it again ({})",
                        why.message())};
  }
  return {500, "InternalError", fmt::format("nothing was changed: {}", why.message())};
}

template <typename Use>
void each_owner(const json::object& body, Use&& use) {
  const auto* owners = array_at(body, "metadata.ownerReferences");
  if (owners == nullptr) return;
  for (const json::value& owner : *owners) {
    if (const auto* fields = owner.if_object()) use(std::string(text_at(*fields, "uid")));
  }
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> ObjectStore::open(const std::filesystem::path& path,
                                                       StoreLimits limits, Expect expect) {
  std::error_code missing;
  if (expect == Expect::kObjects && std::filesystem::file_size(path, missing) == 0 && !missing) {
    // SQLite takes it for a new one, and all that runs would be nobody's.
    return std::unexpected(unreadable(path, {Code::kDataLoss, "the file is empty"}));
  }
  auto opened = store::Database::open(path, store::Durability::kMachine);
  if (!opened) return std::unexpected(unreadable(path, opened.error()));
  auto store = with(*std::move(opened), limits);
  if (!store) return std::unexpected(unreadable(path, store.error()));
  return store;
}

Result<std::unique_ptr<ObjectStore>> ObjectStore::open_in_memory(StoreLimits limits) {
  SLUICE_ASSIGN_OR_RETURN(store::Database database, store::Database::open_in_memory());
  return with(std::move(database), limits);
}

Result<std::unique_ptr<ObjectStore>> ObjectStore::with(store::Database database,
                                                       StoreLimits limits) {
  std::unique_ptr<ObjectStore> made(new ObjectStore(std::move(database), limits));
  SLUICE_RETURN_IF_ERROR(made->load());
  return made;
}

Outcome ObjectStore::load() {
  SLUICE_RETURN_IF_ERROR(store::migrate(database_, std::array{kSchema}));
  SLUICE_ASSIGN_OR_RETURN(store::Statement sound, database_.prepare("PRAGMA quick_check(1)"));
  SLUICE_ASSIGN_OR_RETURN(const bool answered, sound.step());
  if (!answered || sound.text(0) != "ok") {
    return fail(Code::kDataLoss,
                fmt::format("the database is damaged: {}", answered ? sound.text(0) : "no answer"));
  }
  sound.reset();
  SLUICE_ASSIGN_OR_RETURN(store::Statement counter,
                          database_.prepare("SELECT value FROM counters WHERE name = 'version'"));
  SLUICE_ASSIGN_OR_RETURN(const bool counted, counter.step());
  if (!counted) return fail(Code::kDataLoss, "the counter of versions is missing");
  version_ = floor_ = static_cast<uint64_t>(counter.integer(0));
  counter.reset();
  SLUICE_ASSIGN_OR_RETURN(store::Statement rows,
                          database_.prepare("SELECT resource, body FROM objects"));
  while (true) {
    SLUICE_ASSIGN_OR_RETURN(const bool row, rows.step());
    if (!row) return {};
    SLUICE_RETURN_IF_ERROR(load_row(rows.text(0), rows.text(1)));
  }
}

Outcome ObjectStore::load_row(const std::string& resource, const std::string& body) {
  const ResourceType* type = type_of_key(resource);
  if (type == nullptr) {
    return fail(Code::kFailedPrecondition,
                fmt::format("it holds a resource {} that this program does not know", resource));
  }
  auto parsed = parse_json(body, {.max_bytes = 16u << 20});
  if (!parsed || !parsed->is_object()) {
    return fail(Code::kDataLoss, fmt::format("an object of {} is no JSON", resource));
  }
  const std::string_view stated = text_at(parsed->get_object(), "metadata.resourceVersion");
  uint64_t version = 0;
  const auto [end, error] = std::from_chars(stated.data(), stated.data() + stated.size(), version);
  if (error != std::errc() || end != stated.data() + stated.size() || version > version_) {
    return fail(Code::kDataLoss, fmt::format("an object of {} has no good version", resource));
  }
  index(make_object(*type, std::move(parsed->get_object()), version));
  return {};
}

ObjectPtr ObjectStore::get(const ObjectKey& key) const {
  const std::shared_lock lock(mutex_);
  const auto found = objects_.find(key);
  return found == objects_.end() ? nullptr : found->second;
}

ObjectStore::Listing ObjectStore::list(const ResourceType& type, std::string_view ns) const {
  Listing listing;
  const std::shared_lock lock(mutex_);
  listing.version = version_;
  for (auto at = objects_.lower_bound({&type, std::string(ns), {}});
       at != objects_.end() && at->first.type == &type; ++at) {
    if (!ns.empty() && at->first.ns != ns) break;
    listing.objects.push_back(at->second);
  }
  return listing;
}

std::vector<ObjectPtr> ObjectStore::in_namespace(std::string_view ns) const {
  std::vector<ObjectPtr> found;
  const std::shared_lock lock(mutex_);
  for (const auto& [key, object] : objects_) {
    if (key.type->namespaced && key.ns == ns) found.push_back(object);
  }
  return found;
}

std::vector<ObjectPtr> ObjectStore::dependents(const std::string& uid) const {
  std::vector<ObjectPtr> found;
  const std::shared_lock lock(mutex_);
  const auto owned = owned_.find(uid);
  if (owned == owned_.end()) return found;
  for (const ObjectKey& key : owned->second) {
    if (const auto at = objects_.find(key); at != objects_.end()) found.push_back(at->second);
  }
  return found;
}

bool ObjectStore::has_uid(const std::string& uid) const {
  const std::shared_lock lock(mutex_);
  return uids_.contains(uid);
}

uint64_t ObjectStore::version() const {
  const std::shared_lock lock(mutex_);
  return version_;
}

size_t ObjectStore::size() const {
  const std::shared_lock lock(mutex_);
  return objects_.size();
}

size_t ObjectStore::watchers() const {
  const std::shared_lock lock(mutex_);
  return watchers_;
}

uint64_t ObjectStore::oldest_version() const {
  const std::shared_lock lock(mutex_);
  return floor_;
}

ApiResult<std::vector<ObjectPtr>> ObjectStore::commit(std::vector<Write> writes) {
  const std::lock_guard lock(commit_mutex_);
  SLUICE_RETURN_IF_ERROR(check_room(writes));
  const std::vector<Change> changes = changes_of(writes);
  if (const Outcome stored = persist(changes); !stored) {
    return std::unexpected(not_stored(stored.error()));
  }
  {
    const std::unique_lock writing(mutex_);
    for (const Change& change : changes) take(change);
  }
  std::vector<ObjectPtr> objects;
  for (const Change& change : changes) {
    remember(change);
    tell(change);
    objects.push_back(change.object);
  }
  return objects;
}

ApiOutcome ObjectStore::check_room(const std::vector<Write>& writes) const {
  const std::shared_lock lock(mutex_);
  size_t added = 0;
  for (const Write& write : writes) {
    if (write.body && !write.key.type->ephemeral && !objects_.contains(write.key)) ++added;
  }
  if (added == 0) return {};
  if (lasting_ + added > limits_.objects || bytes_ > limits_.bytes) {
    return std::unexpected(ApiError(
        403, "Forbidden",
        fmt::format("the control plane holds at most {} objects of {} MiB together: delete some",
                    limits_.objects, limits_.bytes >> 20)));
  }
  return {};
}

std::vector<Change> ObjectStore::changes_of(std::vector<Write>& writes) const {
  std::vector<Change> changes;
  const std::shared_lock lock(mutex_);
  uint64_t version = version_;
  for (Write& write : writes) {
    const auto found = objects_.find(write.key);
    const ObjectPtr before = found == objects_.end() ? nullptr : found->second;
    if (!write.body && !before) continue;
    Change change{.version = ++version, .object = nullptr, .before = before};
    if (write.body) {
      change.kind = before ? ChangeKind::kModified : ChangeKind::kAdded;
      change.object = make_object(*write.key.type, *std::move(write.body), version);
    } else {
      change.kind = ChangeKind::kDeleted;
      change.object = make_object(*write.key.type, before->body, version);
    }
    changes.push_back(std::move(change));
  }
  return changes;
}

Outcome ObjectStore::persist(const std::vector<Change>& changes) {
  if (changes.empty()) return {};
  return database_.transact([&]() -> Outcome {
    SLUICE_ASSIGN_OR_RETURN(
        store::Statement put,
        database_.prepare("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)"));
    SLUICE_ASSIGN_OR_RETURN(
        store::Statement drop,
        database_.prepare("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"));
    for (const Change& change : changes) {
      store::Statement& statement = change.kind == ChangeKind::kDeleted ? drop : put;
      statement.bind(1, resource_key(*change.object->type))
          .bind(2, change.object->ns)
          .bind(3, change.object->name);
      if (change.kind != ChangeKind::kDeleted) statement.bind(4, *change.object->text);
      SLUICE_RETURN_IF_ERROR(statement.run());
    }
    SLUICE_ASSIGN_OR_RETURN(
        store::Statement counter,
        database_.prepare("UPDATE counters SET value = ? WHERE name = 'version'"));
    counter.bind(1, static_cast<int64_t>(changes.back().version));
    return counter.run();
  });
}

void ObjectStore::take(const Change& change) {
  if (change.before) forget(change.before);
  if (change.kind != ChangeKind::kDeleted) index(change.object);
  version_ = change.version;
}

void ObjectStore::index(const ObjectPtr& object) {
  const ObjectKey key = key_of(*object);
  each_owner(object->body, [&](const std::string& uid) { owned_[uid].insert(key); });
  uids_.insert(object->uid);
  bytes_ += object->text->size();
  if (!object->type->ephemeral) ++lasting_;
  objects_[key] = object;
}

void ObjectStore::forget(const ObjectPtr& object) {
  const ObjectKey key = key_of(*object);
  each_owner(object->body, [&](const std::string& uid) {
    const auto owned = owned_.find(uid);
    if (owned == owned_.end()) return;
    owned->second.erase(key);
    if (owned->second.empty()) owned_.erase(owned);
  });
  uids_.erase(object->uid);
  bytes_ -= object->text->size();
  if (!object->type->ephemeral) --lasting_;
  objects_.erase(key);
}

void ObjectStore::remember(const Change& change) {
  const uint64_t forgotten = history_.remember(change);
  if (forgotten == 0) return;
  const std::unique_lock lock(mutex_);
  floor_ = forgotten;
}

void ObjectStore::tell(const Change& change) {
  const size_t before = subscriptions_.size();
  subscriptions_.remove_if([&](const Subscription& each) {
    if (each.type != nullptr && change.object && each.type != change.object->type) return false;
    return !each.watcher(change);
  });
  if (subscriptions_.size() != before) {
    const std::unique_lock lock(mutex_);
    watchers_ = subscriptions_.size();
  }
}

void ObjectStore::poll_watchers() {
  const std::lock_guard lock(commit_mutex_);
  tell({.kind = ChangeKind::kModified, .version = version(), .object = nullptr, .before = nullptr});
}

void ObjectStore::end_watchers() {
  const std::lock_guard lock(commit_mutex_);
  tell({.kind = ChangeKind::kDeleted, .version = version(), .object = nullptr, .before = nullptr});
}

ApiOutcome ObjectStore::check_watchers() const {
  if (subscriptions_.size() < limits_.watchers) return {};
  ApiError error(429, "TooManyRequests",
                 fmt::format("{} watches are open, and no more are taken", limits_.watchers));
  error.retry_after_seconds = 5;
  return std::unexpected(std::move(error));
}

ApiOutcome ObjectStore::subscribe(const ResourceType* type, uint64_t from, Watcher watcher) {
  const std::lock_guard lock(commit_mutex_);
  SLUICE_RETURN_IF_ERROR(check_watchers());
  if (from < floor_) {
    return expired(fmt::format("too old resource version: {} ({})", from, floor_));
  }
  if (from > version()) {
    return expired(
        fmt::format("the resource version {} is not there yet ({}): list anew", from, version()));
  }
  if (!history_.replay(type, from, watcher)) return {};
  subscriptions_.push_back({type, std::move(watcher)});
  const std::unique_lock writing(mutex_);
  watchers_ = subscriptions_.size();
  return {};
}

ApiOutcome ObjectStore::subscribe_now(const ResourceType* type,
                                      const std::function<void(const Listing& present)>& start,
                                      Watcher watcher) {
  const std::lock_guard lock(commit_mutex_);
  SLUICE_RETURN_IF_ERROR(check_watchers());
  Listing present{.objects = {}, .version = version()};
  if (type != nullptr) {
    present = list(*type, {});
  } else {
    const std::shared_lock reading(mutex_);
    for (const auto& [key, object] : objects_) present.objects.push_back(object);
  }
  start(present);
  subscriptions_.push_back({type, std::move(watcher)});
  const std::unique_lock writing(mutex_);
  watchers_ = subscriptions_.size();
  return {};
}

}  // namespace sluice::control
