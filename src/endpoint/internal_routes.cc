#include "endpoint/internal_routes.h"

#include <algorithm>
#include <utility>

#include "api/internal_request.h"
#include "base/build_info.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rng.h"
#include "endpoint/route_kit.h"
#include "endpoint/sinks.h"

namespace sluice::endpoint {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using ResponderPtr = std::shared_ptr<net::Responder>;

HttpResponse wire_response(std::string body, std::string type) {
  return {200, {{"Content-Type", std::move(type)}}, std::move(body)};
}

}  // namespace

InternalRoutes::InternalRoutes(completion::Backend& backend, WorkerPool& workers,
                               std::function<void()> drain, std::chrono::seconds request_timeout,
                               const Clock& clock)
    : backend_(backend),
      workers_(workers),
      drain_(std::move(drain)),
      request_timeout_(request_timeout),
      clock_(clock),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

InternalRoutes::~InternalRoutes() = default;

net::RouteHandler InternalRoutes::on_worker(Work work) {
  return [this, work = std::move(work)](HttpRequest request, const net::PathParams&,
                                        const ResponderPtr& responder) {
    const Outcome queued = workers_.submit(
        [work, request = std::move(request), responder] { work(request, *responder); });
    if (!queued) responder->send(error_response(queued.error()));
  };
}

void InternalRoutes::add_to(net::Router& router) {
  router.add("POST", "/internal/v1/generate",
             [this](HttpRequest request, const net::PathParams&, const ResponderPtr& responder) {
               generate(std::move(request), responder);
             });
  router.add("POST", "/internal/v1/tokenize",
             on_worker([this](const HttpRequest& request, net::Responder& responder) {
               const auto answer = [&]() -> Result<std::string> {
                 SLUICE_ASSIGN_OR_RETURN(const auto call, api::read_tokenize_request(request.body));
                 SLUICE_ASSIGN_OR_RETURN(const auto result, backend_.tokenize(call));
                 return api::write_tokenize_result(result);
               }();
               responder.send(answer
                                  ? wire_response(*answer, std::string(api::kInternalContentType))
                                  : error_response(answer.error()));
             }));
  router.add("POST", "/internal/v1/detokenize",
             on_worker([this](const HttpRequest& request, net::Responder& responder) {
               const auto answer = [&]() -> Result<std::string> {
                 SLUICE_ASSIGN_OR_RETURN(const auto call,
                                         api::read_detokenize_request(request.body));
                 return backend_.detokenize(call.model, call.tokens);
               }();
               responder.send(answer ? wire_response(*answer, "text/plain; charset=utf-8")
                                     : error_response(answer.error()));
             }));
  router.add("GET", "/internal/v1/identity",
             on_worker([this](const HttpRequest&, net::Responder& responder) {
               responder.send(json_response(identity()));
             }));
  router.add("POST", "/internal/v1/blocks",
             [this](const HttpRequest&, const net::PathParams&, const ResponderPtr& responder) {
               const Outcome queued =
                   workers_.submit([this, responder] { tell_blocks(responder); });
               if (!queued) responder->send(error_response(queued.error()));
             });
  router.add("POST", "/internal/v1/drain",
             on_worker([this](const HttpRequest&, net::Responder& responder) {
               drain_now();
               responder.send(json_response(R"({"draining":true})"));
             }));
}

// The stream begins here, on the server's loop, before a worker is free: from now on silence means
// that something is wrong.
void InternalRoutes::generate(HttpRequest request, const ResponderPtr& responder) {
  auto stream = std::make_shared<InternalStream>(responder);
  {
    const std::lock_guard lock(mutex_);
    streams_.push_back(stream);
  }
  wake_.notify_one();
  const Outcome queued =
      workers_.submit([this, stream, responder, trace = trace_of(request),
                       body = std::move(request.body)] { begin(body, trace, stream, responder); });
  if (!queued) stream->on_error(queued.error());
}

