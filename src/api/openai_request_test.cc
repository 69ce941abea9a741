#include "api/openai_request.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::api {
namespace {

Result<GenerateCall> chat(const std::string& body) {
  SLUICE_ASSIGN_OR_RETURN(const auto object, parse_body(body));
  return parse_chat_request(object);
}

Result<GenerateCall> completion(const std::string& body) {
  SLUICE_ASSIGN_OR_RETURN(const auto object, parse_body(body));
  return parse_completion_request(object);
}

// A chat request with one more member.
std::string with(const std::string& member) {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}],)" + member + "}";
}

TEST(ChatRequest, ReadsWhatClientsSend) {
  const auto call = chat(
      R"({"model":"m","messages":[{"role":"system","content":"be brief"},
          {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],
          "temperature":0.5,"top_p":0.9,"n":2,"stream":true,"stream_options":{"include_usage":true},
          "max_completion_tokens":7,"stop":["x","y"],"seed":-3,"logit_bias":{"5":-100},
          "logprobs":true,"top_logprobs":3,"user":"u","store":false,"metadata":{"a":"b"}})");
  ASSERT_TRUE(call) << call.error().message();
  const completion::Request& request = call->request;
  const auto& prompt = std::get<completion::ChatPrompt>(request.prompts.at(0));
  EXPECT_EQ(prompt.messages.at(1).content, "ab");
  EXPECT_TRUE(prompt.add_generation_prompt);
  EXPECT_EQ(request.choices_per_prompt, 2);
  EXPECT_EQ(request.sampling.max_tokens, 7);
  EXPECT_EQ(request.sampling.logprobs, 3);
  EXPECT_EQ(request.sampling.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(request.sampling.logit_bias.at(0), (std::pair<int32_t, float>{5, -100.0f}));
  EXPECT_EQ(request.sampling.stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(call->stream.stream);
  EXPECT_TRUE(call->stream.include_usage);
}

TEST(ChatRequest, NullMeansAbsent) {
  const auto call = chat(with(R"("temperature":null,"stop":null,"n":null,"tools":null)"));
  ASSERT_TRUE(call) << call.error().message();
  EXPECT_FALSE(call->request.sampling.temperature);
}

TEST(ChatRequest, IntegersMayBeWrittenAsDoubles) {
  EXPECT_EQ(chat(with(R"("max_tokens":5.0)"))->request.sampling.max_tokens, 5);
}

struct Refused {
  const char* member;
  const char* param;
};

TEST(ChatRequest, RefusesBadValuesByName) {
  const Refused cases[] = {
      {R"("temperature":-1)", "temperature"},
      {R"("temperature":1e30)", "temperature"},
      {R"("temperature":"hot")", "temperature"},
      {R"("top_p":0)", "top_p"},
      {R"("top_p":2)", "top_p"},
      {R"("top_k":-7)", "top_k"},
      {R"("min_p":1.5)", "min_p"},
      {R"("typical_p":0)", "typical_p"},
      {R"("repetition_penalty":0)", "repetition_penalty"},
      {R"("presence_penalty":1e30)", "presence_penalty"},
      {R"("frequency_penalty":-2.5)", "frequency_penalty"},
      {R"("max_tokens":0)", "max_tokens"},
      {R"("max_tokens":-1)", "max_tokens"},
      {R"("max_tokens":2147483648)", "max_tokens"},
      {R"("max_tokens":9223372036854775808)", "max_tokens"},
      {R"("max_tokens":1.5)", "max_tokens"},
      {R"("max_tokens":"5")", "max_tokens"},
      {R"("n":0)", "n"},
      {R"("n":1000000)", "n"},
      {R"("logprobs":true,"top_logprobs":1000000)", "top_logprobs"},
      {R"("top_logprobs":2)", "top_logprobs"},
      {R"("seed":9223372036854775808)", "seed"},
      {R"("seed":1.5)", "seed"},
      {R"("stop":[""])", "stop"},
      {R"("stop":5)", "stop"},
      {R"("stop":["a",5])", "stop"},
      {R"("logit_bias":{"x":1})", "logit_bias"},
      {R"("logit_bias":{"1":1e308})", "logit_bias"},
      {R"("logit_bias":{"-1":1})", "logit_bias"},
      {R"("logit_bias":[1])", "logit_bias"},
      {R"("stop_token_ids":[-1])", "stop_token_ids"},
      {R"("stop_token_ids":["a"])", "stop_token_ids"},
      {R"("stream":"yes")", "stream"},
      {R"("stream_options":{"include_usage":true})", "stream_options"},
      {R"("tools":[{"type":"function","function":{"name":"f"}}])", "tools"},
      {R"("response_format":{"type":"json_object"})", "response_format"},
      {R"("guided_json":{})", "guided_json"},
      {R"("chat_template":"{{ x }}")", "chat_template"},
      {R"("n_discard":-5)", "n_discard"},
      {R"("use_beam_search":true)", "use_beam_search"},
      {R"("priority":1e9)", "priority"},
      {R"("chat_template_kwargs":5)", "chat_template_kwargs"},
      {R"("continue_final_message":true,"add_generation_prompt":true)", "continue_final_message"},
  };
  for (const Refused& c : cases) {
    const auto call = chat(with(c.member));
    ASSERT_FALSE(call) << c.member;
    EXPECT_EQ(call.error().param(), c.param) << c.member << ": " << call.error().message();
    EXPECT_EQ(http_status(call.error().code()), 400);
  }
}

TEST(ChatRequest, RefusesTooManyOrTooLongStops) {
  std::string many = R"("stop":["a")";
  for (int i = 0; i < 10'000; ++i) many += R"(,"a")";
  EXPECT_FALSE(chat(with(many + "]")));
  EXPECT_FALSE(chat(with(R"("stop":")" + std::string(1 << 20, 'a') + "\"")));
}

TEST(ChatRequest, RefusesBadMessages) {
  for (const char* messages :
       {"[]", "null", "5", R"([5])", R"([{"content":"x"}])", R"([{"role":"robot","content":"x"}])",
        R"([{"role":"user"}])", R"([{"role":"user","content":null}])",
        R"([{"role":"user","content":5}])", R"([{"role":"user","content":[5]}])",
        R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}])",
        R"([{"role":"user","content":[{"type":"text"}]}])",
        R"([{"role":"assistant","tool_calls":[{}]}])"}) {
    EXPECT_FALSE(chat(std::string(R"({"messages":)") + messages + "}")) << messages;
  }
  std::string many = R"({"messages":[{"role":"user","content":"x"})";
  for (int i = 0; i < 100'000; ++i) many += R"(,{"role":"user","content":"x"})";
  EXPECT_FALSE(chat(many + "]}"));
}

