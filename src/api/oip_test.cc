#include <gtest/gtest.h>

#include <string>

#include "api/kserve_request.h"
#include "api/oip_request.h"
#include "api/oip_response.h"

namespace sluice::api {
namespace {

using completion::TextPrompt;

Result<InferCall> infer(const std::string& body) {
  SLUICE_ASSIGN_OR_RETURN(auto input, parse_infer_body(body, body.size()));
  return make_infer_call(std::move(input));
}

std::string tensor(const std::string& members) { return R"({"inputs":[{)" + members + "}]}"; }

constexpr const char* kGood =
    R"("name":"text_input","datatype":"BYTES","shape":[2],"data":["a","b"])";

std::string text_of(const completion::Request& request, size_t prompt) {
  return std::get<TextPrompt>(request.prompts.at(prompt)).text;
}

TEST(InferRequest, ReadsPromptsAndParameters) {
  const auto call =
      infer(R"({"id":"7","parameters":{"max_tokens":5,"temperature":0.5,"stop":["x"]},"inputs":[)"
            R"({"name":"prompt","datatype":"BYTES","shape":[2,1],"data":[["a"],["b"]]}],)"
            R"("outputs":[{"name":"text_output"}]})");
  ASSERT_TRUE(call) << call.error().message();
  EXPECT_EQ(call->id, "7");
  EXPECT_EQ(call->shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(text_of(call->request, 1), "b");
  EXPECT_EQ(call->request.sampling.max_tokens, 5);
  ASSERT_EQ(call->outputs.size(), 1u);
  EXPECT_FALSE(call->outputs[0].binary);
}

TEST(InferRequest, DefaultsAreTheProtocols) {
  const auto call = infer(tensor(kGood));
  ASSERT_TRUE(call);
  EXPECT_EQ(call->request.sampling.max_tokens, 20);
  EXPECT_EQ(call->outputs.size(), 2u);
}

TEST(InferRequest, NamesWhatItRefuses) {
  const std::string good = kGood;
  const std::string cases[] = {
      "{}",
      R"({"inputs":[]})",
      R"({"inputs":[7]})",
      R"({"inputs":7})",
      R"({"id":7,"inputs":[]})",
      tensor(R"("datatype":"BYTES","shape":[1],"data":["a"])"),
      tensor(R"("name":"text_input","shape":[1],"data":["a"])"),
      tensor(R"("name":"text_input","datatype":"BYTES","data":["a"])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":[1])"),
      tensor(R"("name":"other","datatype":"BYTES","shape":[1],"data":["a"])"),
      tensor(R"("name":"text_input","datatype":"FP32","shape":[1],"data":["a"])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":[2],"data":["a"])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":[-1],"data":["a"])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":[0],"data":[])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":["1"],"data":["a"])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":[1,1,1,1,1,1,1,1,1],"data":["a"])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":[256,256,256],"data":["a"])"),
      tensor(
          R"("name":"text_input","datatype":"BYTES","shape":[9223372036854775807,2],"data":["a"])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":[1],"data":[1])"),
      tensor(R"("name":"text_input","datatype":"BYTES","shape":[1],"data":"a")"),
      tensor(good + R"(,"parameters":{"binary_data_size":0})"),
      R"({"inputs":[{)" + good + "},{" + good + "}]}",
      R"({"outputs":[{"name":"logits"}],"inputs":[{)" + good + "}]}",
      R"({"outputs":[{"name":"text_output"},{"name":"text_output"}],"inputs":[{)" + good + "}]}",
      R"({"outputs":[{}],"inputs":[{)" + good + "}]}",
      R"({"parameters":{"max_tokns":1},"inputs":[{)" + good + "}]}",
      R"({"parameters":{"n":2},"inputs":[{)" + good + "}]}",
      R"({"parameters":{"stream":true},"inputs":[{)" + good + "}]}",
      R"({"parameters":{"guided_json":{}},"inputs":[{)" + good + "}]}",
      R"({"parameters":{"details":true},"inputs":[{)" + good + "}]}",
      R"({"parameters":[],"inputs":[{)" + good + "}]}",
  };
  for (const std::string& body : cases) {
    const auto call = infer(body);
    ASSERT_FALSE(call) << body;
    EXPECT_EQ(call.error().code(), Code::kInvalidArgument) << body;
    EXPECT_FALSE(call.error().message().empty()) << body;
  }
}

