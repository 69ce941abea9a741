// A watch: changes of a collection as a stream of JSON lines, until the client leaves or its time
// is over.
//
// Called by the thread that commits, one call after another; the stream's end of it never blocks.
#pragma once

#include <memory>

#include "base/clock.h"
#include "control/api_request.h"
#include "control/object_store.h"
#include "control/selector.h"
#include "control/table.h"
#include "net/server.h"

namespace sluice::control {

class WatchStream : public std::enable_shared_from_this<WatchStream> {
 public:
  // Begins the answer, and goes on by itself. An error means that nothing was answered yet.
  static ApiOutcome start(ObjectStore& store, const ApiPath& path, const Query& query, Form form,
                          const Clock& clock, std::shared_ptr<net::Responder> responder);

 private:
  struct Settings {
    const ResourceType* type = nullptr;
    std::string ns;
    Selector selector;
    Form form = Form::kObject;
    RowObject include = RowObject::kMetadata;
    bool bookmarks = false;
    TimePoint until;
  };

  WatchStream(Settings settings, const Clock& clock, std::shared_ptr<net::Responder> responder)
      : settings_(std::move(settings)), clock_(clock), responder_(std::move(responder)) {}

  bool on_change(const Change& change);
  bool tick(uint64_t version, bool end);
  bool send(std::string_view type, const StoredObject& object);
  bool send_bookmark(uint64_t version, bool initial_end);
  bool selects(const ObjectPtr& object) const;
  std::string rendered(const StoredObject& object);
  void begin();

  const Settings settings_;
  const Clock& clock_;
  const std::shared_ptr<net::Responder> responder_;
  TimePoint next_bookmark_;
  bool begun_ = false;
  bool columns_sent_ = false;
};

}  // namespace sluice::control
