#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>

#include "telemetry/otlp.h"
#include "telemetry/span_exporter.h"
#include "telemetry/trace_context.h"
#include "telemetry/tracer.h"

namespace sluice::telemetry {
namespace {

constexpr std::string_view kParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContextTest, ReadsAndWrites) {
  const auto context = parse_traceparent(kParent);
  ASSERT_TRUE(context);
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(to_traceparent(*context), kParent);
  EXPECT_EQ(to_hex(context->trace), kParent.substr(3, 32));
  EXPECT_FALSE(
      parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")->sampled);
  // A version to come, with more behind it.
  EXPECT_TRUE(parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
}

TEST(TraceContextTest, RefusesWhatIsNone) {
  for (const char* text : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                           "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                           "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
                           "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                           "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                           "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                           "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
                           "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}) {
    EXPECT_FALSE(parse_traceparent(text)) << text;
  }
}

TEST(SamplerTest, SamplersAreThoseOfTheStandard) {
  const auto parent = *parse_traceparent(kParent);
  SpanContext dropped = parent;
  dropped.sampled = false;
  const auto samples = [&](std::string_view name, std::string_view argument,
                           const std::optional<SpanContext>& from) {
    return parse_sampler(name, argument)->samples(parent.trace, from);
  };
  EXPECT_TRUE(samples("", "", std::nullopt));
  EXPECT_FALSE(samples("", "", dropped));
  EXPECT_TRUE(samples("always_on", "", dropped));
  EXPECT_FALSE(samples("always_off", "", parent));
  EXPECT_TRUE(samples("parentbased_always_off", "", parent));
  EXPECT_FALSE(samples("parentbased_always_off", "", std::nullopt));
  EXPECT_FALSE(samples("traceidratio", "0", parent));
  EXPECT_TRUE(samples("traceidratio", "1", dropped));
  EXPECT_TRUE(samples("parentbased_traceidratio", "0", parent));
  int kept = 0;
  const Sampler quarter = *parse_sampler("traceidratio", "0.25");
  for (int i = 0; i < 4000; ++i) kept += quarter.samples(new_trace_id(), std::nullopt) ? 1 : 0;
  EXPECT_NEAR(kept, 1000, 200);
  EXPECT_FALSE(parse_sampler("sometimes", ""));
  for (const char* wrong : {"2", "-1", "x", "0.5x", "nan"}) {
    EXPECT_FALSE(parse_sampler("traceidratio", wrong)) << wrong;
  }
}

struct Kept : SpanSink {
  void add(Span span) override { spans.push_back(std::move(span)); }
  std::vector<Span> spans;
};

TEST(TracerTest, KeepsWhatIsSampled) {
  Kept kept;
  ManualClock clock;
  const Tracer tracer({}, kept, clock);
  const auto parent = *parse_traceparent(kParent);
  const SpanContext child = tracer.begin(parent);
  EXPECT_EQ(child.trace, parent.trace);
  EXPECT_NE(child.span, parent.span);
  EXPECT_TRUE(child.sampled);
  const SpanContext root = tracer.begin(std::nullopt);
  EXPECT_TRUE(root.valid());
  EXPECT_NE(root.trace, parent.trace);
  tracer.end({.context = child,
              .parent = parent.span,
              .name = "a",
              .attributes = {},
              .events = {},
              .message = {}});
  SpanContext dropped = child;
  dropped.sampled = false;
  tracer.end({.context = dropped, .name = "b", .attributes = {}, .events = {}, .message = {}});
  ASSERT_EQ(kept.spans.size(), 1u);
  const TimePoint then = clock.now();
  clock.advance(std::chrono::seconds(5));
  EXPECT_NEAR(static_cast<double>(tracer.unix_nanos(clock.now()) - tracer.unix_nanos(then)), 5e9,
              1e3);
}

// The bytes of each field of a protobuf message, by its number; varints and fixed ones as decimals.
std::multimap<int, std::string> fields_of(std::string_view bytes) {
  std::multimap<int, std::string> out;
  size_t at = 0;
  const auto number = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes.at(at++));
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.size()) {
    const uint64_t tag = number();
    const auto field = static_cast<int>(tag >> 3);
    if ((tag & 7) == 0) {
      out.emplace(field, std::to_string(number()));
      continue;
    }
    if ((tag & 7) == 2) {
      const uint64_t length = number();
      out.emplace(field, bytes.substr(at, length));
      at += length;
      continue;
    }
    uint64_t value = 0;
    const size_t size = (tag & 7) == 1 ? 8 : 4;
    for (size_t i = 0; i < size; ++i) {
      value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes.at(at++))) << (8 * i);
    }
    out.emplace(field, std::to_string(value));
  }
  return out;
}
std::string only(const std::multimap<int, std::string>& fields, int field) {
  EXPECT_EQ(fields.count(field), 1u) << field;
  return fields.count(field) == 1 ? fields.find(field)->second : "";
}

