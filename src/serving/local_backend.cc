#include "serving/local_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "serving/served_model.h"
#include "serving/text_calls.h"

namespace sluice::serving {

using completion::ModelCard;
using completion::TokenizeRequest;
using completion::TokenizeResult;

LocalBackend::LocalBackend(ThreadTeam& team, telemetry::Metrics& metrics, const Clock& clock)
    : team_(team), metrics_(metrics), clock_(clock) {
  metrics_.before_scrape([this] {
    for (const auto& served : models_) served->set_gauges();
  });
}

LocalBackend::~LocalBackend() = default;

Outcome LocalBackend::add_model(const ModelPath& path, const ModelSettings& settings) {
  for (const std::string& name : path.names) {
    for (const auto& other : models_) {
      if (std::ranges::find(other->names(), name) != other->names().end()) {
        return fail(
            Code::kAlreadyExists,
            fmt::format("two models are named '{}': tell them apart with MODEL=name", name));
      }
    }
  }
  ModelSettings own = settings;
  for (const auto& other : models_) own.promised_bytes += other->loaded().kv_bytes();
  SLUICE_ASSIGN_OR_RETURN(auto served, ServedModel::start(path, own, team_, metrics_, clock_));
  models_.push_back(std::move(served));
  return {};
}

Result<ServedModel*> LocalBackend::find(const std::string& name) const {
  if (models_.empty()) return fail(Code::kUnavailable, "no model is loaded");
  if (name.empty()) return models_.front().get();
  for (const auto& served : models_) {
    const auto& names = served->names();
    if (std::ranges::find(names, name) != names.end()) return served.get();
  }
  std::string known;
  for (const auto& served : models_) {
    known += fmt::format("{}'{}'", known.empty() ? "" : ", ", served->names().front());
  }
  return fail(
      Code::kNotFound,
      fmt::format("the model '{}' does not exist; this server has {}", name.substr(0, 128), known),
      "model", "model_not_found");
}

std::vector<ModelCard> LocalBackend::models() const {
  std::vector<ModelCard> cards;
  for (const auto& served : models_) {
    ModelCard card = served->card();
    for (const std::string& name : served->names()) {
      card.id = name;
      cards.push_back(card);
    }
  }
  return cards;
}

Result<ModelCard> LocalBackend::find_model(const std::string& name) const {
  SLUICE_ASSIGN_OR_RETURN(const ServedModel* served, find(name));
  ModelCard card = served->card();
  if (!name.empty()) card.id = name;
  return card;
}

Result<std::shared_ptr<completion::Call>> LocalBackend::generate(
    completion::Request request, std::shared_ptr<completion::ResponseSink> sink) {
  SLUICE_ASSIGN_OR_RETURN(ServedModel * served, find(request.model));
  return served->generate(std::move(request), std::move(sink));
}

Result<TokenizeResult> LocalBackend::tokenize(const TokenizeRequest& request) const {
  SLUICE_ASSIGN_OR_RETURN(const ServedModel* served, find(request.model));
  return tokenize_by(served->loaded(), request, served->clock());
}

Result<std::string> LocalBackend::detokenize(const std::string& model,
                                             const std::vector<int32_t>& tokens) const {
  SLUICE_ASSIGN_OR_RETURN(const ServedModel* served, find(model));
  return detokenize_by(served->loaded(), tokens);
}

bool LocalBackend::ready() const {
  return !models_.empty() &&
         std::ranges::none_of(models_, [](const auto& served) { return served->draining(); });
}

uint64_t LocalBackend::steps(const std::string& model) const {
  const auto served = find(model);
  return served ? (*served)->stats().steps : 0;
}

completion::Load LocalBackend::load() const {
  completion::Load load;
  for (const auto& served : models_) served->add_to(load);
  return load;
}

Outcome LocalBackend::watch_blocks(const std::string& model,
                                   const std::shared_ptr<completion::BlockWatcher>& watcher) {
  SLUICE_ASSIGN_OR_RETURN(ServedModel * served, find(model));
  return served->block_feed().watch(watcher);
}

void LocalBackend::drain() {
  for (const auto& served : models_) served->drain();
}

bool LocalBackend::idle() const {
  return std::ranges::all_of(models_, [](const auto& served) { return served->idle(); });
}

}  // namespace sluice::serving
