// How many token events a second one core takes from a replica's bytes to a client's: frames read,
// checked and followed, chunks written. No sockets: what the gateway itself costs.
//   reframing [seconds]

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "api/internal_events.h"
#include "base/clock.h"
#include "endpoint/sinks.h"
#include "gateway/unbroken_answer.h"

namespace {

using namespace sluice;

class CountingResponder : public net::Responder {
 public:
  void send(net::HttpResponse) override {}
  void start(int, net::Headers) override {}
  bool write(std::string_view bytes) override {
    written += bytes.size();
    return true;
  }
  void finish() override {}
  void on_close(std::function<void()>) override {}
  bool closed() const override { return false; }
  size_t written = 0;
};

class NoObserver : public gateway::UnbrokenObserver {
 public:
  void on_attempt(gateway::AttemptReason) override {}
  void on_loss(gateway::Loss, bool) override {}
  void on_gap(Duration) override {}
  void on_given_up(bool) override {}
};

// An answer of `tokens` deltas as a replica frames it.
std::string frames(int tokens, bool logprobs) {
  api::EventWriter writer;
  std::string out;
  api::StartEvent start{.fingerprint = "fp_0123456789abcdef", .max_model_len = 8192, .info = {}};
  start.info.tokens = {std::vector<int32_t>(64, 300)};
  writer.write(start, out);
  for (int i = 0; i < tokens; ++i) {
    completion::Delta delta;
    delta.text = " word";
    delta.tokens = {17'000 + i % 1000};
    if (logprobs) {
      completion::LogprobEntry entry{.chosen = {delta.tokens[0], " word", -0.731f, 1}, .top = {}};
      for (int k = 0; k < 3; ++k) entry.top.push_back({k, " other", -1.5f, k + 1});
      delta.logprobs.push_back(entry);
    }
    if (i == tokens - 1) delta.finish = completion::FinishReason::kLength;
    writer.write(delta, out);
  }
  writer.write(completion::Usage{64, tokens, 0}, out);
  return out;
}

// One answer, its bytes in packets of a few events as a socket yields them.
void follow(const std::string& bytes, CountingResponder& responder, bool logprobs) {
  constexpr size_t kPacket = 256;
  NoObserver observer;
  api::GenerateCall call;
  call.request.prompts = {completion::TextPrompt{"x", true}};
  call.request.sampling.seed = 1;
  call.stream.stream = true;
  call.logprobs = logprobs;
  if (logprobs) call.request.sampling.logprobs = 3;
  const api::AnswerHead head{.kind = api::OpenAiKind::kChat,
                             .id = "chatcmpl-0123456789abcdef",
                             .created = 1'700'000'000,
                             .model = "story",
                             .fingerprint = "fp_0123456789abcdef"};
  endpoint::StreamSink sink(std::shared_ptr<net::Responder>(&responder, [](auto*) {}), head, call);
  gateway::UnbrokenAnswer answer(call.request, {}, 1, sink, observer, system_clock().now());
  (void)answer.begin(1, "replica", system_clock().now());
  api::EventReader reader;
  for (size_t at = 0; at < bytes.size(); at += kPacket) {
    const TimePoint now = system_clock().now();
    answer.heard(1, now);
    const Outcome read =
        reader.feed(std::string_view(bytes).substr(at, kPacket),
                    [&](api::InternalEvent&& event) { answer.on_event(1, std::move(event), now); });
    if (!read) std::abort();
  }
  if (!answer.over()) std::abort();
}

void measure(const char* name, bool logprobs, double seconds) {
  constexpr int kTokens = 1000;
  const std::string bytes = frames(kTokens, logprobs);
  CountingResponder responder;
  const TimePoint began = system_clock().now();
  double took = 0;
  double events = 0;
  while (took < seconds) {
    for (int i = 0; i < 20; ++i) follow(bytes, responder, logprobs);
    events += 20.0 * kTokens;
    took = to_seconds(system_clock().now() - began);
  }
  std::printf("%-10s %.2f M events/s, %.0f bytes in and %.0f out for each\n", name,
              events / took * 1e-6, static_cast<double>(bytes.size()) / kTokens,
              static_cast<double>(responder.written) / events);
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2.0;
  measure("plain", false, seconds);
  measure("logprobs", true, seconds);
  return 0;
}
