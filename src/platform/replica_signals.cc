#include "platform/replica_signals.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace sluice::platform {
namespace {

constexpr double kMaxTokens = 1e12;
// Stands for the memory of a server that tells its share only.
constexpr double kNominalTokens = 1e6;

struct Sample {
  std::string_view name;
  std::string_view labels;  // between the braces
  double value = 0;
};

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with('\r') || text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// NAME[{LABELS}] VALUE [TIME]; comments and other lines give nothing.
std::optional<Sample> parse_sample(std::string_view line) {
  line = trimmed(line);
  if (line.empty() || line.front() == '#') return std::nullopt;
  Sample sample;
  const size_t end = line.find_first_of("{ ");
  if (end == std::string_view::npos) return std::nullopt;
  sample.name = line.substr(0, end);
  if (line[end] == '{') {
    // A brace may stand in a label's value: the last one closes.
    const size_t close = line.rfind('}');
    if (close == std::string_view::npos || close < end) return std::nullopt;
    sample.labels = line.substr(end + 1, close - end - 1);
    line = trimmed(line.substr(close + 1));
  } else {
    line = trimmed(line.substr(end));
  }
  const auto value = number(line.substr(0, line.find(' ')));
  if (!value) return std::nullopt;
  sample.value = *value;
  return sample;
}

double label_number(std::string_view labels, std::string_view name) {
  const std::string key = std::string(name) + "=\"";
  const size_t at = labels.find(key);
  if (at == std::string_view::npos) return 0;
  const std::string_view text = labels.substr(at + key.size());
  return number(text.substr(0, text.find('"'))).value_or(0);
}

int64_t tokens(double value) {
  return static_cast<int64_t>(std::llround(std::clamp(value, 0.0, kMaxTokens)));
}

}  // namespace

std::optional<ReplicaSignals> parse_signals(std::string_view page) {
  double waiting = 0;
  double prompts = 0;
  double prompt_tokens = 0;
  double use = 0;
  double capacity = 0;
  int shares = 0;
  bool known = false;
  while (!page.empty()) {
    const size_t end = page.find('\n');
    const auto sample = parse_sample(page.substr(0, end));
    page.remove_prefix(end == std::string_view::npos ? page.size() : end + 1);
    if (!sample) continue;
    const double value = std::clamp(sample->value, 0.0, kMaxTokens);
    if (sample->name == "vllm:num_requests_waiting") {
      waiting += value;
      known = true;
    } else if (sample->name == "vllm:kv_cache_usage_perc") {
      use += std::min(value, 1.0);
      ++shares;
      known = true;
    } else if (sample->name == "vllm:cache_config_info") {
      capacity += std::clamp(label_number(sample->labels, "num_gpu_blocks") *
                                 label_number(sample->labels, "block_size"),
                             0.0, kMaxTokens);
    } else if (sample->name == "vllm:request_prompt_tokens_sum") {
      prompt_tokens += value;
    } else if (sample->name == "vllm:request_prompt_tokens_count") {
      prompts += value;
    }
  }
  if (!known) return std::nullopt;
  constexpr double kUsualPrompt = 512;  // before any was answered
  const double usual = prompts > 0 ? prompt_tokens / prompts : kUsualPrompt;
  ReplicaSignals out{.queued_tokens = tokens(waiting * std::max(1.0, usual))};
  if (shares > 0) {
    const double whole = capacity > 0 ? capacity : kNominalTokens;
    out.kv_capacity_tokens = tokens(whole);
    out.kv_used_tokens = tokens(whole * use / shares);
  }
  return out;
}

}  // namespace sluice::platform