TEST(CompletionRequest, TakesEveryFormOfPrompt) {
  EXPECT_EQ(completion(R"({"prompt":"a"})")->request.prompts.size(), 1u);
  EXPECT_EQ(completion(R"({"prompt":["a","b"]})")->request.prompts.size(), 2u);
  EXPECT_EQ(completion(R"({"prompt":[1,2,3]})")->request.prompts.size(), 1u);
  EXPECT_EQ(completion(R"({"prompt":[[1],[2,3]]})")->request.prompts.size(), 2u);
  EXPECT_EQ(completion(R"({"prompt":"a"})")->request.sampling.max_tokens, 16);
  EXPECT_EQ(
      completion(R"({"prompt":"a","echo":true,"logprobs":2})")->request.sampling.prompt_logprobs,
      2);
}

TEST(CompletionRequest, RefusesBadPrompts) {
  for (const char* body :
       {R"({})", R"({"prompt":[]})", R"({"prompt":5})", R"({"prompt":[1,"a"]})",
        R"({"prompt":[-1]})", R"({"prompt":[4294967296]})", R"({"prompt":[[1],["a"]]})",
        R"({"prompt":"a","best_of":3})", R"({"prompt":"a","suffix":"b"})",
        R"({"prompt":["a","b","c","d","e"],"n":64})"}) {
    EXPECT_FALSE(completion(body)) << body;
  }
}

TEST(Body, MustBeAnObject) {
  for (const char* body : {"", "[]", "5", "{", "{}x", "\xEF\xBB\xBF{}"}) {
    EXPECT_FALSE(parse_body(body)) << body;
  }
}

TEST(Tokenize, TakesTextOrMessages) {
  const auto parse = [](const char* body) { return parse_tokenize_request(*parse_body(body)); };
  EXPECT_TRUE(parse(R"({"prompt":"x"})"));
  EXPECT_TRUE(parse(R"({"messages":[{"role":"user","content":"x"}]})"));
  EXPECT_FALSE(parse(R"({})"));
  EXPECT_FALSE(parse(R"({"prompt":5})"));
  EXPECT_FALSE(parse_detokenize_request(*parse_body(R"({"tokens":"x"})")));
  EXPECT_EQ(parse_detokenize_request(*parse_body(R"({"tokens":[1]})"))->tokens.size(), 1u);
}

}  // namespace
}  // namespace sluice::api
