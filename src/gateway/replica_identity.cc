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

Result<std::shared_ptr<const ReplicaIdentity>> ReplicaIdentities::get(const ReplicaInfo& replica) {
  {
    const std::lock_guard lock(mutex_);
    const auto at = known_.find(replica.url);
    if (at != known_.end() && clock_.now() - at->second.at < kKept) return at->second.identity;
  }
  SLUICE_ASSIGN_OR_RETURN(
      const auto response,
      client_.fetch({.url = replica.url + "/internal/v1/identity",
                     .headers = {{"Authorization", "Bearer " + replica.internal_token}},
                     .timeout = kPatience}));
  if (response.status != 200) {
    return fail(Code::kUnavailable, fmt::format("replica '{}' answered its identity with status {}",
                                                replica.name, response.status));
  }
  SLUICE_ASSIGN_OR_RETURN(auto identity, parse_identity(response.body));
  auto shared = std::make_shared<const ReplicaIdentity>(std::move(identity));
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_[replica.url] = {clock_.now(), shared};
  return shared;
}

}  // namespace sluice::gateway
