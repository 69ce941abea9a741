#include "net/sse.h"

#include <gtest/gtest.h>

namespace sluice::net {
namespace {

// The events of `stream` fed in pieces cut at every `step` bytes from `first`.
std::vector<SseEvent> parse(std::string_view stream, size_t first, size_t step) {
  SseParser parser;
  std::vector<SseEvent> events;
  size_t at = std::min(first, stream.size());
  EXPECT_TRUE(parser.feed(stream.substr(0, at), events));
  while (at < stream.size()) {
    EXPECT_TRUE(parser.feed(stream.substr(at, step), events));
    at += step;
  }
  return events;
}

// "name|data|id;" for each event: the same however the stream is split.
std::string events_of(std::string_view stream) {
  const auto text = [](const std::vector<SseEvent>& events) {
    std::string out;
    for (const SseEvent& event : events) {
      out += event.name + "|" + event.data + "|" + event.id + ";";
    }
    return out;
  };
  const std::string whole = text(parse(stream, stream.size(), 1));
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    EXPECT_EQ(text(parse(stream, cut, stream.size() + 1)), whole) << "cut at " << cut;
  }
  EXPECT_EQ(text(parse(stream, 0, 1)), whole);
  return whole;
}

TEST(SseParser, TakesEveryLineEnd) {
  EXPECT_EQ(events_of("data: a\n\ndata: b\n\n"), "|a|;|b|;");
  EXPECT_EQ(events_of("data: a\r\n\r\ndata: b\r\n\r\n"), "|a|;|b|;");
  EXPECT_EQ(events_of("data: a\r\rdata: b\r\r"), "|a|;|b|;");
  EXPECT_EQ(events_of("data: a\r\n\rdata: b\n\r\n"), "|a|;|b|;");
}

TEST(SseParser, JoinsDataLinesAndKeepsFields) {
  EXPECT_EQ(events_of("event: delta\nid: 7\ndata: one\ndata: two\n\n"), "delta|one\ntwo|7;");
  EXPECT_EQ(events_of("id: 7\ndata: a\n\ndata: b\n\n"), "|a|7;|b|7;");  // the id stays
  EXPECT_EQ(events_of("data\n\n"), "||;");
  EXPECT_EQ(events_of("data:\ndata:\n\n"), "|\n|;");
  EXPECT_EQ(events_of("data:  two blanks\n\n"), "| two blanks|;");
  EXPECT_EQ(events_of("data:x:y\n\n"), "|x:y|;");
}

TEST(SseParser, SkipsCommentsUnknownFieldsAndEventsWithoutData) {
  EXPECT_EQ(events_of(": ping\n\n: ping\n\nretry: 10\nfoo: bar\n\nevent: e\n\ndata: a\n\n"),
            "|a|;");
  EXPECT_EQ(events_of("DATA: no\n data: no\n\n"), "");
}

TEST(SseParser, DropsAByteOrderMarkAtTheStartOnly) {
  EXPECT_EQ(events_of("\xef\xbb\xbf"
                      "data: a\n\n"),
            "|a|;");
  EXPECT_EQ(events_of("data: a\n\n\xef\xbb\xbf"
                      "data: b\n\n"),
            "|a|;");
}

TEST(SseParser, SplitsInsideUtf8Characters) {
  EXPECT_EQ(events_of("data: \xe2\x82\xac \xf0\x9f\x8c\x8a\n\ndata: [DONE]\n\n"),
            "|\xe2\x82\xac \xf0\x9f\x8c\x8a|;|[DONE]|;");
}

TEST(SseParser, AnUnfinishedEventIsNoneButIsKnown) {
  SseParser parser;
  std::vector<SseEvent> events;
  ASSERT_TRUE(parser.feed("data: a\n", events));
  EXPECT_TRUE(events.empty());
  EXPECT_TRUE(parser.mid_event());
  ASSERT_TRUE(parser.feed("\n", events));
  EXPECT_EQ(events.size(), 1u);
  EXPECT_FALSE(parser.mid_event());
}

TEST(SseParser, RefusesAnEventThatIsTooLarge) {
  for (const std::string_view part : {"xxxxxxxxxxxxxxxx", "data: xxxxxxxxxx\n"}) {
    SseParser parser(64);
    std::vector<SseEvent> events;
    Outcome outcome;
    int fed = 0;
    while (outcome && fed < 100) {
      outcome = parser.feed(part, events);
      ++fed;
    }
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code(), Code::kTooLarge);
    EXPECT_FALSE(parser.feed("\n\n", events));
    EXPECT_TRUE(events.empty());
  }
}

TEST(SseParser, CommentsForHoursTakeNoMemory) {
  SseParser parser(64);
  std::vector<SseEvent> events;
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(parser.feed(": keep-alive\n\n", events));
  EXPECT_TRUE(events.empty());
}

TEST(SseEvent, WhatIsWrittenIsWhatIsRead) {
  EXPECT_EQ(sse_event("{\"a\":1}"), "data: {\"a\":1}\n\n");
  EXPECT_EQ(sse_event("x", "delta"), "event: delta\ndata: x\n\n");
  EXPECT_EQ(sse_comment(), ":\n\n");
  EXPECT_EQ(events_of(sse_event("a\nb\r\nc\rd\n")), "|a\nb\nc\nd\n|;");
  EXPECT_EQ(events_of(sse_event("")), "||;");
}

}  // namespace
}  // namespace sluice::net
