#include "gateway/predict_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "endpoint/error_shape.h"

namespace sluice::gateway {
namespace {

constexpr JsonLimits kBodyLimits{
    .max_bytes = PredictBatcher::kMaxBodyBytes, .max_depth = 32, .max_nodes = 100'000};
constexpr JsonLimits kAnswerLimits{
    .max_bytes = StepResponder::kMaxAnswerBytes, .max_depth = 32, .max_nodes = 4'000'000};

// Those who may not share an answer are no batch: other routes, paths, plans and callers.
std::string key_of(const RelayRequest& request) {
  return fmt::format("{}\n{}\n{}\n{}\n{}", fmt::ptr(request.snapshot.get()),
                     request.route->settings().name, request.http.target,
                     request.caller.tenant_name(), request.caller.key_name());
}

net::Headers joined_headers(const RelayRequest& first) {
  constexpr std::array<std::string_view, 6> kOwn = {
      "content-length", "transfer-encoding", "content-type", "expect", "traceparent", "ce-id"};
  net::Headers headers;
  for (const auto& [name, value] : first.http.headers) {
    const bool own = std::ranges::any_of(
        kOwn, [&](std::string_view each) { return net::equals_ignoring_case(each, name); });
    if (!own) headers.emplace_back(name, value);
  }
  headers.emplace_back("content-type", "application/json");
  headers.emplace_back("traceparent", first.traceparent);
  return headers;
}

}  // namespace

std::optional<json::array> read_instances(std::string_view body) {
  auto value = parse_json(body, kBodyLimits);
  json::object* object = value ? value->if_object() : nullptr;
  if (object == nullptr || object->size() != 1) return std::nullopt;
  json::value* instances = object->if_contains("instances");
  json::array* list = instances == nullptr ? nullptr : instances->if_array();
  if (list == nullptr || list->empty()) return std::nullopt;
  return std::move(*list);
}

std::string joined_instances(const std::vector<const json::array*>& parts) {
  json::array all;
  for (const json::array* each : parts) all.insert(all.end(), each->begin(), each->end());
  return to_json(json::object{{"instances", std::move(all)}});
}

Result<std::vector<std::string>> split_predictions(std::string_view answer,
                                                   const std::vector<size_t>& counts) {
  SLUICE_ASSIGN_OR_RETURN(json::value value, parse_json(answer, kAnswerLimits));
  json::object* object = value.if_object();
  json::value* found = object == nullptr ? nullptr : object->if_contains("predictions");
  json::array* list = found == nullptr ? nullptr : found->if_array();
  size_t wanted = 0;
  for (const size_t count : counts) wanted += count;
  if (list == nullptr || list->size() != wanted) {
    return fail(Code::kUnavailable,
                fmt::format("the server gave {} for {} joined instances",
                            list == nullptr ? std::string("no predictions")
                                            : fmt::format("{} predictions", list->size()),
                            wanted),
                {}, "bad_batch_answer");
  }
  json::array all = std::move(*list);
  object->erase("predictions");
  if (to_json(*object).size() > StepResponder::kMaxAnswerBytes / counts.size()) {
    return fail(Code::kUnavailable, "the server's answer is too large to be shared out", {},
                "bad_batch_answer");
  }
  std::vector<std::string> parts;
  size_t at = 0;
  for (const size_t count : counts) {
    json::object part = *object;
    json::array own;
    for (size_t i = 0; i < count; ++i) own.push_back(std::move(all[at++]));
    part["predictions"] = std::move(own);
    parts.push_back(to_json(part));
  }
  return parts;
}

bool PredictBatcher::takes(const RelayRequest& request) {
  return request.route->settings().batch && !request.batched && request.http.method == "POST" &&
         request.http.path.starts_with("/v1/models/") && request.http.path.ends_with(":predict") &&
         !request.http.body.empty() && request.http.body.size() <= kMaxBodyBytes;
}

void PredictBatcher::take(RelayRequest request) {
  const auto part = std::make_shared<Part>();
  part->request = std::move(request);
  const Outcome queued = host_.work(
      *loop_, [part] { return read_instances(part->request.http.body); },
      [this, part](std::optional<json::array> instances) {
        const auto most = static_cast<size_t>(part->request.route->settings().batch->max_instances);
        if (!instances || instances->size() >= most) return go_alone(part);
        add(part, *std::move(instances));
      });
  if (!queued) go_alone(part);
}

void PredictBatcher::go_alone(const PartPtr& part) {
  part->request.batched = true;
  next_(std::move(part->request));
}

void PredictBatcher::add(const PartPtr& part, json::array instances) {
  part->count = instances.size();
  part->instances = std::move(instances);
  const std::string key = key_of(part->request);
  BatchPtr batch = open(part, key);
  if (batch->instances + part->count > static_cast<size_t>(batch->settings.max_instances)) {
    send(batch);
    batch = open(part, key);
  }
  batch->parts.push_back(part);
  batch->instances += part->count;
  part->request.responder->on_close(
      [this, in = std::weak_ptr(batch), gone = std::weak_ptr(part), loop = loop_] {
        loop->post([this, in, gone] {
          const BatchPtr alive = in.lock();
          const PartPtr its = gone.lock();
          if (alive && its) left(alive, its);
        });
      });
  if (batch->instances == static_cast<size_t>(batch->settings.max_instances)) send(batch);
}

PredictBatcher::BatchPtr PredictBatcher::open(const PartPtr& part, const std::string& key) {
  BatchPtr& batch = open_[key];
  if (batch) return batch;
  batch = std::make_shared<Batch>();
  batch->key = key;
  batch->settings = *part->request.route->settings().batch;
  batch->timer =
      std::make_unique<net::EventLoop::Timer>(*loop_, [this, weak = std::weak_ptr(batch)] {
        if (const BatchPtr alive = weak.lock()) due(alive);
      });
  batch->timer->set(net::EventLoop::now() + batch->settings.max_latency);
  return batch;
}

void PredictBatcher::due(const BatchPtr& batch) {
  loop_->post([batch] {});  // its timer runs this, and must not go before it is back
  if (!batch->sent) return send(batch);
  if (batch->asked) batch->asked->leave();
  fail_all(batch, {Code::kDeadlineExceeded, "the server took too long for the joined requests"});
}

void PredictBatcher::send(const BatchPtr& batch) {
  batch->sent = true;
  open_.erase(batch->key);
  batch->timer->set(net::EventLoop::now() + batch->settings.timeout);
  const Outcome queued = host_.work(
      *loop_,
      [batch] {
        std::vector<const json::array*> parts;
        for (const PartPtr& part : batch->parts) parts.push_back(&part->instances);
        return joined_instances(parts);
      },
      [this, batch](std::string body) { ask(batch, std::move(body)); });
  if (!queued) fail_all(batch, queued.error());
}

void PredictBatcher::ask(const BatchPtr& batch, std::string body) {
  if (batch->over) return;
  const RelayRequest& first = batch->parts.front()->request;
  RelayRequest own;
  own.http.method = "POST";
  own.http.target = first.http.target;
  own.http.path = first.http.path;
  own.http.query = first.http.query;
  own.http.peer = first.http.peer;
  own.http.headers = joined_headers(first);
  own.http.body = std::move(body);
  own.snapshot = first.snapshot;
  own.route = first.route;
  own.caller = first.caller;
  own.transformed = true;
  own.batched = true;
  batch->asked = std::make_shared<StepResponder>(
      *loop_, nullptr, first.record.id,
      StepResponder::Callbacks{.on_passed = {},
                               .on_answer = [this, batch](Result<net::HttpResponse> answer) {
                                 answered(batch, std::move(answer));
                               }});
  own.responder = batch->asked;
  metrics_.joined(first.route->settings().name, batch->parts.size());
  host_.ask(std::move(own));
}

void PredictBatcher::answered(const BatchPtr& batch, Result<net::HttpResponse> whole) {
  if (batch->over) return;
  if (!whole) return fail_all(batch, whole.error());
  if (whole->status != 200) {
    if (whole->body.size() > StepResponder::kMaxAnswerBytes / batch->parts.size()) {
      whole->body.clear();
    }
    return answer_all(batch, *whole);
  }
  std::vector<size_t> counts;
  for (const PartPtr& part : batch->parts) counts.push_back(part->count);
  const auto body = std::make_shared<const std::string>(std::move(whole->body));
  const Outcome queued = host_.work(
      *loop_, [body, counts] { return split_predictions(*body, counts); },
      [this, batch](Result<std::vector<std::string>> parts) {
        if (batch->over) return;
        if (!parts) return fail_all(batch, parts.error());
        batch->over = true;
        batch->timer->clear();
        for (size_t i = 0; i < batch->parts.size(); ++i) {
          answer(*batch->parts[i], {.status = 200,
                                    .headers = {{"Content-Type", "application/json"}},
                                    .body = std::move((*parts)[i])});
        }
      });
  if (!queued) fail_all(batch, queued.error());
}

void PredictBatcher::answer_all(const BatchPtr& batch, const net::HttpResponse& answer_of_all) {
  batch->over = true;
  batch->timer->clear();
  const std::string_view type = net::find_header(answer_of_all.headers, "content-type");
  const std::string_view retry = net::find_header(answer_of_all.headers, "retry-after");
  for (const PartPtr& part : batch->parts) {
    net::HttpResponse own{.status = answer_of_all.status, .body = answer_of_all.body};
    if (!type.empty()) own.headers.emplace_back("Content-Type", type);
    if (!retry.empty()) own.headers.emplace_back("Retry-After", retry);
    answer(*part, std::move(own));
  }
}

void PredictBatcher::fail_all(const BatchPtr& batch, const Status& status) {
  if (batch->over) return;
  answer_all(batch, endpoint::shaped_error(batch->parts.front()->request.http.path, status));
}

void PredictBatcher::answer(Part& part, net::HttpResponse response) {
  if (std::exchange(part.over, true)) return;
  RequestRecord& record = part.request.record;
  response.headers.emplace_back("X-Request-Id", record.id);
  record.status = response.status;
  record.bytes_out = response.body.size();
  part.request.responder->send(std::move(response));
  host_.on_over(record);
}

void PredictBatcher::left(const BatchPtr& batch, const PartPtr& part) {
  if (std::exchange(part->over, true)) return;
  part->request.record.ending = Ending::kClientGone;
  host_.on_over(part->request.record);
  if (batch->over) return;
  if (!batch->sent) {
    batch->instances -= part->count;
    std::erase(batch->parts, part);
    if (batch->parts.empty()) {
      batch->over = true;
      batch->timer->clear();
      open_.erase(batch->key);
    }
    return;
  }
  const bool anybody =
      std::ranges::any_of(batch->parts, [](const auto& each) { return !each->over; });
  if (anybody) return;
  batch->over = true;
  batch->timer->clear();
  if (batch->asked) batch->asked->leave();
}

}  // namespace sluice::gateway
