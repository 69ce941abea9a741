#include "endpoint/model_path.h"

#include <gtest/gtest.h>

namespace sluice::endpoint {
namespace {

TEST(ModelOfPath, IsWhatTheRoutesRead) {
  const std::pair<const char*, const char*> cases[] = {
      {"/v1/models/m:predict", "m"},
      {"/v1/models/a/b:8:predict", "a/b:8"},
      {"/v1/models/a%2Fb:predict", "a/b"},
      {"/v1/models/m:explain", "m"},
      {"/v1/models/:predict", ""},
      {"/v1/models/m", ""},
      {"/v1/models", ""},
      {"/v2/models/m", "m"},
      {"/v2/models/a%2Fb/infer", "a/b"},
      {"/v2/models/50%25/versions/1/generate_stream", "50%"},
      {"/v2/models/", ""},
      {"/v2/models", ""},
      {"/v2/repository/models/m/load", "m"},
      {"/v2/repository/index", ""},
      {"/v1/messages", ""},
      {"/v1/chat/completions", ""},
      {"", ""}};
  for (const auto& [path, model] : cases) EXPECT_EQ(model_of_path(path), model) << path;
}

}  // namespace
}  // namespace sluice::endpoint
