#include "gateway/unbroken_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "api/internal_request.h"
#include "base/json.h"
#include "gateway/errors.h"

namespace sluice::gateway {
namespace {

using completion::ModelCard;

constexpr int kAsked = 8;  // times, one replica after the other
// How long a replica may take to tokenize: a hung one must not be waited for long, and a long
// text takes its time.
constexpr Duration kTokenizePatience = std::chrono::seconds(2);
constexpr size_t kTokenizedInASecond = 1u << 20;  // bytes, at the least
// While no replica can be asked.
constexpr Duration kAskAgain = std::chrono::milliseconds(50);

}  // namespace

UnbrokenBackend::UnbrokenBackend(const UnbrokenRoutes& routes, ReplicaChooser& chooser,
                                 net::HttpClient& client, telemetry::Metrics& metrics,
                                 const Clock& clock)
    : routes_(routes),
      chooser_(chooser),
      client_(client),
      clock_(clock),
      metrics_(metrics),
      cards_(clock),
      minder_(clock) {}

UnbrokenBackend::~UnbrokenBackend() {
  minder_.cancel_all();
  std::unique_lock lock(refreshes_mutex_);
  refreshed_.wait(lock, [this] { return refreshes_ == 0; });
}

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
                            .desk = minder_.desk(),
                            .clock = clock_};
  auto run =
      std::make_shared<UnbrokenRun>(parts, std::move(route), std::move(request), std::move(sink));
  minder_.add(run);
  run->attend();
  return run;
}

Result<ReplicaLease> UnbrokenBackend::choose(const std::string& model,
                                             const std::vector<std::string>& excluded) const {
  SLUICE_ASSIGN_OR_RETURN(const std::string route, routes_.route_of_model(model));
  return chooser_.choose({.route = route,
                          .sticky_key = {},
                          .prefix = {},
                          .excluded = excluded,
                          .fingerprint = {},
                          .model = model});
}

Result<ModelCard> UnbrokenBackend::card_of(const std::string& name, const ReplicaInfo& replica,
                                           const ReplicaIdentity& identity) const {
  const std::string& asked = replica.model.empty() ? name : replica.model;
  const ModelCard* card = identity.find(asked);
  if (card == nullptr) {
    return fail(Code::kNotFound,
                fmt::format("the model '{}' does not exist here", name.substr(0, 128)), "model",
                "model_not_found");
  }
  chooser_.learn_fingerprint(replica, asked, card->fingerprint);
  ModelCard found = *card;
  if (!name.empty()) found.id = name;
  return found;
}

// Asks one replica after the other until one answers, or says what any of them would. While there
// is none it waits, as a request does for a replica to begin on. Blocks.
template <typename T>
Result<T> UnbrokenBackend::of_a_replica(const Choose& choose,
                                        FunctionRef<Result<T>(ReplicaLease&)> ask,
                                        Duration patience) const {
  std::vector<std::string> excluded;
  std::optional<Status> last;
  for (int asked = 0; asked < kAsked;) {
    auto lease = choose(excluded);
    if (!lease) {
      if (patience <= Duration::zero() || lease.error().code() != Code::kUnavailable) {
        return std::unexpected(last.value_or(lease.error()));
      }
      excluded.clear();
      // On a worker, which has nothing to be woken by: a replica comes back when a check passes.
      std::this_thread::sleep_for(kAskAgain);
      patience -= kAskAgain;
      continue;
    }
    auto answer = ask(*lease);
    if (answer || answer.error().code() != Code::kUnavailable) return answer;
    last = answer.error();
    excluded.push_back(lease->replica().name);
    ++asked;
  }
  return std::unexpected(*last);
}

Result<ModelCard> UnbrokenBackend::ask_for_card(const std::string& name, Duration patience) const {
  const Choose any = [&](const auto& excluded) { return choose(name, excluded); };
  const auto question = [&](ReplicaLease& lease) -> Result<ModelCard> {
    const auto identity = fetch_identity(client_, lease.replica());
    if (identity) return card_of(name, lease.replica(), *identity);
    lease.report(use_result(identity.error()));
    return fail(Code::kUnavailable, std::string(identity.error().message()));
  };
  return of_a_replica<ModelCard>(any, question, patience);
}

// Its answer is told on the client's loop; the destructor waits for it.
void UnbrokenBackend::refresh(const std::string& name) const {
  auto lease = choose(name, {});
  if (!lease) return cards_.not_refreshed(name);
  {
    const std::lock_guard lock(refreshes_mutex_);
    ++refreshes_;
  }
  auto kept = std::make_shared<ReplicaLease>(*std::move(lease));
  request_identity(client_, kept->replica(),
                   [this, name, kept](const Result<ReplicaIdentity>& identity) mutable {
                     if (identity) {
                       const auto card = card_of(name, kept->replica(), *identity);
                       card ? cards_.tell(name, *card) : cards_.forget(name);
                     } else {
                       kept->report(use_result(identity.error()));
                       cards_.not_refreshed(name);
                     }
                     kept.reset();
                     const std::lock_guard lock(refreshes_mutex_);
                     --refreshes_;
                     refreshed_.notify_all();
                   });
}

Result<ModelCard> UnbrokenBackend::find_model(const std::string& name) const {
  return find_card(name, UnbrokenRules{}.choose_wait);
}

