// The pre-tokenizer patterns that GGUF files name in tokenizer.ggml.pre. The patterns themselves
// are facts about the models (each stands in that model's tokenizer.json).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::text {

// GPT-2's: what ByteLevel splits by.
extern const std::string_view kGpt2Pattern;

struct PrePattern {
  // Applied one after the other; each cuts its matches out of what the one before left together.
  std::vector<std::string_view> patterns;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
  bool nfc = false;      // the model's text is put into NFC first
};

std::optional<PrePattern> find_pre_pattern(std::string_view name);

// Whether it is one of the patterns of this table, which need no proof of good behaviour.
bool is_known_pattern(std::string_view pattern);

// All known names, sorted, separated by ", ".
std::string known_pre_patterns();

}  // namespace sluice::text
