#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "api/block_events.h"
#include "api/internal_events.h"
#include "api/internal_request.h"
#include "api/internal_wire.h"
#include "base/rng.h"

namespace sluice::api {
namespace {

using completion::Request;
using namespace std::chrono_literals;

const TimePoint kNow{100s};

// Every field set to something that is not its default.
Request full_request() {
  Request r;
  r.id = "cmpl-1";
  r.model = "m";
  completion::ChatPrompt chat;
  chat.messages.push_back({.role = "user",
                           .content = "h\xC3\xA9llo",
                           .name = "n",
                           .tool_call_id = "t",
                           .tool_calls = {{"i", "f", "{}"}, {"j", "g", ""}}});
  chat.messages.push_back({.role = "assistant",
                           .content = std::nullopt,
                           .name = {},
                           .tool_call_id = {},
                           .tool_calls = {}});
  chat.messages.push_back(
      {.role = "user", .content = "", .name = {}, .tool_call_id = {}, .tool_calls = {}});
  chat.add_generation_prompt = false;
  chat.continue_final_message = true;
  chat.template_arguments["deep"] = {{"x", 1}};
  r.prompts = {chat, completion::TextPrompt{"text", false},
               completion::TokenPrompt{{0, 1, 300, std::numeric_limits<int32_t>::max()}}};
  r.choices_per_prompt = 2;
  r.echo = true;
  r.truncate_prompt_tokens = 7;
  r.priority = -5;
  r.tenant = "tenant";
  r.cache_salt = "salt";
  r.deadline = kNow + 30s;
  completion::Sampling& s = r.sampling;
  s.temperature = 0.0;
  s.top_k = 0;
  s.top_p = 0.1 + 0.2;
  s.min_p = 1e-300;
  s.typical_p = 0.5;
  s.repetition_penalty = 1.1;
  s.presence_penalty = -0.3;
  s.frequency_penalty = 0.7;
  s.logit_bias = {{0, -1.5f}, {9, 0.1f}};
  s.bad_words = {"a", "b"};
  s.allowed_tokens = {1, 2, 3};
  s.seed = std::numeric_limits<uint64_t>::max();
  s.max_tokens = 0;
  s.min_tokens = 3;
  s.ignore_eos = true;
  s.stop = {"x", "yy"};
  s.stop_tokens = {5};
  s.include_stop_text = true;
  s.skip_special_tokens = false;
  s.logprobs = 0;
  s.prompt_logprobs = 20;
  completion::Resume resume;
  resume.choices = {{.tokens = {1, 2}, .ended_after = {}}, {.tokens = {}, .ended_after = 0},
                    {.tokens = {}, .ended_after = {}},     {.tokens = {7}, .ended_after = {}},
                    {.tokens = {}, .ended_after = 900},    {.tokens = {}, .ended_after = {}}};
  resume.prompt_logprobs_told = {true, false, false};
  resume.fingerprint = "fp_1";
  resume.max_model_len = 512;
  r.resume = resume;
  return r;
}

TEST(InternalRequest, ARequestComesBackAsItWas) {
  const std::string bytes = write_request(full_request(), kNow);
  const auto read = read_request(bytes, kNow);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(write_request(*read, kNow), bytes);
  const Request want = full_request();
  EXPECT_EQ(read->id, want.id);
  EXPECT_EQ(read->model, want.model);
  const auto& chat = std::get<completion::ChatPrompt>(read->prompts.at(0));
  EXPECT_EQ(chat.messages.at(0).content, "h\xC3\xA9llo");
  EXPECT_EQ(chat.messages.at(0).tool_calls.at(1).name, "g");
  EXPECT_EQ(chat.messages.at(1).content, std::nullopt);
  EXPECT_EQ(chat.messages.at(2).content, "");
  EXPECT_FALSE(chat.add_generation_prompt);
  EXPECT_TRUE(chat.continue_final_message);
  EXPECT_EQ(chat.template_arguments, std::get<0>(want.prompts[0]).template_arguments);
  EXPECT_FALSE(std::get<completion::TextPrompt>(read->prompts.at(1)).add_special_tokens);
  EXPECT_EQ(std::get<completion::TokenPrompt>(read->prompts.at(2)).tokens,
            std::get<completion::TokenPrompt>(want.prompts[2]).tokens);
  EXPECT_EQ(read->choices_per_prompt, 2);
  EXPECT_TRUE(read->echo);
  EXPECT_EQ(read->truncate_prompt_tokens, 7);
  EXPECT_EQ(read->priority, -5);
  EXPECT_EQ(read->tenant + read->cache_salt, "tenantsalt");
  EXPECT_EQ(read->deadline, want.deadline);
  const completion::Sampling& s = read->sampling;
  EXPECT_EQ(s.temperature, 0.0);
  EXPECT_EQ(s.top_k, 0);
  EXPECT_EQ(s.top_p, 0.1 + 0.2);
  EXPECT_EQ(s.min_p, 1e-300);
  EXPECT_EQ(s.typical_p, 0.5);
  EXPECT_EQ(s.repetition_penalty, 1.1);
  EXPECT_EQ(s.presence_penalty, -0.3);
  EXPECT_EQ(s.frequency_penalty, 0.7);
  EXPECT_EQ(s.logit_bias, want.sampling.logit_bias);
  EXPECT_EQ(s.bad_words, want.sampling.bad_words);
  EXPECT_EQ(s.allowed_tokens, want.sampling.allowed_tokens);
  EXPECT_EQ(s.seed, want.sampling.seed);
  EXPECT_EQ(s.max_tokens, 0);
  EXPECT_EQ(s.min_tokens, 3);
  EXPECT_TRUE(s.ignore_eos && s.include_stop_text && !s.skip_special_tokens);
  EXPECT_EQ(s.stop, want.sampling.stop);
  EXPECT_EQ(s.stop_tokens, want.sampling.stop_tokens);
  EXPECT_EQ(s.logprobs, 0);
  EXPECT_EQ(s.prompt_logprobs, 20);
  ASSERT_EQ(read->resume->choices.size(), 6u);
  EXPECT_EQ(read->resume->choices[0].tokens, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(read->resume->choices[1].ended_after, 0);
  EXPECT_EQ(read->resume->choices[4].ended_after, 900);
  EXPECT_EQ(read->resume->prompt_logprobs_told, want.resume->prompt_logprobs_told);
  EXPECT_EQ(read->resume->fingerprint, "fp_1");
  EXPECT_EQ(read->resume->max_model_len, 512);
}

TEST(InternalRequest, DefaultsStayDefaults) {
  Request plain;
  plain.prompts = {completion::TokenPrompt{{1}}};
  const auto read = read_request(write_request(plain, kNow), kNow);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->sampling.logprobs, -1);
  EXPECT_EQ(read->sampling.prompt_logprobs, -1);
  EXPECT_TRUE(read->sampling.skip_special_tokens);
  EXPECT_FALSE(read->sampling.temperature || read->sampling.seed || read->sampling.max_tokens);
  EXPECT_FALSE(read->deadline || read->resume || read->truncate_prompt_tokens);
}

TEST(InternalRequest, EveryCutAndEveryFlipIsReadOrRefused) {
  const std::string bytes = write_request(full_request(), kNow);
  for (size_t n = 0; n < bytes.size(); ++n) {
    const auto read = read_request(std::string_view(bytes).substr(0, n), kNow);
    if (!read) EXPECT_FALSE(read.error().message().empty());
  }
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto read = read_request(flipped, kNow);
    if (read) EXPECT_TRUE(read_request(write_request(*read, kNow), kNow)) << bit;
  }
}

// What refuses a request whose only oddity is `write`'s.
std::string refusal(const std::function<void(WireWriter&)>& write) {
  Request plain;
  plain.prompts = {completion::TokenPrompt{{1}}};
  std::string bytes = write_request(plain, kNow);
  WireWriter out(bytes);
  write(out);
  const auto read = read_request(bytes, kNow);
  return read ? std::string() : read.error().message();
}

TEST(InternalRequest, RefusesWhatHasNoMeaning) {
  EXPECT_FALSE(read_request("", kNow));
  EXPECT_EQ(refusal([](WireWriter&) {}), "");
  EXPECT_NE(refusal([](WireWriter& w) { w.uint(99, 1); }).find("not known"), std::string::npos);
  EXPECT_NE(refusal([](WireWriter& w) { w.uint(4, 1000); }).find("at most"), std::string::npos);
  EXPECT_NE(refusal([](WireWriter& w) { w.set_uint(4, 0); }), "");
  EXPECT_NE(refusal([](WireWriter& w) { w.set_uint(7, 0); }), "");
  EXPECT_NE(refusal([](WireWriter& w) { w.sint(8, -5000); }), "");
  EXPECT_NE(refusal([](WireWriter& w) { w.bytes(2, "\xFF"); }).find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal([](WireWriter& w) { w.real(4, 1.0); }).find("wire type"), std::string::npos);
  const auto sampling = [](auto write) {
    return refusal([&](WireWriter& w) { w.message(5, write); });
  };
  EXPECT_NE(
      sampling([](WireWriter& w) { w.set_real(1, std::numeric_limits<double>::quiet_NaN()); }), "");
  EXPECT_NE(sampling([](WireWriter& w) { w.set_bytes(16, ""); }), "");
  EXPECT_NE(sampling([](WireWriter& w) { w.uint(20, 99); }), "");
  EXPECT_NE(sampling([](WireWriter& w) {
              for (int i = 0; i < 100; ++i) w.set_bytes(16, "s");
            }),
            "");
  EXPECT_NE(refusal([](WireWriter& w) { w.message(3, [](WireWriter& p) { p.uint(1, 1); }); }), "");
  EXPECT_NE(refusal([](WireWriter& w) {
              w.message(3, [](WireWriter& p) {
                p.uint(1, 2);
                p.ids(4, std::vector<int32_t>{1});
              });
            }),
            "");
}

completion::Delta full_delta() {
  completion::Delta d;
  d.choice = 3;
  d.text = "caf\xC3\xA9";
  d.tokens = {0, 17, 151'000};
  completion::LogprobEntry entry;
  entry.chosen = {17, "\xC3", -0.1234567f, 1};
  entry.top = {{17, "\xC3", -0.1234567f, 1}, {18, "b", std::bit_cast<float>(0x80000001u), 2}};
  d.logprobs = {entry, {}};
  d.finish = completion::FinishReason::kStop;
  d.stop_reason = std::string("stop");
  return d;
}

std::string full_stream() {
  EventWriter writer;
  std::string out;
  StartEvent start{.fingerprint = "fp_2", .max_model_len = 9, .seed = ~0ull, .info = {}};
  start.info.tokens = {{1, 2, 3}, {4}};
  start.info.text = {"one", "two"};
  writer.write(start, out);
  EventWriter::write_beat(5, out);
  writer.write(PromptLogprobsEvent{1, full_delta().logprobs}, out);
  writer.write(full_delta(), out);
  completion::Delta token_end;
  token_end.finish = completion::FinishReason::kStop;
  token_end.stop_reason = 0;
  writer.write(token_end, out);
  writer.write(LeavingEvent{}, out);
  writer.write(completion::Usage{1, 2, 3}, out);
  writer.write(Status(Code::kCancelled, "m", "p", "r"), out);
  return out;
}

void expect_full_stream(const std::vector<InternalEvent>& events) {
  ASSERT_EQ(events.size(), 8u);
  const auto& start = std::get<StartEvent>(events[0]);
  EXPECT_EQ(start.fingerprint, "fp_2");
  EXPECT_EQ(start.max_model_len, 9);
  EXPECT_EQ(start.seed, ~0ull);
  EXPECT_EQ(start.info.tokens, (std::vector<std::vector<int32_t>>{{1, 2, 3}, {4}}));
  EXPECT_EQ(start.info.text, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(std::get<BeatEvent>(events[1]).step, 5u);
  EXPECT_EQ(std::get<PromptLogprobsEvent>(events[2]).prompt, 1);
  EXPECT_EQ(std::get<PromptLogprobsEvent>(events[2]).entries.size(), 2u);
  const auto& delta = std::get<completion::Delta>(events[3]);
  const completion::Delta want = full_delta();
  EXPECT_EQ(delta.choice, want.choice);
  EXPECT_EQ(delta.text, want.text);
  EXPECT_EQ(delta.tokens, want.tokens);
  EXPECT_EQ(delta.finish, want.finish);
  EXPECT_EQ(delta.stop_reason, want.stop_reason);
  ASSERT_EQ(delta.logprobs.size(), 2u);
  EXPECT_EQ(delta.logprobs[0].chosen.text, "\xC3");
  EXPECT_EQ(std::bit_cast<uint32_t>(delta.logprobs[0].chosen.logprob),
            std::bit_cast<uint32_t>(-0.1234567f));
  EXPECT_EQ(std::bit_cast<uint32_t>(delta.logprobs[0].top.at(1).logprob), 0x80000001u);
  EXPECT_EQ(std::get<int32_t>(std::get<completion::Delta>(events[4]).stop_reason), 0);
  EXPECT_TRUE(std::holds_alternative<LeavingEvent>(events[5]));
  EXPECT_EQ(std::get<completion::Usage>(events[6]).cached_tokens, 3);
  const auto& status = std::get<Status>(events[7]);
  EXPECT_EQ(status.code(), Code::kCancelled);
  EXPECT_EQ(status.message() + status.param() + status.reason(), "mpr");
}

TEST(InternalEvents, ComeBackHoweverTheBytesAreSplit) {
  const std::string bytes = full_stream();
  Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    EventReader reader;
    std::vector<InternalEvent> events;
    std::string_view left = bytes;
    while (!left.empty()) {
      const size_t n = round == 0 ? 1 : std::min<size_t>(left.size(), 1 + rng.below(40));
      ASSERT_TRUE(reader.feed(left.substr(0, n),
                              [&](InternalEvent&& e) { events.push_back(std::move(e)); }));
      left.remove_prefix(n);
    }
    EXPECT_FALSE(reader.mid_frame());
    expect_full_stream(events);
  }
}

TEST(InternalEvents, GapsRepetitionsAndSizesAreErrors) {
  EventWriter writer;
  std::string first;
  std::string second;
  writer.write(full_delta(), first);
  writer.write(full_delta(), second);
  const auto ignore = [](InternalEvent&&) {};
  EventReader skipping;
  EXPECT_EQ(skipping.feed(second, ignore).error().code(), Code::kDataLoss);
  EXPECT_FALSE(skipping.feed(first, ignore)) << "a broken stream stays broken";
  EventReader repeating;
  EXPECT_TRUE(repeating.feed(first, ignore));
  EXPECT_FALSE(repeating.feed(first, ignore));
  EventReader small(16);
  EXPECT_FALSE(small.feed(first.substr(0, 4), ignore));
  EventReader empty;
  EXPECT_FALSE(empty.feed(std::string(4, '\0'), ignore));
  std::string odd = first;
  odd[4] = 99;
  EventReader unknown;
  EXPECT_FALSE(unknown.feed(odd, ignore));
}

std::vector<BlockEvent> read_blocks(std::string_view bytes, size_t piece, bool* failed = nullptr) {
  BlockEventReader reader;
  std::vector<BlockEvent> events;
  while (!bytes.empty()) {
    const size_t n = std::min(piece, bytes.size());
    const Outcome read =
        reader.feed(bytes.substr(0, n), [&](BlockEvent&& e) { events.push_back(std::move(e)); });
    if (failed != nullptr) *failed = !read;
    if (!read) break;
    bytes.remove_prefix(n);
  }
  return events;
}

TEST(BlockEvents, ComeBackInOrderHoweverTheBytesAreSplit) {
  BlockEventWriter writer;
  std::string bytes;
  writer.write({.models = {{{"m", "alias"}, "fp", 16}, {{"other"}, "", 32}}}, bytes);
  std::vector<PrefixChange> changes;
  changes.reserve(9002);
  for (uint64_t i = 0; i < 9000; ++i) changes.push_back({i << 40 | i, true});
  changes.push_back({7, false});
  changes.push_back({8, true});
  writer.write(1, changes, bytes);
  writer.write(BlocksSynced{}, bytes);
  BlockEventWriter::write_beat(bytes);
  for (const size_t piece : {size_t{1}, size_t{1000}, bytes.size()}) {
    const auto events = read_blocks(bytes, piece);
    ASSERT_EQ(events.size(), 7u);
    const auto& hello = std::get<BlockHello>(events[0]);
    EXPECT_EQ(hello.models.at(0).names, (std::vector<std::string>{"m", "alias"}));
    EXPECT_EQ(hello.models.at(0).fingerprint, "fp");
    EXPECT_EQ(hello.models.at(1).block_size, 32);
    std::vector<PrefixChange> told;
    for (size_t i = 1; i <= 4; ++i) {
      const auto& part = std::get<BlockChanges>(events[i]);
      EXPECT_EQ(part.model, 1u);
      for (const uint64_t tag : part.tags) told.push_back({tag, part.stored});
    }
    EXPECT_EQ(told, changes);
    EXPECT_TRUE(std::holds_alternative<BlocksSynced>(events[5]));
    EXPECT_TRUE(std::holds_alternative<BlockBeat>(events[6]));
  }
}

TEST(BlockEvents, WhatMakesNoSenseIsAnError) {
  const auto refused = [](auto write) {
    BlockEventWriter writer;
    std::string bytes;
    write(writer, bytes);
    bool failed = false;
    read_blocks(bytes, bytes.size(), &failed);
    return failed;
  };
  const BlockHello hello{.models = {{{"m"}, "fp", 16}}};
  const std::vector<PrefixChange> one = {{1, true}};
  EXPECT_TRUE(refused([&](auto& w, auto& out) { w.write(0, one, out); })) << "before the hello";
  EXPECT_TRUE(refused([&](auto& w, auto& out) {
    w.write(hello, out);
    w.write(hello, out);
  }));
  EXPECT_TRUE(refused([&](auto& w, auto& out) {
    w.write(hello, out);
    w.write(1, one, out);
  })) << "a model that was not announced";
  EXPECT_TRUE(refused([&](auto& w, auto& out) {
    w.write(hello, out);
    w.write(BlocksSynced{}, out);
    w.write(BlocksSynced{}, out);
  }));
  EXPECT_TRUE(refused([&](auto& w, auto& out) { w.write({.models = {{{"m"}, "fp", 0}}}, out); }))
      << "no block size";
  EXPECT_TRUE(refused([&](auto& w, auto& out) {
    w.write(hello, out);
    std::string lost;
    w.write(0, one, lost);
    w.write(0, one, out);
  })) << "a gap";
  EXPECT_FALSE(refused([&](auto& w, auto& out) {
    w.write(hello, out);
    w.write(0, one, out);
  }));
}

TEST(InternalTokenize, RequestsAndResultsComeBack) {
  completion::TokenizeRequest request{
      .model = "m", .prompt = completion::TextPrompt{"x", true}, .with_pieces = true};
  const auto read = read_tokenize_request(write_tokenize_request(request));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->model, "m");
  EXPECT_TRUE(read->with_pieces);
  EXPECT_FALSE(read_tokenize_request(""));
  const auto result = read_tokenize_result(
      write_tokenize_result({.tokens = {1, 2}, .pieces = {"", "b"}, .max_model_len = 3}));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->pieces, (std::vector<std::string>{"", "b"}));
  EXPECT_EQ(result->max_model_len, 3);
  const auto ids = read_detokenize_request(write_detokenize_request({"m", {4, 5}}));
  ASSERT_TRUE(ids);
  EXPECT_EQ(ids->tokens, (std::vector<int32_t>{4, 5}));
}

}  // namespace
}  // namespace sluice::api