// By the field numbers of trace.proto; tests/otlp decodes it with the published definitions.
TEST(OtlpTest, WritesEveryPartOfASpan) {
  const auto parent = *parse_traceparent(kParent);
  Span span{.context = {.trace = parent.trace, .span = new_span_id(), .sampled = true},
            .parent = parent.span,
            .name = "chat story",
            .kind = SpanKind::kClient,
            .begin_unix_nanos = 1'700'000'000'123'456'789,
            .end_unix_nanos = 1'700'000'001'000'000'000,
            .attributes = {},
            .events = {{.unix_nanos = 7, .name = "first"}},
            .failed = true,
            .message = "timeout"};
  span.set("i", int64_t{-1});
  span.set("b", true);
  span.set("d", 0.5);
  span.set("s", std::string("text"));
  span.set("l", std::vector<std::string>{"stop", "length"});
  const std::string bytes = encode_spans({{"service.name", std::string("sluice")}}, {&span, 1});
  const auto all = fields_of(only(fields_of(bytes), 1));
  EXPECT_NE(only(all, 1).find("service.name"), std::string::npos);
  const auto read = fields_of(only(fields_of(only(all, 2)), 2));
  EXPECT_EQ(only(read, 1), std::string(parent.trace.begin(), parent.trace.end()));
  EXPECT_EQ(only(read, 4), std::string(parent.span.begin(), parent.span.end()));
  EXPECT_EQ(only(read, 5), "chat story");
  EXPECT_EQ(only(read, 6), "3");
  EXPECT_EQ(only(read, 7), "1700000000123456789");
  EXPECT_EQ(only(read, 8), "1700000001000000000");
  EXPECT_EQ(only(read, 16), "1");
  EXPECT_EQ(only(fields_of(only(read, 11)), 2), "first");
  EXPECT_EQ(only(fields_of(only(read, 15)), 2), "timeout");
  EXPECT_EQ(only(fields_of(only(read, 15)), 3), "2");
  std::map<std::string, std::multimap<int, std::string>> values;
  for (auto [at, end] = read.equal_range(9); at != end; ++at) {
    const auto pair = fields_of(at->second);
    values.emplace(only(pair, 1), fields_of(only(pair, 2)));
  }
  EXPECT_EQ(only(values["i"], 3), std::to_string(UINT64_MAX));
  EXPECT_EQ(only(values["b"], 2), "1");
  EXPECT_EQ(only(values["d"], 4), std::to_string(std::bit_cast<uint64_t>(0.5)));
  EXPECT_EQ(only(values["s"], 1), "text");
  EXPECT_EQ(fields_of(only(values["l"], 5)).count(1), 2u);
}

// A receiver that answers as the test says, and tells what it was sent.
class Receiver {
 public:
  SpanSender sender() {
    return [this](const std::string& body) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return open_; });
      const auto spans = fields_of(only(fields_of(only(fields_of(body), 1)), 2)).count(2);
      counts_.push_back(spans);
      ExportReply reply{.status = statuses_.empty() ? 200 : statuses_.front()};
      if (!statuses_.empty()) statuses_.erase(statuses_.begin());
      changed_.notify_all();
      return reply;
    };
  }
  void answer(std::vector<int> statuses) { statuses_ = std::move(statuses); }
  void hold() { set_open(false); }
  void release() { set_open(true); }
  std::vector<size_t> wait(size_t requests) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return counts_.size() >= requests; });
    return counts_;
  }

 private:
  void set_open(bool open) {
    {
      const std::lock_guard lock(mutex_);
      open_ = open;
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  std::vector<int> statuses_;
  std::vector<size_t> counts_;
};

Span some_span() {
  return {.context = {.trace = new_trace_id(), .span = new_span_id(), .sampled = true},
          .name = "s",
          .attributes = {},
          .events = {},
          .message = {}};
}

double count(Metrics& metrics, const char* result) {
  return metrics.counter(View::kNative, "sluice_trace_spans_total", "", {{"result", result}})
      .Value();
}

ExporterOptions quick() {
  ExporterOptions options;
  options.resource = {{"service.name", std::string("test")}};
  options.delay = std::chrono::hours(1);
  options.backoff = std::chrono::milliseconds(1);
  return options;
}

TEST(SpanExporterTest, SendsWhatIsEnoughAndTheRestAtTheEnd) {
  Metrics metrics;
  Receiver receiver;
  ExporterOptions options = quick();
  options.batch = 3;
  {
    SpanExporter exporter(options, receiver.sender(), metrics);
    for (int i = 0; i < 4; ++i) exporter.add(some_span());
    EXPECT_EQ(receiver.wait(1).at(0), 3u);
  }
  EXPECT_EQ(receiver.wait(2), (std::vector<size_t>{3, 1}));
  EXPECT_EQ(count(metrics, "sent"), 4);
}

TEST(SpanExporterTest, WaitsNoLongerThanItsDelay) {
  Metrics metrics;
  Receiver receiver;
  ExporterOptions options = quick();
  options.delay = std::chrono::milliseconds(1);
  SpanExporter exporter(options, receiver.sender(), metrics);
  exporter.add(some_span());
  EXPECT_EQ(receiver.wait(1), (std::vector<size_t>{1}));
}

TEST(SpanExporterTest, TriesAgainWhereThatHelps) {
  Metrics metrics;
  Receiver receiver;
  receiver.answer({503, 0, 429, 200, 400, 503, 503});
  ExporterOptions options = quick();
  options.batch = 1;
  options.attempts = 4;
  SpanExporter exporter(options, receiver.sender(), metrics);
  exporter.add(some_span());
  receiver.wait(4);
  exporter.add(some_span());  // 400: not again
  receiver.wait(5);
  exporter.add(some_span());
  EXPECT_EQ(receiver.wait(8).size(), 8u);
  exporter.add(some_span());
  receiver.wait(9);
  EXPECT_EQ(count(metrics, "failed"), 1);
}

TEST(SpanExporterTest, AFullQueueDropsAndCounts) {
  Metrics metrics;
  Receiver receiver;
  receiver.hold();
  ExporterOptions options = quick();
  options.batch = 1;
  options.max_queue = 4;
  SpanExporter exporter(options, receiver.sender(), metrics);
  for (int i = 0; i < 20; ++i) exporter.add(some_span());
  EXPECT_GE(count(metrics, "dropped"), 15);
  receiver.release();
}

}  // namespace
}  // namespace sluice::telemetry
