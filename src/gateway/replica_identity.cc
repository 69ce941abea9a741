#include "gateway/replica_identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/json.h"

namespace sluice::gateway {
namespace {

constexpr size_t kMaxModels = 4096;
constexpr size_t kMaxKnown = 4096;
constexpr std::chrono::seconds kPatience{2};
constexpr JsonLimits kLimits{.max_bytes = 4u << 20, .max_depth = 8, .max_nodes = 100'000};

std::unexpected<Status> odd(std::string_view what) {
  return fail(Code::kDataLoss, fmt::format("a replica's identity is broken: {}", what));
}

Result<std::string> text(const json::object& from, std::string_view name) {
  const json::value* value = from.if_contains(name);
  if (value == nullptr || !value->is_string()) return odd(fmt::format("no string '{}'", name));
  return std::string(value->get_string());
}

Result<int64_t> whole(const json::object& from, std::string_view name) {
  const json::value* value = from.if_contains(name);
  if (value == nullptr || !value->is_number()) return odd(fmt::format("no number '{}'", name));
  const double number = value->to_number<double>();
  if (!(number >= 0 && number <= 1e15)) return odd(fmt::format("'{}' is out of range", name));
  return static_cast<int64_t>(number);
}

Result<completion::ModelCard> read_card(const json::value& value) {
  if (!value.is_object()) return odd("a model is no object");
  const json::object& from = value.get_object();
  completion::ModelCard card;
  SLUICE_ASSIGN_OR_RETURN(card.id, text(from, "id"));
  SLUICE_ASSIGN_OR_RETURN(card.root, text(from, "root"));
  SLUICE_ASSIGN_OR_RETURN(card.fingerprint, text(from, "fingerprint"));
  SLUICE_ASSIGN_OR_RETURN(const int64_t length, whole(from, "max_model_len"));
  SLUICE_ASSIGN_OR_RETURN(const int64_t created, whole(from, "created"));
  card.max_model_len = static_cast<int>(std::min<int64_t>(length, std::numeric_limits<int>::max()));
  card.created = static_cast<double>(created);
  return card;
}

Result<completion::Load> read_load(const json::object& from) {
  completion::Load load;
  const auto narrow = [](int64_t n) {
    return static_cast<int>(std::min<int64_t>(n, std::numeric_limits<int>::max()));
  };
  SLUICE_ASSIGN_OR_RETURN(const int64_t running, whole(from, "running"));
  SLUICE_ASSIGN_OR_RETURN(const int64_t waiting, whole(from, "waiting"));
  SLUICE_ASSIGN_OR_RETURN(load.waiting_tokens, whole(from, "waiting_tokens"));
  SLUICE_ASSIGN_OR_RETURN(load.kv_blocks_used, whole(from, "kv_blocks_used"));
  SLUICE_ASSIGN_OR_RETURN(load.kv_blocks_total, whole(from, "kv_blocks_total"));
  load.running = narrow(running);
  load.waiting = narrow(waiting);
  return load;
}

net::ClientRequest question(const ReplicaInfo& replica) {
  net::ClientRequest request{
      .url = replica.url + "/internal/v1/identity",
      .headers = {{"Authorization", "Bearer " + replica.internal_token}},
  };
  request.timeout = kPatience;
  request.tls = replica.tls;
  request.tls_name = replica.tls_name;
  return request;
}

Result<ReplicaIdentity> read(const ReplicaInfo& replica, int status, std::string_view body) {
  if (status == 200) return parse_identity(body);
  return fail(Code::kUnavailable, fmt::format("replica '{}' answered its identity with status {}",
                                              replica.name, status));
}

}  // namespace

const completion::ModelCard* ReplicaIdentity::find(std::string_view model) const {
  if (model.empty()) return models.empty() ? nullptr : &models.front();
  const auto at = std::ranges::find(models, model, &completion::ModelCard::id);
  return at == models.end() ? nullptr : &*at;
}

Result<ReplicaIdentity> parse_identity(std::string_view body) {
  SLUICE_ASSIGN_OR_RETURN(const json::value value, parse_json(body, kLimits));
  if (!value.is_object()) return odd("it is no object");
  const json::object& from = value.get_object();
  const json::value* ready = from.if_contains("ready");
  const json::value* models = from.if_contains("models");
  const json::value* load = from.if_contains("load");
  if (ready == nullptr || !ready->is_bool()) return odd("'ready' is missing");
  if (models == nullptr || !models->is_array()) return odd("'models' is missing");
  if (load == nullptr || !load->is_object()) return odd("'load' is missing");
  if (models->get_array().size() > kMaxModels) return odd("it has too many models");
  ReplicaIdentity identity{.ready = ready->get_bool(), .models = {}, .load = {}};
  for (const json::value& each : models->get_array()) {
    SLUICE_ASSIGN_OR_RETURN(auto card, read_card(each));
    identity.models.push_back(std::move(card));
  }
  SLUICE_ASSIGN_OR_RETURN(identity.load, read_load(load->get_object()));
  return identity;
}

Result<ReplicaIdentity> fetch_identity(net::HttpClient& client, const ReplicaInfo& replica) {
  SLUICE_ASSIGN_OR_RETURN(const auto response, client.fetch(question(replica)));
  return read(replica, response.status, response.body);
}

void request_identity(net::HttpClient& client, const ReplicaInfo& replica,
                      std::function<void(Result<ReplicaIdentity>)> done) {
  struct Answer {
    int status = 0;
    std::string body;
  };
  auto answer = std::make_shared<Answer>();
  client.request(question(replica),
                 {.on_head = [answer](int status, const net::Headers&) { answer->status = status; },
                  .on_data =
                      [answer](std::string_view bytes) {
                        // One byte over the limit is enough to be refused.
                        const size_t room = kLimits.max_bytes + 1 - answer->body.size();
                        answer->body += bytes.substr(0, room);
                      },
                  .on_end =
                      [answer, replica, done = std::move(done)](const Outcome& outcome) {
                        if (!outcome) return done(std::unexpected(outcome.error()));
                        done(read(replica, answer->status, answer->body));
                      }});
}

std::optional<ModelCards::Known> ModelCards::find(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(name);
  if (at == entries_.end()) return std::nullopt;
  Entry& entry = at->second;
  const bool refresh = !entry.asking && clock_.now() - entry.at >= kFresh;
  entry.asking = entry.asking || refresh;
  return Known{entry.card, refresh};
}

void ModelCards::tell(const std::string& name, const completion::ModelCard& card) {
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= kMaxKnown && !entries_.contains(name)) entries_.clear();
  entries_[name] = {card, clock_.now(), false};
}

void ModelCards::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  entries_.erase(name);
}

void ModelCards::not_refreshed(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(name);
  if (at == entries_.end()) return;
  at->second.asking = false;
  at->second.at = clock_.now();
}

}  // namespace sluice::gateway
