#include "cli/tracing.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace sluice::cli {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(TracingTest, PairsAsTheEnvironmentHasThem) {
  EXPECT_EQ(*parse_pairs("api-key=a%20b%2C, x = y==,,z="),
            (Pairs{{"api-key", "a b,"}, {"x", "y=="}, {"z", ""}}));
  EXPECT_EQ(*parse_pairs("a=100%,b=%zz,c=%4"), (Pairs{{"a", "100%"}, {"b", "%zz"}, {"c", "%4"}}));
  EXPECT_EQ(*parse_pairs(""), Pairs{});
  EXPECT_FALSE(parse_pairs("secret"));
  EXPECT_FALSE(parse_pairs("=secret"));
  EXPECT_EQ(parse_pairs("secret").error().message().find("secret"), std::string::npos);
}

// Sets environment variables for as long as it lives.
class Environment {
 public:
  explicit Environment(const Pairs& variables) : variables_(variables) {
    for (const auto& [name, value] : variables_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : variables_) ::unsetenv(name.c_str());
  }

 private:
  const Pairs variables_;
};

// "off", "on", or why it cannot be.
std::string opened(const std::string& flag, const Pairs& variables) {
  const Environment environment(variables);
  telemetry::Metrics metrics;
  const auto tracing = open_tracing(flag, "test", metrics);
  if (!tracing) return tracing.error().message();
  return *tracing ? "on" : "off";
}

TEST(TracingTest, IsOffUnlessAnEndpointIsNamed) {
  EXPECT_EQ(opened("", {}), "off");
  EXPECT_EQ(opened("http://127.0.0.1:4318/v1/traces", {}), "on");
  EXPECT_EQ(opened("", {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"}}), "on");
  EXPECT_EQ(opened("", {{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/x"}}), "on");
  EXPECT_EQ(opened("", {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"},
                        {"OTEL_SDK_DISABLED", "true"}}),
            "off");
  EXPECT_EQ(opened("", {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"},
                        {"OTEL_TRACES_EXPORTER", "none"}}),
            "off");
}

TEST(TracingTest, MistakesAreTold) {
  const std::string url = "http://127.0.0.1:4318/v1/traces";
  const std::pair<Pairs, std::string> cases[] = {
      {{{"OTEL_TRACES_SAMPLER", "often"}}, "OTEL_TRACES_SAMPLER"},
      {{{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}}, "http/protobuf"},
      {{{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s"}}, "OTEL_EXPORTER_OTLP_TIMEOUT"},
      {{{"OTEL_EXPORTER_OTLP_HEADERS", "a b=c"}}, "OTEL_EXPORTER_OTLP_HEADERS"},
      {{{"OTEL_EXPORTER_OTLP_HEADERS", "a=c%0d%0ad: e"}}, "OTEL_EXPORTER_OTLP_HEADERS"},
      {{{"OTEL_BSP_SCHEDULE_DELAY", "0"}}, "OTEL_BSP_SCHEDULE_DELAY"},
  };
  for (const auto& [variables, message] : cases) {
    EXPECT_NE(opened(url, variables).find(message), std::string::npos) << message;
  }
  EXPECT_NE(opened("ftp://x", {}).find("endpoint of traces"), std::string::npos);
}

}  // namespace
}  // namespace sluice::cli
