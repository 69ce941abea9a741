// The stages of tokenizer.json: normalizers, pre-tokenizers, decoders.
#include <array>

#include "text/json_fields.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

struct Pattern {
  std::string text;
  bool regex = false;
};

// {"String": "…"} or {"Regex": "…"}.
Result<Pattern> read_pattern(const json::object& stage) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* pattern, object_field(stage, "pattern"));
  for (const bool regex : {false, true}) {
    const std::string_view key = regex ? "Regex" : "String";
    if (pattern == nullptr || find_field(*pattern, key) == nullptr) continue;
    SLUICE_ASSIGN_OR_RETURN(std::string text, string_field(*pattern, key, ""));
    return Pattern{std::move(text), regex};
  }
  return invalid("a \"pattern\" is missing; expected {\"String\": …} or {\"Regex\": …}");
}

Result<pretokenize::Behavior> read_behavior(const json::object& stage) {
  using pretokenize::Behavior;
  constexpr std::array<std::pair<std::string_view, Behavior>, 5> kBehaviors = {{
      {"Removed", Behavior::kRemoved},
      {"Isolated", Behavior::kIsolated},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous},
  }};
  SLUICE_ASSIGN_OR_RETURN(const std::string name, string_field(stage, "behavior", "Isolated"));
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  return unsupported_stage("split behavior", name,
                           "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

// "prepend_scheme", or the older flag "add_prefix_space".
Result<pretokenize::Prepend> read_prepend(const json::object& stage) {
  SLUICE_ASSIGN_OR_RETURN(const bool add, bool_field(stage, "add_prefix_space", true));
  SLUICE_ASSIGN_OR_RETURN(const std::string scheme,
                          string_field(stage, "prepend_scheme", add ? "always" : "never"));
  if (scheme == "always") return pretokenize::Prepend::kAlways;
  if (scheme == "first") return pretokenize::Prepend::kFirst;
  if (scheme == "never") return pretokenize::Prepend::kNever;
  return unsupported_stage("prepend_scheme", scheme, "always, first, never");
}

Result<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  out.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) {
      return invalid("\"precompiled_charsmap\" is not base64");
    }
    bits = (bits << 6) | static_cast<uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>((bits >> count) & 0xFF));
    }
  }
  return out;
}

Result<normalize::Step> read_bert_normalizer(const json::object& stage) {
  normalize::Bert bert;
  SLUICE_ASSIGN_OR_RETURN(bert.clean_text, bool_field(stage, "clean_text", true));
  SLUICE_ASSIGN_OR_RETURN(bert.chinese_chars, bool_field(stage, "handle_chinese_chars", true));
  SLUICE_ASSIGN_OR_RETURN(bert.lowercase, bool_field(stage, "lowercase", true));
  SLUICE_ASSIGN_OR_RETURN(bert.strip_accents, bool_field(stage, "strip_accents", bert.lowercase));
  return bert;
}

Result<normalize::Step> read_normalizer(const json::object& stage, std::string_view type) {
  using normalize::Form;
  if (type == "NFC") return normalize::Unicode{Form::kNfc};
  if (type == "NFD") return normalize::Unicode{Form::kNfd};
  if (type == "NFKC") return normalize::Unicode{Form::kNfkc};
  if (type == "NFKD") return normalize::Unicode{Form::kNfkd};
  if (type == "Lowercase") return normalize::Lowercase{};
  if (type == "StripAccents") return normalize::StripAccents{};
  if (type == "BertNormalizer") return read_bert_normalizer(stage);
  if (type == "Strip") {
    normalize::Strip strip;
    SLUICE_ASSIGN_OR_RETURN(strip.left, bool_field(stage, "strip_left", true));
    SLUICE_ASSIGN_OR_RETURN(strip.right, bool_field(stage, "strip_right", true));
    return strip;
  }
  if (type == "Replace") {
    SLUICE_ASSIGN_OR_RETURN(Pattern pattern, read_pattern(stage));
    SLUICE_ASSIGN_OR_RETURN(std::string content, string_field(stage, "content", ""));
    return normalize::Replace{std::move(pattern.text), pattern.regex, std::move(content)};
  }
  if (type == "Prepend") {
    SLUICE_ASSIGN_OR_RETURN(std::string text, string_field(stage, "prepend", ""));
    return normalize::Prepend{std::move(text)};
  }
  if (type == "Precompiled") {
    SLUICE_ASSIGN_OR_RETURN(const std::string coded,
                            string_field(stage, "precompiled_charsmap", ""));
    SLUICE_ASSIGN_OR_RETURN(std::string bytes, decode_base64(coded));
    return normalize::Precompiled{.charsmap = std::move(bytes), .by_grapheme = true};
  }
  return unsupported_stage("normalizer", type,
                           "NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, "
                           "Prepend, BertNormalizer, Precompiled, Sequence");
}

Result<pretokenize::Step> read_split(const json::object& stage) {
  SLUICE_ASSIGN_OR_RETURN(Pattern pattern, read_pattern(stage));
  SLUICE_ASSIGN_OR_RETURN(const pretokenize::Behavior behavior, read_behavior(stage));
  SLUICE_ASSIGN_OR_RETURN(const bool invert, bool_field(stage, "invert", false));
  return pretokenize::Split{std::move(pattern.text), pattern.regex, behavior, invert};
}

Result<pretokenize::Step> read_metaspace(const json::object& stage) {
  pretokenize::Metaspace metaspace;
  SLUICE_ASSIGN_OR_RETURN(metaspace.replacement,
                          string_field(stage, "replacement", metaspace.replacement));
  SLUICE_ASSIGN_OR_RETURN(metaspace.prepend, read_prepend(stage));
  SLUICE_ASSIGN_OR_RETURN(metaspace.split, bool_field(stage, "split", true));
  return metaspace;
}

