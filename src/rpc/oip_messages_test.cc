#include "rpc/oip_messages.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "api/oip_response.h"
#include "open_inference.pb.h"

namespace sluice::rpc {
namespace {

using inference::ModelInferRequest;

ModelInferRequest good() {
  ModelInferRequest request;
  auto& input = *request.add_inputs();
  input.set_name("text_input");
  input.set_datatype("BYTES");
  input.add_shape(2);
  input.mutable_contents()->add_bytes_contents("a");
  input.mutable_contents()->add_bytes_contents("b");
  return request;
}

Result<api::InferCall> call_of(const ModelInferRequest& request) {
  SLUICE_ASSIGN_OR_RETURN(auto input, to_infer_input(request));
  return api::make_infer_call(std::move(input));
}

TEST(InferMessage, ReadsEveryKindOfParameter) {
  ModelInferRequest request = good();
  request.set_id("7");
  auto& parameters = *request.mutable_parameters();
  parameters["temperature"].set_double_param(0.5);
  parameters["max_tokens"].set_int64_param(3);
  parameters["seed"].set_uint64_param(9);
  parameters["stop"].set_string_param("x");
  parameters["ignore_eos"].set_bool_param(true);
  const auto call = call_of(request);
  ASSERT_TRUE(call) << call.error().message();
  EXPECT_EQ(call->id, "7");
  EXPECT_EQ(call->request.prompts.size(), 2u);
  EXPECT_EQ(call->request.sampling.temperature, 0.5);
  EXPECT_EQ(call->request.sampling.max_tokens, 3);
  EXPECT_EQ(call->request.sampling.seed, 9u);
  EXPECT_EQ(call->request.sampling.stop, (std::vector<std::string>{"x"}));
  EXPECT_TRUE(call->request.sampling.ignore_eos);
}

TEST(InferMessage, RawContentsMeanTheSame) {
  ModelInferRequest request = good();
  request.mutable_inputs(0)->clear_contents();
  request.add_raw_input_contents(api::join_bytes_tensor({"a", "b"}));
  const auto call = call_of(request);
  ASSERT_TRUE(call) << call.error().message();
  EXPECT_EQ(std::get<completion::TextPrompt>(call->request.prompts.at(1)).text, "b");
}

TEST(InferMessage, RefusesWhatDoesNotFit) {
  const auto refused = [](const auto& change) {
    ModelInferRequest request = good();
    change(request);
    const auto call = call_of(request);
    return !call && call.error().code() == Code::kInvalidArgument &&
           !call.error().message().empty();
  };
  EXPECT_TRUE(refused([](auto& r) { r.add_raw_input_contents("x"); })) << "both kinds of contents";
  EXPECT_TRUE(refused([](auto& r) {
    r.mutable_inputs(0)->clear_contents();
    r.add_raw_input_contents("");
    r.add_raw_input_contents("");
  })) << "more raw contents than inputs";
  EXPECT_TRUE(refused([](auto& r) {
    r.mutable_inputs(0)->clear_contents();
    r.add_raw_input_contents(std::string("\xFF\xFF\xFF\xFFx", 5));
  })) << "a length that is a lie";
  EXPECT_TRUE(refused([](auto& r) {
    *r.mutable_inputs(0)->mutable_contents()->mutable_bytes_contents(0) = "\xFF";
  })) << "no UTF-8";
  EXPECT_TRUE(refused(
      [](auto& r) { r.mutable_inputs(0)->set_shape(0, std::numeric_limits<int64_t>::max()); }));
  EXPECT_TRUE(refused([](auto& r) {
    for (int i = 0; i < 100; ++i) r.mutable_inputs(0)->add_shape(1);
  })) << "too many dimensions";
  EXPECT_TRUE(refused([](auto& r) {
    for (int i = 0; i < 1000; ++i) {
      r.mutable_inputs(0)->mutable_contents()->add_bytes_contents("x");
    }
  })) << "too many elements";
  EXPECT_TRUE(refused([](auto& r) { (*r.mutable_parameters())["max_tokens"]; })) << "no value";
  EXPECT_TRUE(refused([](auto& r) {
    (*r.mutable_parameters())["temperature"].set_double_param(
        std::numeric_limits<double>::quiet_NaN());
  }));
  EXPECT_TRUE(refused([](auto& r) {
    (*r.mutable_parameters())["seed"].set_uint64_param(std::numeric_limits<uint64_t>::max());
  }));
  EXPECT_TRUE(refused([](auto& r) {
    for (int i = 0; i < 100; ++i) {
      (*r.mutable_parameters())[std::to_string(i)].set_bool_param(true);
    }
  })) << "too many parameters";
  EXPECT_TRUE(refused([](auto& r) { r.add_outputs()->set_name("logits"); }));
  EXPECT_TRUE(refused([](auto& r) { r.set_id(std::string(300, 'x')); }));
}

TEST(InferMessage, BytesThatAreNoMessageAreAnError) {
  EXPECT_TRUE(parse_infer_message(good().SerializeAsString()));
  EXPECT_FALSE(parse_infer_message("\xFF\xFF\xFF"));
}

TEST(InferMessage, AnswersComeAsTheInputsDid) {
  const auto call = call_of(good());
  completion::Answer answer;
  answer.choices.resize(2);
  answer.choices[0].text = "x";
  answer.choices[1].finish = completion::FinishReason::kLength;
  inference::ModelInferResponse plain, raw;
  fill_answer({.model = "m", .raw = false}, *call, answer, plain);
  fill_answer({.model = "m", .raw = true}, *call, answer, raw);
  EXPECT_EQ(plain.model_name(), "m");
  EXPECT_EQ(plain.outputs(0).name(), "text_output");
  EXPECT_EQ(plain.outputs(0).shape(0), 2);
  EXPECT_EQ(plain.outputs(0).contents().bytes_contents(0), "x");
  EXPECT_EQ(plain.outputs(1).contents().bytes_contents(1), "length");
  EXPECT_EQ(plain.raw_output_contents_size(), 0);
  EXPECT_FALSE(raw.outputs(0).has_contents());
  EXPECT_EQ(raw.raw_output_contents(0), api::join_bytes_tensor({"x", ""}));
}

TEST(InferMessage, TheLastDeltaIsMarked) {
  const auto call = call_of(good());
  completion::Delta delta;
  delta.text = "x";
  inference::ModelInferResponse first, last;
  fill_delta({.model = "m", .raw = false}, *call, delta, first);
  delta.finish = completion::FinishReason::kStop;
  fill_delta({.model = "m", .raw = false}, *call, delta, last);
  EXPECT_FALSE(first.parameters().at("triton_final_response").bool_param());
  EXPECT_EQ(first.outputs(1).contents().bytes_contents(0), "");
  EXPECT_TRUE(last.parameters().at("triton_final_response").bool_param());
  EXPECT_EQ(last.outputs(1).contents().bytes_contents(0), "stop");
}

}  // namespace
}  // namespace sluice::rpc