void InternalRoutes::begin(const std::string& body, const telemetry::SpanContext& trace,
                           const std::shared_ptr<InternalStream>& stream,
                           const ResponderPtr& responder) {
  if (responder->closed()) return;
  const auto start = [&]() -> Result<std::shared_ptr<completion::Call>> {
    SLUICE_ASSIGN_OR_RETURN(auto request, api::read_request(body, clock_.now()));
    SLUICE_ASSIGN_OR_RETURN(const auto card, backend_.find_model(request.model));
    request.trace = trace;
    if (!request.sampling.seed && !request.resume) request.sampling.seed = random_seed();
    const TimePoint latest = clock_.now() + request_timeout_;
    request.deadline = std::min(request.deadline.value_or(latest), latest);
    stream->set_start(request.model, card.fingerprint, card.max_model_len,
                      request.sampling.seed.value_or(0), request.resume.has_value());
    return backend_.generate(std::move(request), stream);
  };
  auto started = start();
  if (!started) {
    stream->on_error(started.error());
    return;
  }
  responder->on_close([call = *std::move(started)] { call->cancel(); });
}

void InternalRoutes::tell_blocks(const ResponderPtr& responder) {
  auto stream = std::make_shared<BlockStream>(responder);
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(block_streams_, [](const auto& each) { return each->over(); });
    if (leaving_ || block_streams_.size() >= kMaxBlockStreams) {
      return responder->send(error_response(
          leaving_ ? Status(Code::kUnavailable, "the server is shutting down", {}, "draining")
                   : Status(Code::kResourceExhausted, "too many read the block events already")));
    }
    block_streams_.push_back(stream);
  }
  wake_.notify_one();
  stream->begin(backend_);
}

void InternalRoutes::drain_now() {
  log_info("told to drain");
  if (drain_) drain_();
  leave();
}

void InternalRoutes::leave() {
  for (const auto& stream : open_streams()) stream->leave();
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  for (const auto& stream : open_block_streams()) stream->end();
}

std::string InternalRoutes::identity() const {
  json::array models;
  for (const completion::ModelCard& card : backend_.models()) {
    models.push_back({{"id", card.id},
                      {"root", card.root},
                      {"max_model_len", card.max_model_len},
                      {"created", card.created},
                      {"fingerprint", card.fingerprint},
                      {"steps", backend_.steps(card.id)}});
  }
  const completion::Load load = backend_.load();
  return to_json({{"version", kVersion},
                  {"build", build_description()},
                  {"ready", backend_.ready()},
                  {"models", std::move(models)},
                  {"load",
                   {{"running", load.running},
                    {"waiting", load.waiting},
                    {"waiting_tokens", load.waiting_tokens},
                    {"kv_blocks_used", load.kv_blocks_used},
                    {"kv_blocks_total", load.kv_blocks_total}}}});
}

std::vector<std::shared_ptr<InternalStream>> InternalRoutes::open_streams() {
  std::vector<std::shared_ptr<InternalStream>> open;
  const std::lock_guard lock(mutex_);
  std::erase_if(streams_, [&](const std::weak_ptr<InternalStream>& each) {
    auto stream = each.lock();
    if (!stream || stream->over()) return true;
    open.push_back(std::move(stream));
    return false;
  });
  return open;
}

std::vector<std::shared_ptr<BlockStream>> InternalRoutes::open_block_streams() {
  const std::lock_guard lock(mutex_);
  std::erase_if(block_streams_, [](const auto& each) { return each->over(); });
  return block_streams_;
}

void InternalRoutes::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      const auto any = [this] { return !streams_.empty() || !block_streams_.empty(); };
      if (!wake_.wait(lock, stop, any)) return;
    }
    beat();
    if (clock_.now() - blocks_beaten_ >= kBlockBeatInterval) beat_blocks();
    std::unique_lock lock(mutex_);
    if (streams_.empty()) {
      wake_.wait_for(lock, stop, kBlockBeatInterval, [this] { return !streams_.empty(); });
    } else {
      wake_.wait_for(lock, stop, kBeatInterval, [] { return false; });
    }
  }
}

void InternalRoutes::beat_blocks() {
  blocks_beaten_ = clock_.now();
  for (const auto& stream : open_block_streams()) stream->beat();
}

void InternalRoutes::beat() {
  const auto open = open_streams();
  // Time without streams is no time without progress.
  std::erase_if(progress_, [&](const auto& known) {
    return std::ranges::none_of(open, [&](const auto& s) { return s->model() == known.first; });
  });
  const TimePoint now = clock_.now();
  for (const auto& stream : open) {
    const std::string model = stream->model();
    const uint64_t step = backend_.steps(model);
    const auto [at, added] = progress_.try_emplace(model, Progress{step, now});
    if (!added && at->second.step != step) at->second = {step, now};
    if (now - at->second.since < kStuckAfter) stream->beat(step);
  }
}

}  // namespace sluice::endpoint
