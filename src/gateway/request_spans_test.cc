// The spans of relayed requests, through a whole gateway. Over Sluice replicas: tests/otlp.
#include "gateway/request_spans.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "gateway/running_test_support.h"

namespace sluice::gateway {
namespace {

using telemetry::Span;
using telemetry::SpanKind;
using testing::answers;
using testing::fails;
using testing::kBody;
using testing::plan_text;
using testing::RunningGateway;
using testing::RunningUpstream;

constexpr std::string_view kCaller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class Kept : public telemetry::SpanSink {
 public:
  void add(Span span) override {
    const std::lock_guard lock(mutex_);
    spans_.push_back(std::move(span));
  }
  // In the order in which they ended.
  std::vector<Span> spans() {
    const std::lock_guard lock(mutex_);
    return spans_;
  }

 private:
  std::mutex mutex_;
  std::vector<Span> spans_;
};

std::string text_of(const Span& span, std::string_view name) {
  for (const auto& attribute : span.attributes) {
    if (attribute.name != name) continue;
    if (const auto* text = std::get_if<std::string>(&attribute.value)) return *text;
    if (const auto* number = std::get_if<int64_t>(&attribute.value)) return std::to_string(*number);
  }
  return "";
}

class RequestSpansTest : public ::testing::Test {
 protected:
  // Ends when the request's own span is there, which is the last.
  std::vector<Span> ask(const std::string& plan, const std::string& traceparent) {
    RunningGateway gateway(plan);
    gateway.loop->post([&] { gateway.gateway->set_tracer(&tracer_); });
    status_ = gateway.post(kBody, {{"traceparent", traceparent}}).status;
    gateway.server.reset();
    return kept_.spans();
  }

  Kept kept_;
  telemetry::Tracer tracer_{{}, kept_};
  int status_ = 0;
};

TEST_F(RequestSpansTest, EachAttemptIsAChildOfItsRequest) {
  RunningUpstream bad(fails(500));
  RunningUpstream good(answers("u"));
  const auto spans = ask(plan_text({bad.url(), good.url()}), std::string(kCaller));
  EXPECT_EQ(status_, 200);
  ASSERT_EQ(spans.size(), 3u);
  const auto caller = *telemetry::parse_traceparent(kCaller);
  const auto door = std::ranges::find(spans, SpanKind::kServer, &Span::kind);
  ASSERT_NE(door, spans.end());
  EXPECT_EQ(door->parent, caller.span);
  EXPECT_EQ(door->name, "POST /v1/completions");
  EXPECT_EQ(text_of(*door, "sluice.attempts"), "2");
  EXPECT_EQ(text_of(*door, "http.response.status_code"), "200");
  EXPECT_FALSE(door->failed);
  std::vector<Span> attempts;
  std::ranges::copy_if(spans, std::back_inserter(attempts),
                       [](const Span& span) { return span.kind == SpanKind::kClient; });
  ASSERT_EQ(attempts.size(), 2u);
  for (const Span& each : attempts) {
    EXPECT_EQ(each.parent, door->context.span);
    EXPECT_EQ(each.context.trace, caller.trace);
    EXPECT_EQ(each.name, "text_completion m");
  }
  EXPECT_TRUE(attempts[0].failed);
  EXPECT_EQ(text_of(attempts[0], "sluice.attempt.reason"), "first");
  EXPECT_EQ(text_of(attempts[0], "error.type"), "server_error");
  EXPECT_FALSE(attempts[1].failed);
  EXPECT_EQ(text_of(attempts[1], "sluice.attempt.reason"), "retry");
  // What the servers were sent names the attempt.
  EXPECT_EQ(bad.handler->seen()[0].header("traceparent"),
            telemetry::to_traceparent(attempts[0].context));
  EXPECT_EQ(good.handler->seen()[0].header("traceparent"),
            telemetry::to_traceparent(attempts[1].context));
}

TEST_F(RequestSpansTest, WhoWantsNoTraceHasNoneButItsIdTravels) {
  RunningUpstream upstream(answers("u"));
  std::string caller(kCaller);
  caller.back() = '0';
  EXPECT_TRUE(ask(plan_text({upstream.url()}), caller).empty());
  const std::string sent(upstream.handler->seen()[0].header("traceparent"));
  EXPECT_EQ(sent.substr(0, 36), caller.substr(0, 36));
  EXPECT_TRUE(sent.ends_with("-00"));
}

TEST_F(RequestSpansTest, ARefusalIsTold) {
  const auto spans = ask(plan_text({"http://127.0.0.1:1"}, "    retry: {attempts: 0}\n"), "");
  EXPECT_EQ(status_, 503);
  const auto door = std::ranges::find(spans, SpanKind::kServer, &Span::kind);
  ASSERT_NE(door, spans.end());
  EXPECT_TRUE(door->failed);
  EXPECT_EQ(door->parent, telemetry::SpanId{});
  EXPECT_EQ(text_of(*door, "error.type"), "connect");
  for (const Span& span : spans) {
    for (const auto& attribute : span.attributes) {
      const auto* text = std::get_if<std::string>(&attribute.value);
      EXPECT_TRUE(text == nullptr || *text != "hi") << attribute.name;
    }
  }
}

}  // namespace
}  // namespace sluice::gateway
