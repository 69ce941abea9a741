#include "golden.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "base/files.h"
#include "base/json.h"

namespace sluice::parity {
namespace {

constexpr size_t kMaxBytes = 4u << 20;

Result<std::vector<uint8_t>> from_base64(std::string_view text) {
  std::vector<uint8_t> out;
  uint32_t bits = 0;
  int held = 0;
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (const char c : text) {
    if (c == '=') break;
    const size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return invalid("not base64");
    bits = bits << 6 | static_cast<uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out.push_back(static_cast<uint8_t>(bits >> held));
    }
  }
  return out;
}

Result<std::vector<uint16_t>> read_words(const json::object& object, std::string_view key) {
  const std::string_view text = object.at(key).as_string();
  SLUICE_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, from_base64(text));
  std::vector<uint16_t> out;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    out.push_back(static_cast<uint16_t>(bytes[i] | bytes[i + 1] << 8));
  }
  return out;
}

Result<json::value> read_json(const std::filesystem::path& path) {
  SLUICE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxBytes));
  return parse_json(text);
}

Result<Golden> from_json(const json::object& o) {
  Golden g;
  g.model = o.at("model").as_string();
  g.kind = o.at("kind").as_string();
  g.sha256 = o.at("sha256").as_string();
  g.vocab = o.at("vocab").to_number<int>();
  g.context = o.at("context").to_number<int>();
  g.top = o.at("top").to_number<int>();
  g.step = 1.0f / o.at("step").to_number<float>();
  g.floor = -65535.0f * g.step;
  g.full_every = o.at("full_every").to_number<int>();
  SLUICE_ASSIGN_OR_RETURN(const auto ids, read_words(o, "ids"));
  SLUICE_ASSIGN_OR_RETURN(const auto logprobs, read_words(o, "logprobs"));
  SLUICE_ASSIGN_OR_RETURN(const auto full, read_words(o, "full"));
  if (ids.size() != logprobs.size()) return invalid("ids and logprobs differ in number");
  for (size_t i = 0; i < ids.size(); ++i) {
    g.likely.push_back({ids[i], -static_cast<float>(logprobs[i]) * g.step});
  }
  for (const uint16_t p : full) g.full.push_back(-static_cast<float>(p) * g.step);
  if (const json::value* greedy = o.if_contains("greedy")) {
    for (const json::value& t : greedy->as_array()) g.greedy.push_back(t.to_number<int32_t>());
  }
  return g;
}

}  // namespace

Result<Golden> read_golden(const std::filesystem::path& path) {
  SLUICE_ASSIGN_OR_RETURN(const json::value value, read_json(path));
  try {
    return from_json(value.as_object());
  } catch (const std::exception& e) {
    return invalid(fmt::format("{}: {}", path.string(), e.what()));
  }
}

Result<std::vector<std::vector<int32_t>>> read_prompts(const std::filesystem::path& path) {
  SLUICE_ASSIGN_OR_RETURN(const json::value value, read_json(path));
  std::vector<std::vector<int32_t>> out;
  try {
    for (const json::value& prompt : value.as_array()) {
      std::vector<int32_t>& tokens = out.emplace_back();
      for (const json::value& t : prompt.as_array()) tokens.push_back(t.to_number<int32_t>());
    }
  } catch (const std::exception& e) {
    return invalid(fmt::format("{}: {}", path.string(), e.what()));
  }
  return out;
}

}  // namespace sluice::parity