Result<ModelCard> UnbrokenBackend::find_card(const std::string& name, Duration patience) const {
  if (auto known = cards_.find(name)) {
    if (known->refresh) refresh(name);
    return std::move(known->card);
  }
  auto card = ask_for_card(name, patience);
  if (card) cards_.tell(name, *card);
  return card;
}

// A list does not wait for those that are away: it leaves them out.
std::vector<ModelCard> UnbrokenBackend::models() const {
  std::vector<ModelCard> cards;
  for (const std::string& name : routes_.models()) {
    if (auto card = find_card(name, Duration::zero())) cards.push_back(*std::move(card));
  }
  return cards;
}

bool UnbrokenBackend::ready() const {
  for (const std::string& name : routes_.models()) {
    if (choose(name, {})) return true;
  }
  return false;
}

// Any replica knows the tokenizer.
Result<UnbrokenBackend::Answered> UnbrokenBackend::ask(
    const Choose& choose, const std::string& model, std::string_view path,
    const std::function<std::string(const std::string& model)>& body) const {
  const auto question = [&](ReplicaLease& lease) -> Result<Answered> {
    const ReplicaInfo& replica = lease.replica();
    std::string text = body(replica.model.empty() ? model : replica.model);
    const Duration patience =
        kTokenizePatience + std::chrono::seconds(text.size() / kTokenizedInASecond);
    auto response =
        client_.fetch({.method = "POST",
                       .url = fmt::format("{}/internal/v1/{}", replica.url, path),
                       .headers = {{"Authorization", "Bearer " + replica.internal_token}},
                       .body = std::move(text),
                       .timeout = patience,
                       .tls = replica.tls,
                       .tls_name = replica.tls_name});
    if (!response) {
      lease.report(use_result(response.error()));
      return fail(Code::kUnavailable, std::string(response.error().message()));
    }
    if (response->status == 200) {
      return Answered{std::move(response->body), lease.replica_ptr()};
    }
    Status refusal = read_refusal(response->status, response->body);
    if (response->status < 500 && response->status != 429) return std::unexpected(refusal);
    lease.report(
        use_result(error_of_status(response->status, "").value_or(plan::ErrorClass::kServerError)));
    return fail(Code::kUnavailable, std::string(refusal.message()));
  };
  return of_a_replica<Answered>(choose, question, UnbrokenRules{}.choose_wait);
}

Result<completion::TokenizeResult> UnbrokenBackend::tokenize(
    const completion::TokenizeRequest& request) const {
  SLUICE_ASSIGN_OR_RETURN(const Answered answer,
                          ask([&](const auto& excluded) { return choose(request.model, excluded); },
                              request.model, "tokenize",
                              [&](const std::string& model) {
                                completion::TokenizeRequest named = request;
                                named.model = model;
                                return api::write_tokenize_request(named);
                              }));
  return api::read_tokenize_result(answer.body);
}

Result<TokenizedPrompts> UnbrokenBackend::tokenize_prompts(const UnbrokenRoute& route,
                                                           const completion::Request& request,
                                                           size_t prompts) {
  const TimePoint began = clock_.now();
  ReplicaChooser& chooser = route.chooser ? *route.chooser : chooser_;
  const auto choose = [&](const std::vector<std::string>& excluded) {
    return chooser.choose({.route = route.name,
                           .sticky_key = route.sticky_key,
                           .prefix = {},
                           .excluded = excluded,
                           .fingerprint = {},
                           .model = request.model,
                           .upstream = route.upstream});
  };
  TokenizedPrompts found{.upstream = route.upstream, .model = {}, .fingerprint = {}, .tokens = {}};
  found.tokens.resize(std::min(prompts, request.prompts.size()));
  for (size_t i = 0; i < found.tokens.size(); ++i) {
    if (std::holds_alternative<completion::TokenPrompt>(request.prompts[i])) continue;
    SLUICE_ASSIGN_OR_RETURN(
        const Answered answer,
        ask(choose, request.model, "tokenize", [&](const std::string& model) {
          return api::write_tokenize_request({.model = model, .prompt = request.prompts[i]});
        }));
    SLUICE_ASSIGN_OR_RETURN(auto result, api::read_tokenize_result(answer.body));
    const ReplicaInfo& replica = *answer.replica;
    const std::string& model = replica.model.empty() ? request.model : replica.model;
    std::string fingerprint = chooser.known_fingerprint(replica, model);
    const bool first = found.model.empty();
    // By one tokenizer all of them, or none is of use as ids.
    if (!first && (replica.upstream != found.upstream || fingerprint != found.fingerprint)) {
      fingerprint.clear();
    }
    found.upstream = replica.upstream;
    found.model = model;
    found.fingerprint = std::move(fingerprint);
    found.tokens[i] = std::move(result.tokens);
  }
  metrics_.on_tokenized(clock_.now() - began);
  return found;
}

Result<std::string> UnbrokenBackend::detokenize(const std::string& model,
                                                const std::vector<int32_t>& tokens) const {
  SLUICE_ASSIGN_OR_RETURN(
      Answered answer,
      ask([&](const auto& excluded) { return choose(model, excluded); }, model, "detokenize",
          [&](const std::string& name) {
            return api::write_detokenize_request({.model = name, .tokens = tokens});
          }));
  return std::move(answer.body);
}

}  // namespace sluice::gateway
