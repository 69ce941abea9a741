// What a Sluice replica says that it serves (GET /internal/v1/identity), and ModelCards: the cards
// of models by the names that clients use, as replicas told them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "completion/backend.h"
#include "gateway/replica.h"
#include "net/client.h"

namespace sluice::gateway {

struct ReplicaIdentity {
  bool ready = false;
  std::vector<completion::ModelCard> models;
  completion::Load load;

  // The card of `model`, or of the first one for an empty name; nullptr when there is none.
  const completion::ModelCard* find(std::string_view model) const;
};

// The answer's body → what it says. What it is not is kDataLoss.
Result<ReplicaIdentity> parse_identity(std::string_view body);

// Asks a replica. fetch waits for the answer and is not for a loop's thread; request tells it on
// the client's loop.
Result<ReplicaIdentity> fetch_identity(net::HttpClient& client, const ReplicaInfo& replica);
void request_identity(net::HttpClient& client, const ReplicaInfo& replica,
                      std::function<void(Result<ReplicaIdentity>)> done);

// Any thread. A card that is known is given at once, so that a replica that hangs holds nobody up;
// when it is no longer fresh, the answer to the next question is fetched in the background.
class ModelCards {
 public:
  static constexpr std::chrono::seconds kFresh{5};

  explicit ModelCards(const Clock& clock) : clock_(clock) {}

  struct Known {
    completion::ModelCard card;
    bool refresh = false;  // the caller is to ask again, and to tell
  };
  std::optional<Known> find(const std::string& name);
  void tell(const std::string& name, const completion::ModelCard& card);
  void forget(const std::string& name);  // there is no such model any more
  void not_refreshed(const std::string& name);

 private:
  struct Entry {
    completion::ModelCard card;
    TimePoint at;
    bool asking = false;
  };

  const Clock& clock_;
  std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace sluice::gateway