Result<pretokenize::Step> read_pre_tokenizer(const json::object& stage, std::string_view type) {
  if (type == "Split") return read_split(stage);
  if (type == "Metaspace") return read_metaspace(stage);
  if (type == "Whitespace") return pretokenize::Whitespace{};
  if (type == "WhitespaceSplit") return pretokenize::WhitespaceSplit{};
  if (type == "BertPreTokenizer") return pretokenize::Bert{};
  if (type == "ByteLevel") {
    pretokenize::ByteLevel bytes;
    SLUICE_ASSIGN_OR_RETURN(bytes.add_prefix_space, bool_field(stage, "add_prefix_space", true));
    SLUICE_ASSIGN_OR_RETURN(bytes.use_regex, bool_field(stage, "use_regex", true));
    return bytes;
  }
  if (type == "Digits") {
    SLUICE_ASSIGN_OR_RETURN(const bool individual, bool_field(stage, "individual_digits", false));
    return pretokenize::Digits{individual};
  }
  if (type == "Punctuation") {
    SLUICE_ASSIGN_OR_RETURN(const pretokenize::Behavior behavior, read_behavior(stage));
    return pretokenize::Punctuation{behavior};
  }
  if (type == "CharDelimiterSplit") {
    SLUICE_ASSIGN_OR_RETURN(std::string delimiter, string_field(stage, "delimiter", ""));
    return pretokenize::Split{std::move(delimiter), false, pretokenize::Behavior::kRemoved, false};
  }
  return unsupported_stage("pre_tokenizer", type,
                           "ByteLevel, Split, Metaspace, Digits, Whitespace, WhitespaceSplit, "
                           "BertPreTokenizer, Punctuation, CharDelimiterSplit, Sequence");
}

Outcome read_decoder(const json::object& stage, std::string_view type, Decoder& decoder) {
  if (type == "ByteLevel") {
    decoder.byte_level = true;
  } else if (type == "ByteFallback") {
    decoder.byte_fallback = true;
  } else if (type == "Fuse") {
    return {};  // joining the pieces: what decoding does anyway
  } else if (type == "Metaspace") {
    SLUICE_ASSIGN_OR_RETURN(decoder.space, string_field(stage, "replacement", "\u2581"));
    SLUICE_ASSIGN_OR_RETURN(const pretokenize::Prepend prepend, read_prepend(stage));
    decoder.strip_first_piece = prepend != pretokenize::Prepend::kNever;
  } else if (type == "Replace") {
    SLUICE_ASSIGN_OR_RETURN(Pattern pattern, read_pattern(stage));
    SLUICE_ASSIGN_OR_RETURN(const std::string content, string_field(stage, "content", ""));
    if (pattern.regex || content != " " || pattern.text.empty() || !decoder.space.empty()) {
      return fail(Code::kUnimplemented,
                  "a Replace decoder is supported once, from a fixed string to one space");
    }
    decoder.space = std::move(pattern.text);
  } else if (type == "Strip") {
    SLUICE_ASSIGN_OR_RETURN(const std::string content, string_field(stage, "content", " "));
    SLUICE_ASSIGN_OR_RETURN(const int64_t start, int_field(stage, "start", 0));
    SLUICE_ASSIGN_OR_RETURN(const int64_t stop, int_field(stage, "stop", 0));
    if (content != " " || stop != 0 || start < 0 || start > 64) {
      return fail(Code::kUnimplemented,
                  "a Strip decoder is supported for spaces at the start only (stop = 0)");
    }
    decoder.strip_start = static_cast<int>(start);
  } else if (type == "WordPiece") {
    decoder.words = true;
    SLUICE_ASSIGN_OR_RETURN(decoder.continuing_prefix, string_field(stage, "prefix", "##"));
    SLUICE_ASSIGN_OR_RETURN(decoder.cleanup, bool_field(stage, "cleanup", true));
  } else {
    return unsupported_stage("decoder", type,
                             "ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip, WordPiece, "
                             "Sequence");
  }
  return {};
}

}  // namespace

Outcome parse_json_normalizers(const json::object& root, TokenizerSpec& spec) {
  return each_stage(root, "normalizer", "normalizers",
                    [&](const json::object& stage, std::string_view type) -> Outcome {
                      SLUICE_ASSIGN_OR_RETURN(normalize::Step step, read_normalizer(stage, type));
                      spec.pipeline->normalizers.push_back(std::move(step));
                      return {};
                    });
}

Outcome parse_json_pre_tokenizers(const json::object& root, TokenizerSpec& spec) {
  return each_stage(root, "pre_tokenizer", "pretokenizers",
                    [&](const json::object& stage, std::string_view type) -> Outcome {
                      SLUICE_ASSIGN_OR_RETURN(pretokenize::Step step,
                                              read_pre_tokenizer(stage, type));
                      spec.pipeline->pre_tokenizers.push_back(std::move(step));
                      return {};
                    });
}

Outcome parse_json_decoders(const json::object& root, TokenizerSpec& spec) {
  Decoder& decoder = spec.pipeline->decoder;
  if (find_field(root, "decoder") == nullptr) {
    decoder.words = true;  // pieces joined by spaces
    return {};
  }
  return each_stage(root, "decoder", "decoders",
                    [&](const json::object& stage, std::string_view type) {
                      return read_decoder(stage, type, decoder);
                    });
}

}  // namespace sluice::text
