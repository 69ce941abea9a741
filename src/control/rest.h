// The routes of the API: requests → Objects → answers.
//
// Callable from any thread, not on an event loop's: a change waits for the disk.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "control/access.h"
#include "control/api_request.h"
#include "control/audit.h"
#include "control/objects.h"
#include "control/replica_logs.h"
#include "net/server.h"

namespace sluice::control {

class Rest {
 public:
  // `answered` is told of every answer but those of watches.
  using Answered = std::function<void(std::string_view verb, int code)>;

  Rest(Objects& objects, Audit& audit, ReplicaLogs& logs, Answered answered)
      : objects_(objects), audit_(audit), logs_(logs), answered_(std::move(answered)) {}

  void answer(const net::HttpRequest& request, const Identity& who,
              const std::shared_ptr<net::Responder>& responder);

  // GET …/replicas/NAME/metrics: what a replica tells of itself, fetched by `call`, which answers
  // on any thread. None: there is no such page.
  using ReplicaCall = std::function<void(const ObjectPtr& replica,
                                         const std::shared_ptr<net::Responder>& responder)>;
  void set_replica_metrics(ReplicaCall call);

  // For refusals that happen before a request is read.
  void note_refusal(const net::HttpRequest& head, const Identity& who, int code,
                    std::string_view reason);

 private:
  struct Call;

  static std::optional<net::HttpResponse> page(const net::HttpRequest& request);
  ApiResult<net::HttpResponse> dispatch(const Call& call);
  ApiResult<net::HttpResponse> get(const Call& call);
  ApiResult<net::HttpResponse> create(const Call& call);
  ApiResult<net::HttpResponse> update(const Call& call);
  ApiResult<net::HttpResponse> patch(const Call& call);
  ApiResult<net::HttpResponse> remove(const Call& call);
  ApiResult<net::HttpResponse> remove_collection(const Call& call);
  ApiOutcome metrics(const Call& call, const std::shared_ptr<net::Responder>& responder);
  ApiOutcome log(const Call& call, const std::shared_ptr<net::Responder>& responder);
  net::HttpResponse written(const Call& call, const Written& written, Form form) const;
  void note(const Call& call, const net::HttpResponse& response, std::string_view reason);

  Objects& objects_;
  Audit& audit_;
  ReplicaLogs& logs_;
  std::mutex replica_metrics_mutex_;  // held while the call runs
  ReplicaCall replica_metrics_;
  const Answered answered_;
};

}  // namespace sluice::control
