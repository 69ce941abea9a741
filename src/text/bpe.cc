// Byte-pair encoding: over bytes with ranked merges (GPT-2 and after), over characters with ranked
// merges (tokenizer.json of SentencePiece models) or with scores (SentencePiece itself).
//
// Source: Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units",
// ACL 2016; Kudo, Richardson, "SentencePiece", EMNLP 2018.
#include <fmt/format.h>

#include <array>
#include <atomic>

#include "text/merging.h"
#include "text/utf8.h"
#include "text/word_model.h"

namespace sluice::text {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";
constexpr size_t kKeptSymbols = 4096;  // scratch space that a thread keeps between words

class Bpe : public WordModel {
 public:
  Bpe(const TokenizerSpec& spec, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary),
        over_bytes_(spec.kind == TokenizerKind::kByteBpe),
        by_score_(!over_bytes_ && spec.merges.empty()),
        byte_fallback_(spec.pipeline->byte_fallback),
        fuse_unk_(spec.pipeline->fuse_unk),
        ignore_merges_(spec.pipeline->ignore_merges),
        unk_(spec.unk.value_or(-1)),
        whole_(static_cast<size_t>(vocabulary.size())) {}

  Outcome add_merges(const TokenizerSpec& spec);
  void rank_scores(const TokenizerSpec& spec);
  void find_whether_words_end_at_spaces();

  void encode(std::string_view word, std::vector<int32_t>& out) const override {
    if (!cut_at_spaces_) return encode_whole(word, out);
    // No piece holds a space mark after other characters, so no merge crosses such a place.
    while (!word.empty()) {
      size_t end = 0;
      while (word.substr(end).starts_with(kSpaceMark)) end += kSpaceMark.size();
      end = std::min(word.find(kSpaceMark, end), word.size());
      encode_whole(word.substr(0, end), out);
      word.remove_prefix(end);
    }
  }

 private:
  enum Whole : uint8_t { kNotKnown, kYes, kNo };

  void encode_whole(std::string_view word, std::vector<int32_t>& out) const;
  void start_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  void merge(std::string_view word, std::vector<Symbol>& symbols) const;
  void emit(std::string_view word, const std::vector<Symbol>& symbols,
            std::vector<int32_t>& out) const;

  const Vocabulary& vocabulary_;
  const bool over_bytes_;
  const bool by_score_;
  const bool byte_fallback_;
  const bool fuse_unk_;
  const bool ignore_merges_;
  const int32_t unk_;
  bool cut_at_spaces_ = false;
  MergeTable merges_;
  std::vector<uint32_t> score_rank_;  // by id; equal scores have equal ranks
  // By id: whether merging the piece's own text yields the piece. Found out when first needed;
  // threads that race write the same answer.
  mutable std::vector<std::atomic<uint8_t>> whole_;
};

Outcome Bpe::add_merges(const TokenizerSpec& spec) {
  merges_ = MergeTable(spec.merges.size());
  PieceTable spelled(spec.pieces.size());
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    spelled.insert(spec.pieces[i], static_cast<int32_t>(i));
  }
  std::string joined;
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    const int32_t left_id = spelled.find(left);
    const int32_t right_id = spelled.find(right);
    joined.assign(left).append(right);
    const int32_t merged = spelled.find(joined);
    if (left_id < 0 || right_id < 0 || merged < 0) {
      const std::string& missing = left_id < 0 ? left : right_id < 0 ? right : joined;
      return invalid(fmt::format("merge {} (\"{}\" + \"{}\") names \"{}\", which is no token", rank,
                                 repair_utf8(left.substr(0, 40)), repair_utf8(right.substr(0, 40)),
                                 repair_utf8(missing.substr(0, 80))));
    }
    // A control token never comes from running text, however the text is spelled.
    const TokenType type = vocabulary_.type(merged);
    if (type == TokenType::kControl || type == TokenType::kUnknown) continue;
    merges_.insert(left_id, right_id, {static_cast<uint32_t>(rank), merged});
  }
  return {};
}

