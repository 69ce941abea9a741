#include "gateway/unbroken_backend.h"

#include <fmt/format.h>

#include <utility>

#include "api/internal_request.h"
#include "base/json.h"

namespace sluice::gateway {
namespace {

using completion::ModelCard;

constexpr std::chrono::seconds kFresh{1};
constexpr std::chrono::seconds kTokenizePatience{60};
constexpr size_t kMaxCards = 4096;

}  // namespace

UnbrokenBackend::UnbrokenBackend(const UnbrokenRoutes& routes, ReplicaChooser& chooser,
                                 net::HttpClient& client, telemetry::Metrics& metrics,
                                 const Clock& clock)
    : routes_(routes),
      chooser_(chooser),
      client_(client),
      clock_(clock),
      metrics_(metrics),
      identities_(client, clock),
      minder_(clock) {}

UnbrokenBackend::~UnbrokenBackend() { minder_.cancel_all(); }

Result<std::shared_ptr<completion::Call>> UnbrokenBackend::generate(
    completion::Request request, std::shared_ptr<completion::ResponseSink> sink) {
  SLUICE_ASSIGN_OR_RETURN(auto route, routes_.route(request));
  return generate_on(std::move(route), std::move(request), std::move(sink));
}

Result<std::shared_ptr<completion::Call>> UnbrokenBackend::generate_on(
    UnbrokenRoute route, completion::Request request,
    std::shared_ptr<completion::ResponseSink> sink) {
  const UnbrokenParts parts{.chooser = chooser_,
                            .client = client_,
                            .observer = metrics_,
                            .minder = minder_,
                            .clock = clock_};
  auto run =
      std::make_shared<UnbrokenRun>(parts, std::move(route), std::move(request), std::move(sink));
  minder_.add(run);
  run->attend();
  return run;
}

Result<ReplicaLease> UnbrokenBackend::choose(const std::string& model) const {
  SLUICE_ASSIGN_OR_RETURN(const std::string route, routes_.route_of_model(model));
  return chooser_.choose({.route = route,
                          .sticky_key = {},
                          .prefix = {},
                          .excluded = {},
                          .fingerprint = {},
                          .model = model});
}

Result<ModelCard> UnbrokenBackend::ask_for_card(const std::string& name) const {
  SLUICE_ASSIGN_OR_RETURN(auto lease, choose(name));
  const ReplicaInfo& replica = lease.replica();
  const auto identity = identities_.get(replica);
  if (!identity) {
    lease.report(UseResult::kNotReached);
    return std::unexpected(identity.error());
  }
  const ModelCard* card = (*identity)->find(replica.model.empty() ? name : replica.model);
  if (card == nullptr) {
    return fail(Code::kNotFound,
                fmt::format("the model '{}' does not exist here", name.substr(0, 128)), "model",
                "model_not_found");
  }
  chooser_.learn_fingerprint(replica, replica.model.empty() ? name : replica.model,
                             card->fingerprint);
  ModelCard found = *card;
  if (!name.empty()) found.id = name;
  return found;
}

Result<ModelCard> UnbrokenBackend::find_model(const std::string& name) const {
  const TimePoint now = clock_.now();
  std::optional<KnownCard> known;
  {
    const std::lock_guard lock(cards_mutex_);
    const auto at = cards_.find(name);
    if (at != cards_.end()) known = at->second;
  }
  if (known && now - known->at < kFresh) return known->card;
  auto card = ask_for_card(name);
  if (card) {
    const std::lock_guard lock(cards_mutex_);
    if (cards_.size() >= kMaxCards) cards_.clear();
    cards_[name] = {now, *card};
    return card;
  }
  const bool gone = card.error().code() == Code::kNotFound;
  if (!gone && known && now - known->at < kCardKept) return known->card;
  return card;
}

std::vector<ModelCard> UnbrokenBackend::models() const {
  std::vector<ModelCard> cards;
  for (const std::string& name : routes_.models()) {
    if (auto card = find_model(name)) cards.push_back(*std::move(card));
  }
  return cards;
}

bool UnbrokenBackend::ready() const {
  for (const std::string& name : routes_.models()) {
    if (choose(name)) return true;
  }
  return false;
}

// Any replica knows the tokenizer; another one is asked when the first cannot be.
Result<std::string> UnbrokenBackend::ask(
    const std::string& model, std::string_view path,
    const std::function<std::string(const std::string& model)>& body) const {
  SLUICE_ASSIGN_OR_RETURN(const std::string route, routes_.route_of_model(model));
  std::vector<std::string> excluded;
  Status last(Code::kUnavailable, "no server for this model can be reached");
  for (int i = 0; i < 3; ++i) {
    auto lease = chooser_.choose({.route = route,
                                  .sticky_key = {},
                                  .prefix = {},
                                  .excluded = excluded,
                                  .fingerprint = {},
                                  .model = model});
    if (!lease) break;
    const ReplicaInfo& replica = lease->replica();
    const auto response =
        client_.fetch({.method = "POST",
                       .url = fmt::format("{}/internal/v1/{}", replica.url, path),
                       .headers = {{"Authorization", "Bearer " + replica.internal_token}},
                       .body = body(replica.model.empty() ? model : replica.model),
                       .timeout = kTokenizePatience});
    if (response && response->status == 200) return std::move(response->body);
    if (response && response->status < 500 && response->status != 429) {
      return std::unexpected(read_refusal(response->status, response->body));
    }
    last = response ? read_refusal(response->status, response->body) : response.error();
    lease->report(response ? UseResult::kFailed : UseResult::kNotReached);
    excluded.push_back(replica.name);
  }
  return std::unexpected(Status(Code::kUnavailable, last.message()));
}

Result<completion::TokenizeResult> UnbrokenBackend::tokenize(
    const completion::TokenizeRequest& request) const {
  SLUICE_ASSIGN_OR_RETURN(const std::string body,
                          ask(request.model, "tokenize", [&](const std::string& model) {
                            completion::TokenizeRequest named = request;
                            named.model = model;
                            return api::write_tokenize_request(named);
                          }));
  return api::read_tokenize_result(body);
}

Result<std::string> UnbrokenBackend::detokenize(const std::string& model,
                                                const std::vector<int32_t>& tokens) const {
  return ask(model, "detokenize", [&](const std::string& name) {
    return api::write_detokenize_request({.model = name, .tokens = tokens});
  });
}

}  // namespace sluice::gateway
