#include "text/tokenizer.h"

#include <fmt/format.h>

#include "text/added_tokens.h"
#include "text/byte_alphabet.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/trusted_text.h"
#include "text/vocabulary.h"
#include "text/word_model.h"

namespace sluice::text {
namespace {

class PipelineTokenizer : public Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> create(TokenizerSpec spec);

  std::vector<int32_t> encode(std::span<const Segment> segments,
                              SpecialTokens special) const override;
  std::string_view token_bytes(int32_t id) const override {
    return vocabulary_.contains(id) ? vocabulary_.output(id) : std::string_view();
  }
  std::string_view token_piece(int32_t id) const override {
    if (!vocabulary_.contains(id)) return {};
    return spec_.pieces[static_cast<size_t>(id)];
  }
  bool is_special(int32_t id) const override {
    return vocabulary_.contains(id) && (vocabulary_.type(id) == TokenType::kControl ||
                                        vocabulary_.type(id) == TokenType::kUnknown);
  }
  std::optional<int32_t> find_piece(std::string_view piece) const override {
    const int32_t id = vocabulary_.find_piece(piece);
    return id < 0 ? std::nullopt : std::optional(id);
  }
  int32_t vocab_size() const override { return vocabulary_.size(); }
  const TokenizerSpec& spec() const override { return spec_; }

 private:
  explicit PipelineTokenizer(TokenizerSpec spec) : spec_(std::move(spec)) {}

  Outcome build();
  Outcome build_added();
  // `range` of the whole text, between two added tokens.
  void encode_fragment(const TrustedText& text, TextRange range, std::vector<int32_t>& out) const;
  void encode_words(std::string fragment, bool first, std::vector<int32_t>& out) const;

  TokenizerSpec spec_;
  Vocabulary vocabulary_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokens in_raw_text_;
  AddedTokens in_normalized_text_;
  std::unique_ptr<WordModel> model_;
};

// Vocabulary's views point into spec_.pieces: spec_ must not move after this.
Outcome PipelineTokenizer::build() {
  const Pipeline& pipeline = *spec_.pipeline;
  SLUICE_ASSIGN_OR_RETURN(vocabulary_, Vocabulary::create(spec_));
  SLUICE_ASSIGN_OR_RETURN(normalizer_, Normalizer::create(pipeline.normalizers));
  SLUICE_ASSIGN_OR_RETURN(pre_tokenizer_, PreTokenizer::create(pipeline.pre_tokenizers));
  SLUICE_RETURN_IF_ERROR(build_added());
  switch (spec_.kind) {
    case TokenizerKind::kByteBpe:
    case TokenizerKind::kSentencePieceBpe: {
      SLUICE_ASSIGN_OR_RETURN(model_, make_bpe(spec_, vocabulary_));
      break;
    }
    case TokenizerKind::kUnigram: {
      SLUICE_ASSIGN_OR_RETURN(model_, make_unigram(spec_, vocabulary_));
      break;
    }
    case TokenizerKind::kWordPiece: {
      SLUICE_ASSIGN_OR_RETURN(model_, make_word_piece(spec_, vocabulary_));
      break;
    }
  }
  spec_.merges = {};
  return {};
}

Outcome PipelineTokenizer::build_added() {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  for (const AddedToken& token : spec_.pipeline->added) {
    if (!token.normalized) {
      raw.push_back(token);
      continue;
    }
    normalized.push_back(token);
    normalized.back().content = normalizer_.apply(token.content, {});
  }
  SLUICE_ASSIGN_OR_RETURN(in_raw_text_, AddedTokens::create(std::move(raw)));
  SLUICE_ASSIGN_OR_RETURN(in_normalized_text_, AddedTokens::create(std::move(normalized)));
  return {};
}

Result<std::unique_ptr<Tokenizer>> PipelineTokenizer::create(TokenizerSpec spec) {
  std::unique_ptr<PipelineTokenizer> tokenizer(new PipelineTokenizer(std::move(spec)));
  SLUICE_RETURN_IF_ERROR(tokenizer->build());
  return tokenizer;
}

std::vector<int32_t> PipelineTokenizer::encode(std::span<const Segment> segments,
                                               SpecialTokens special) const {
  const TrustedText text(segments);
  const Pipeline& pipeline = *spec_.pipeline;
  std::vector<int32_t> out;
  out.reserve(text.text().size() / 3 + 8);
  if (special == SpecialTokens::kAdd) out = pipeline.prefix;
  const auto is_trusted = [&](size_t begin, size_t end) { return text.is_trusted(begin, end); };
  size_t done = 0;
  while (!in_raw_text_.empty()) {
    const auto match = in_raw_text_.find(text.text(), done, is_trusted);
    if (!match) break;
    const bool marked = match->range.begin == 0 && normalizer_.marks_start() &&
                        vocabulary_.type(match->id) == TokenType::kUserDefined;
    if (marked) encode_words(normalizer_.apply("", {.first = true, .last = false}), true, out);
    encode_fragment(text, {done, match->range.begin}, out);
    out.push_back(match->id);
    done = match->range.end;
  }
  encode_fragment(text, {done, text.text().size()}, out);
  if (special == SpecialTokens::kAdd) {
    out.insert(out.end(), pipeline.suffix.begin(), pipeline.suffix.end());
  }
  return out;
}

void PipelineTokenizer::encode_fragment(const TrustedText& text, TextRange range,
                                        std::vector<int32_t>& out) const {
  if (range.begin >= range.end) return;
  const std::string_view raw =
      std::string_view(text.text()).substr(range.begin, range.end - range.begin);
  const bool first = range.begin == 0;
  std::string normalized =
      normalizer_.apply(raw, {.first = first, .last = range.end == text.text().size()});
  if (in_normalized_text_.empty()) return encode_words(std::move(normalized), first, out);

  // Where normalization changed nothing, trust is known byte by byte; else the whole fragment must
  // be trusted.
  const bool unchanged = normalized == raw;
  const bool all_trusted = text.is_trusted(range.begin, range.end);
  const auto is_trusted = [&](size_t begin, size_t end) {
    return all_trusted || (unchanged && text.is_trusted(range.begin + begin, range.begin + end));
  };
  size_t done = 0;
  while (const auto match = in_normalized_text_.find(normalized, done, is_trusted)) {
    encode_words(normalized.substr(done, match->range.begin - done), first && done == 0, out);
    out.push_back(match->id);
    done = match->range.end;
  }
  encode_words(normalized.substr(done), first && done == 0, out);
}

void PipelineTokenizer::encode_words(std::string fragment, bool first,
                                     std::vector<int32_t>& out) const {
  if (fragment.empty()) return;
  const Words words = pre_tokenizer_.split(std::move(fragment), first);
  const bool spelled = words.in_byte_alphabet && spec_.kind == TokenizerKind::kByteBpe;
  for (const TextRange& range : words.ranges) {
    const std::string_view word =
        std::string_view(words.text).substr(range.begin, range.end - range.begin);
    if (!spelled) {
      model_->encode(word, out);
    } else if (const auto bytes = from_byte_alphabet(word)) {
      model_->encode(*bytes, out);
    }
  }
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(TokenizerSpec spec) {
  SLUICE_RETURN_IF_ERROR(complete_spec(spec));
  return PipelineTokenizer::create(std::move(spec));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special,
                                       bool trusted) const {
  const Segment segment{std::string(text), trusted};
  return encode(std::span(&segment, 1), special);
}

}  // namespace sluice::text
