// UnbrokenBackend: the completion::Backend of Sluice replicas. It sends each request typed and
// whole to one of them (POST /internal/v1/generate) and sees the answer through whatever happens
// to that one: docs/unbroken-streams.md.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/function_ref.h"
#include "completion/backend.h"
#include "gateway/replica.h"
#include "gateway/replica_identity.h"
#include "gateway/unbroken_metrics.h"
#include "gateway/unbroken_run.h"
#include "net/client.h"
#include "telemetry/metrics.h"

namespace sluice::gateway {

// Which route answers for a model, and the models that the routes list. Thread-safe, quick.
class UnbrokenRoutes {
 public:
  virtual ~UnbrokenRoutes() = default;
  virtual Result<UnbrokenRoute> route(const completion::Request& request) const = 0;
  virtual Result<std::string> route_of_model(const std::string& model) const = 0;
  virtual std::vector<std::string> models() const = 0;
};

// Any thread. What it refers to outlives it. Models are described by the replicas themselves; what
// they said last is kept, so that a request finds its model also while none of them answers.
class UnbrokenBackend final : public completion::Backend {
 public:
  UnbrokenBackend(const UnbrokenRoutes& routes, ReplicaChooser& chooser, net::HttpClient& client,
                  telemetry::Metrics& metrics, const Clock& clock = system_clock());
  ~UnbrokenBackend() override;  // cancels what runs

  std::vector<completion::ModelCard> models() const override;
  Result<completion::ModelCard> find_model(const std::string& name) const override;
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override;
  // The same on a route that the caller has chosen.
  Result<std::shared_ptr<completion::Call>> generate_on(
      UnbrokenRoute route, completion::Request request,
      std::shared_ptr<completion::ResponseSink> sink);
  Result<completion::TokenizeResult> tokenize(
      const completion::TokenizeRequest& request) const override;
  // The prompts of a request, up to the first `prompts` of them, by a replica of the upstream that
  // the route names. Waits for it.
  Result<TokenizedPrompts> tokenize_prompts(const UnbrokenRoute& route,
                                            const completion::Request& request, size_t prompts);
  Result<std::string> detokenize(const std::string& model,
                                 const std::vector<int32_t>& tokens) const override;
  bool ready() const override;
  uint64_t steps(const std::string&) const override { return 0; }

  size_t under_way() const { return minder_.count(); }

 private:
  // Who is asked, but for those who were already.
  using Choose = std::function<Result<ReplicaLease>(const std::vector<std::string>& excluded)>;
  template <typename T>
  Result<T> of_a_replica(const Choose& choose, FunctionRef<Result<T>(ReplicaLease&)> ask,
                         Duration patience) const;
  Result<ReplicaLease> choose(const std::string& model,
                              const std::vector<std::string>& excluded) const;
  Result<completion::ModelCard> card_of(const std::string& name, const ReplicaInfo& replica,
                                        const ReplicaIdentity& identity) const;
  Result<completion::ModelCard> ask_for_card(const std::string& name, Duration patience) const;
  Result<completion::ModelCard> find_card(const std::string& name, Duration patience) const;
  void refresh(const std::string& name) const;

  struct Answered {
    std::string body;
    std::shared_ptr<const ReplicaInfo> replica;
  };
  Result<Answered> ask(const Choose& choose, const std::string& model, std::string_view path,
                       const std::function<std::string(const std::string& model)>& body) const;

  const UnbrokenRoutes& routes_;
  ReplicaChooser& chooser_;
  net::HttpClient& client_;
  const Clock& clock_;
  UnbrokenMetrics metrics_;
  mutable ModelCards cards_;
  mutable std::mutex refreshes_mutex_;
  mutable std::condition_variable refreshed_;
  mutable int refreshes_ = 0;  // questions for cards under way
  UnbrokenMinder minder_;
};

}  // namespace sluice::gateway
