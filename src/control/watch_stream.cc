#include "control/watch_stream.h"

#include <algorithm>
#include <utility>

#include "control/answer.h"
#include "control/limits.h"
#include "control/listing.h"

namespace sluice::control {

ApiOutcome WatchStream::start(ObjectStore& store, const ApiPath& path, const Query& query,
                              Form form, const Clock& clock,
                              std::shared_ptr<net::Responder> responder) {
  SLUICE_ASSIGN_OR_RETURN(Selector selector,
                          Selector::parse(query.get("labelSelector"), query.get("fieldSelector")));
  SLUICE_ASSIGN_OR_RETURN(const RowObject include, row_object_of(query));
  SLUICE_ASSIGN_OR_RETURN(const auto seconds, query.number("timeoutSeconds"));
  SLUICE_ASSIGN_OR_RETURN(const auto from, query.number("resourceVersion"));
  const auto most = static_cast<uint64_t>(limits::kMaxWatchTime.count());
  const uint64_t patience = seconds && *seconds > 0 ? std::min(*seconds, most) : most;
  const std::shared_ptr<WatchStream> stream(
      new WatchStream({.type = path.type,
                       .ns = path.ns,
                       .selector = std::move(selector),
                       .form = form,
                       .include = include,
                       .bookmarks = query.flag("allowWatchBookmarks"),
                       .until = clock.now() + std::chrono::seconds(static_cast<int64_t>(patience))},
                      clock, std::move(responder)));
  stream->next_bookmark_ = clock.now() + limits::kBookmarkEvery;
  const Watcher watcher = [stream](const Change& change) { return stream->on_change(change); };
  const bool initial = query.flag("sendInitialEvents");
  if (from.value_or(0) != 0 && !initial) {
    // A refusal must be an answer of its own: the stream begins with the first line or the tick.
    SLUICE_RETURN_IF_ERROR(store.subscribe(path.type, *from, watcher));
  } else {
    SLUICE_RETURN_IF_ERROR(store.subscribe_now(
        path.type,
        [&](const ObjectStore::Listing& present) {
          stream->begin();
          for (const ObjectPtr& object : present.objects) {
            if (stream->selects(object) && !stream->send("ADDED", *object)) return;
          }
          if (initial) stream->send_bookmark(present.version, true);
        },
        watcher));
  }
  store.poll_watchers();
  return {};
}

void WatchStream::begin() {
  if (begun_) return;
  begun_ = true;
  responder_->start(200, {{"Content-Type", "application/json"},
                          {"Cache-Control", "no-cache, private"},
                          {"X-Content-Type-Options", "nosniff"}});
}

bool WatchStream::on_change(const Change& change) {
  if (responder_->closed()) return false;
  begin();
  if (!change.object) return tick(change.version, change.kind == ChangeKind::kDeleted);
  const bool was = change.before && selects(change.before);
  const bool is = change.kind != ChangeKind::kDeleted && selects(change.object);
  if (!was && !is) return true;
  return send(!is ? "DELETED" : was ? "MODIFIED" : "ADDED", *change.object);
}

bool WatchStream::tick(uint64_t version, bool end) {
  const TimePoint now = clock_.now();
  if (end || now >= settings_.until) {
    if (settings_.bookmarks) send_bookmark(version, false);
    responder_->finish();
    return false;
  }
  if (!settings_.bookmarks || now < next_bookmark_) return true;
  next_bookmark_ = now + limits::kBookmarkEvery;
  return send_bookmark(version, false);
}

bool WatchStream::selects(const ObjectPtr& object) const {
  if (!settings_.ns.empty() && object->ns != settings_.ns) return false;
  return settings_.selector.all() || settings_.selector.matches(object->body);
}

bool WatchStream::send(std::string_view type, const StoredObject& object) {
  return responder_->write(event_line(type, rendered(object)));
}

std::string WatchStream::rendered(const StoredObject& object) {
  switch (settings_.form) {
    case Form::kObject:
      return *object.text;
    case Form::kMetadata:
      return json::serialize(metadata_only(object.body));
    case Form::kTable:
      break;
  }
  json::object table = empty_table(*settings_.type);
  // The columns stand in the first table only.
  if (std::exchange(columns_sent_, true)) table["columnDefinitions"] = nullptr;
  table["metadata"] = json::object{{"resourceVersion", std::to_string(object.version)}};
  table["rows"] = json::array{
      table_row(*settings_.type, object.body, settings_.include, clock_.unix_seconds())};
  return json::serialize(table);
}

bool WatchStream::send_bookmark(uint64_t version, bool initial_end) {
  json::object metadata{{"resourceVersion", std::to_string(version)},
                        {"creationTimestamp", nullptr}};
  if (initial_end) metadata["annotations"] = json::object{{"k8s.io/initial-events-end", "true"}};
  json::object object{{"kind", settings_.type->kind},
                      {"apiVersion", settings_.type->api_version()},
                      {"metadata", metadata}};
  if (settings_.form == Form::kTable) {
    object = empty_table(*settings_.type);
    object["columnDefinitions"] = nullptr;
    object["metadata"] = json::object{{"resourceVersion", std::to_string(version)}};
    json::object partial{{"kind", "PartialObjectMetadata"},
                         {"apiVersion", "meta.k8s.io/v1"},
                         {"metadata", metadata}};
    object["rows"] =
        json::array{json::object{{"cells", json::array()}, {"object", std::move(partial)}}};
  }
  return responder_->write(event_line("BOOKMARK", json::serialize(object)));
}

}  // namespace sluice::control