TEST(InferRequest, BinaryDataStandsBehindTheJson) {
  const std::string raw = join_bytes_tensor({"first", "", "ü"});
  const std::string head =
      R"({"parameters":{"binary_data_output":true},"inputs":[{"name":"text_input",)"
      R"("datatype":"BYTES","shape":[3],"parameters":{"binary_data_size":)" +
      std::to_string(raw.size()) + "}}]}";
  const auto parse = [&](const std::string& body) -> Result<InferCall> {
    SLUICE_ASSIGN_OR_RETURN(auto input, parse_infer_body(body, head.size()));
    return make_infer_call(std::move(input));
  };
  const auto call = parse(head + raw);
  ASSERT_TRUE(call) << call.error().message();
  EXPECT_EQ(text_of(call->request, 2), "ü");
  EXPECT_TRUE(call->outputs.at(0).binary);
  EXPECT_FALSE(parse(head + raw + "x")) << "bytes that belong to no input";
  EXPECT_FALSE(parse(head + raw.substr(1))) << "too few bytes";
  std::string broken = head + raw;
  broken[head.size() + 4] = '\xFF';
  EXPECT_FALSE(parse(broken)) << "no UTF-8";
  broken = head + raw;
  broken[head.size() + 3] = '\x7F';
  EXPECT_FALSE(parse(broken)) << "a length that is a lie";
}

TEST(InferRequest, JsonLengthMustFitTheBody) {
  EXPECT_EQ(*parse_json_length("", 10), 10u);
  EXPECT_EQ(*parse_json_length("4", 10), 4u);
  for (const char* bad : {"11", "-1", "4x", " 4", "99999999999999999999"}) {
    EXPECT_FALSE(parse_json_length(bad, 10)) << bad;
  }
}

TEST(BytesTensor, EveryCutIsAnError) {
  const std::string raw = join_bytes_tensor({"ab", "c"});
  EXPECT_EQ(*split_bytes_tensor(raw, "t"), (std::vector<std::string>{"ab", "c"}));
  for (size_t n = 0; n < raw.size(); ++n) {
    const bool whole = n == 0 || n == 6;
    EXPECT_EQ(split_bytes_tensor(raw.substr(0, n), "t").has_value(), whole) << n;
  }
}

completion::Answer two_choices() {
  completion::Answer answer;
  answer.choices.resize(2);
  answer.choices[0].text = "x";
  answer.choices[1].text = "y";
  answer.choices[1].finish = completion::FinishReason::kLength;
  answer.usage = {.prompt_tokens = 4, .completion_tokens = 2, .cached_tokens = 0};
  return answer;
}

TEST(InferBody, HasTheProtocolsMembers) {
  const auto call = infer(tensor(kGood));
  EXPECT_EQ(infer_body("m", *call, two_choices()).bytes,
            R"({"model_name":"m","model_version":"1","parameters":{"prompt_tokens":4,)"
            R"("completion_tokens":2},"outputs":[{"name":"text_output","datatype":"BYTES",)"
            R"("shape":[2],"data":["x","y"]},{"name":"finish_reason","datatype":"BYTES",)"
            R"("shape":[2],"data":["stop","length"]}]})");
}