void Bpe::rank_scores(const TokenizerSpec& spec) {
  std::vector<float> sorted = spec.scores;
  std::ranges::sort(sorted, std::greater<>());
  sorted.erase(std::ranges::unique(sorted).begin(), sorted.end());
  score_rank_.resize(spec.scores.size());
  for (size_t i = 0; i < spec.scores.size(); ++i) {
    score_rank_[i] = static_cast<uint32_t>(
        std::ranges::lower_bound(sorted, spec.scores[i], std::greater<>()) - sorted.begin());
  }
}

void Bpe::find_whether_words_end_at_spaces() {
  if (over_bytes_) return;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    std::string_view text = vocabulary_.match_text(id);
    while (text.starts_with(kSpaceMark)) text.remove_prefix(kSpaceMark.size());
    if (text.find(kSpaceMark) != std::string_view::npos) return;
  }
  cut_at_spaces_ = true;
}

void Bpe::start_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  for (size_t i = 0; i < word.size();) {
    const size_t length = over_bytes_ ? 1 : char_length(word[i]);
    const int32_t id = over_bytes_ ? vocabulary_.byte_id(static_cast<uint8_t>(word[i]))
                                   : vocabulary_.find_match(word.substr(i, length));
    symbols.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(length), id});
    i += length;
  }
}

void Bpe::merge(std::string_view word, std::vector<Symbol>& symbols) const {
  if (by_score_) {
    merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> MergeTable::Merge {
      const int32_t id =
          vocabulary_.find_match(word.substr(left.begin, left.length + right.length));
      return id < 0 ? MergeTable::Merge{}
                    : MergeTable::Merge{score_rank_[static_cast<size_t>(id)], id};
    });
  } else {
    merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> MergeTable::Merge {
      return left.id < 0 || right.id < 0 ? MergeTable::Merge{} : merges_.find(left.id, right.id);
    });
  }
}

void Bpe::emit(std::string_view word, const std::vector<Symbol>& symbols,
               std::vector<int32_t>& out) const {
  bool after_unknown = false;
  for (const Symbol& symbol : symbols) {
    const std::string_view text = word.substr(symbol.begin, symbol.length);
    const bool spelled = symbol.id < 0 && byte_fallback_ && vocabulary_.can_spell(text);
    const bool unknown = symbol.id < 0 && !spelled;
    if (symbol.id >= 0) {
      out.push_back(symbol.id);
    } else if (spelled) {
      for (const char c : text) out.push_back(vocabulary_.byte_id(static_cast<uint8_t>(c)));
    } else if (unk_ >= 0 && !(after_unknown && fuse_unk_)) {
      out.push_back(unk_);
    }
    after_unknown = unknown;
  }
}

void Bpe::encode_whole(std::string_view word, std::vector<int32_t>& out) const {
  const int32_t id = vocabulary_.find_match(word);
  if (id >= 0) {
    std::atomic<uint8_t>& known = whole_[static_cast<size_t>(id)];
    if (ignore_merges_ || known.load(std::memory_order_relaxed) == kYes) {
      out.push_back(id);
      return;
    }
  }
  thread_local std::vector<Symbol> symbols;
  start_symbols(word, symbols);
  merge(word, symbols);
  if (id >= 0) {
    const bool yes = symbols.size() == 1 && symbols[0].id == id;
    whole_[static_cast<size_t>(id)].store(yes ? kYes : kNo, std::memory_order_relaxed);
  }
  emit(word, symbols, out);
  if (symbols.capacity() > kKeptSymbols) symbols = {};
}

}  // namespace

Result<std::unique_ptr<WordModel>> make_bpe(const TokenizerSpec& spec,
                                            const Vocabulary& vocabulary) {
  auto model = std::make_unique<Bpe>(spec, vocabulary);
  if (spec.kind == TokenizerKind::kSentencePieceBpe && spec.merges.empty()) {
    model->rank_scores(spec);
  } else {
    SLUICE_RETURN_IF_ERROR(model->add_merges(spec));
  }
  model->find_whether_words_end_at_spaces();
  return model;
}

}  // namespace sluice::text
