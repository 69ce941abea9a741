#include "gateway/mirror.h"

#include <utility>

#include "gateway/errors.h"

namespace sluice::gateway {
namespace {

constexpr size_t kLongestKey = 8;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

void AnswerDigest::feed(std::string_view bytes) {
  for (const char c : bytes) {
    switch (state_) {
      case State::kOutside:
        if (c != '"') break;
        word_.clear();
        state_ = State::kString;
        break;
      case State::kString:
        if (c == '"' && !escaped_) {
          state_ = State::kAfterString;
        } else if (word_.size() < kLongestKey) {
          word_.push_back(c);
        }
        escaped_ = c == '\\' && !escaped_;
        break;
      case State::kAfterString:
        if (is_blank(c)) break;
        state_ = c == ':' && (word_ == "content" || word_ == "text") ? State::kBeforeValue
                                                                     : State::kOutside;
        break;
      case State::kBeforeValue:
        if (is_blank(c)) break;
        state_ = c == '"' ? State::kValue : State::kOutside;
        break;
      case State::kValue:
        if (c == '"' && !escaped_) {
          state_ = State::kOutside;
        } else {
          hash_ = (hash_ ^ static_cast<unsigned char>(c)) * kPrime;
        }
        escaped_ = c == '\\' && !escaped_;
        break;
    }
  }
}

void MirrorComparison::compare() {
  if (!primary.status || !copy.status) return;
  std::string_view outcome = "same";
  if (*primary.status != *copy.status) {
    outcome = "different_status";
  } else if (primary.digest.value() != copy.digest.value()) {
    outcome = "different_text";
  }
  metrics_.mirror_compared(route_, outcome);
}

void send_copy(GatewayMetrics& metrics, const Route& route, Target& target, ReplicaLease lease,
               net::HttpClient& client, OnwardCall call,
               const std::shared_ptr<MirrorComparison>& comparison) {
  struct Copy {
    ReplicaLease lease;
    std::shared_ptr<RouteMemory> memory;
    int status = 0;
  };
  const std::string name = route.settings().name;
  const std::string upstream = target.upstream().name();
  auto copy = std::make_shared<Copy>(std::move(lease), route.memory());
  ++copy->memory->mirrors;
  std::move(call).send(
      client,
      {.on_head = [copy](int status, const net::Headers&) { copy->status = status; },
       .on_data = [comparison](std::string_view bytes) { comparison->copy.digest.feed(bytes); },
       .on_end =
           [copy, comparison, name, upstream, &metrics](const Outcome& outcome) {
             --copy->memory->mirrors;
             if (!outcome) {
               const plan::ErrorClass error = error_of_failure(outcome.error());
               const bool late = outcome.error().reason() == net::kOutOfTime;
               copy->lease.report(late ? UseResult::kUntold : use_result(outcome.error()));
               metrics.attempt(upstream, plan::error_class_name(error));
               return metrics.mirror(name, "error");
             }
             const auto error = error_of_status(copy->status, "");
             if (error) copy->lease.report(use_result(*error));
             metrics.attempt(upstream, error ? plan::error_class_name(*error) : "ok");
             metrics.mirror(name, error ? "error" : "ok");
             comparison->copy.status = copy->status;
             comparison->compare();
           }});
}

}  // namespace sluice::gateway