TEST(InferBody, BinaryOutputsStandBehindTheJson) {
  auto call = infer(tensor(kGood));
  call->outputs[1].binary = true;
  const InferBody body = infer_body("m", *call, two_choices());
  EXPECT_EQ(body.bytes.substr(body.json_bytes), join_bytes_tensor({"stop", "length"}));
  EXPECT_NE(body.bytes.find(R"("parameters":{"binary_data_size":18})"), std::string::npos);
}

TEST(Generate, ReadsAndWrites) {
  const auto body =
      parse_body(R"({"text_input":"a","parameters":{"max_tokens":3,"details":true}})");
  const auto call = parse_generate_request(*body);
  ASSERT_TRUE(call);
  EXPECT_EQ(call->request.sampling.logprobs, 0);
  completion::Answer answer = two_choices();
  answer.choices[0].logprobs = {
      {.chosen = {.token = 5, .text = "x", .logprob = -0.5f, .rank = 1}, .top = {}}};
  EXPECT_EQ(generate_body("m", true, answer),
            R"({"model_name":"m","model_version":"1","text_output":"x","details":{)"
            R"("finish_reason":"eos_token","logprobs":[{"id":5,"text":"x","logprob":-0.5,)"
            R"("special":false}]}})");
  EXPECT_FALSE(parse_generate_request(*parse_body(R"({"prompt":"a"})")));
  EXPECT_FALSE(parse_generate_request(*parse_body(R"({"text_input":["a"]})")));
}

TEST(Generate, TheLastEventIsDone) {
  completion::Delta delta;
  delta.text = "x";
  EXPECT_EQ(generate_event("m", false, delta),
            R"({"model_name":"m","model_version":"1","text_output":"x","done":false})");
  delta.finish = completion::FinishReason::kLength;
  EXPECT_EQ(generate_event("m", true, delta),
            R"({"model_name":"m","model_version":"1","text_output":"x","done":true,)"
            R"("details":{"finish_reason":"length","logprobs":[]}})");
}

TEST(ModelVersion, OnlyTheOne) {
  EXPECT_TRUE(check_model_version(""));
  EXPECT_TRUE(check_model_version("1"));
  EXPECT_EQ(check_model_version("2").error().code(), Code::kNotFound);
}

Result<completion::Request> predict(const std::string& body) {
  SLUICE_ASSIGN_OR_RETURN(const auto object, parse_body(body));
  return parse_predict_request(object);
}

TEST(Predict, ReadsInstances) {
  const auto request =
      predict(R"({"instances":["a",{"prompt":"b"}],"parameters":{"max_tokens":3,"seed":1}})");
  ASSERT_TRUE(request) << request.error().message();
  EXPECT_EQ(text_of(*request, 0), "a");
  EXPECT_EQ(text_of(*request, 1), "b");
  EXPECT_EQ(request->sampling.max_tokens, 3);
  EXPECT_TRUE(predict(R"({"inputs":["a"]})"));
  EXPECT_EQ(predictions_body(two_choices()), R"({"predictions":["x","y"]})");
}

TEST(Predict, NamesWhatItRefuses) {
  const std::pair<const char*, const char*> cases[] = {
      {"{}", "instances"},
      {R"({"instances":[]})", "instances"},
      {R"({"instances":"a"})", "instances"},
      {R"({"instances":[1]})", "instances[0]"},
      {R"({"instances":[["a"]]})", "instances[0]"},
      {R"({"instances":[{"text":"a"}]})", "instances[0].prompt"},
      {R"({"instances":[{"prompt":"a","max_tokens":1}]})", "instances[0]"},
      {R"({"instances":["a"],"inputs":["a"]})", "inputs"},
      {R"({"instances":["a"],"parameters":{"temperature":-1}})", "temperature"},
      {R"({"instances":["a"],"parameters":5})", "parameters"}};
  for (const auto& [body, param] : cases) {
    const auto request = predict(body);
    ASSERT_FALSE(request) << body;
    EXPECT_EQ(request.error().param(), param) << body;
  }
}

}  // namespace
}  // namespace sluice::api
