// Unigram language model: the segmentation whose pieces have the highest sum of scores, by
// Viterbi's algorithm over all pieces that match at each place.
//
// Source: Kudo, "Subword Regularization", ACL 2018.
#include <algorithm>
#include <limits>

#include "text/piece_trie.h"
#include "text/utf8.h"
#include "text/word_model.h"

namespace sluice::text {
namespace {

// An unknown character costs this much more than the worst piece.
constexpr double kUnknownPenalty = 10.0;

class Unigram : public WordModel {
 public:
  Unigram(const TokenizerSpec& spec, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary),
        scores_(spec.scores),
        byte_fallback_(spec.pipeline->byte_fallback),
        fuse_unk_(spec.pipeline->fuse_unk),
        float_scores_(spec.pipeline->float_scores),
        unk_(spec.unk.value_or(-1)) {
    std::vector<std::pair<std::string_view, int32_t>> entries;
    double lowest = std::numeric_limits<double>::max();
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      const TokenType type = vocabulary.type(id);
      if (type == TokenType::kNormal) {
        lowest = std::min(lowest, static_cast<double>(scores_[static_cast<size_t>(id)]));
      }
      if (type == TokenType::kNormal || type == TokenType::kUserDefined) {
        entries.emplace_back(vocabulary.match_text(id), id);
      }
    }
    unknown_score_ = (entries.empty() ? 0.0 : lowest) - kUnknownPenalty;
    trie_ = PieceTrie(std::move(entries));
  }

  void encode(std::string_view word, std::vector<int32_t>& out) const override;

 private:
  // The best way to reach a place of the word.
  struct Step {
    double score = 0;
    size_t begin = 0;
    int32_t id = kUnreached;
  };
  static constexpr int32_t kUnknown = -1;
  static constexpr int32_t kUnreached = -2;

  // SentencePiece compares sums of 64 bits with sums that it stored in 32, which decides between
  // segmentations of equal score.
  void relax(std::vector<Step>& best, size_t begin, size_t end, int32_t id, double score) const {
    const double sum = score + best[begin].score;
    if (best[end].id != kUnreached && sum <= best[end].score) return;
    best[end] = {float_scores_ ? static_cast<double>(static_cast<float>(sum)) : sum, begin, id};
  }

  const Vocabulary& vocabulary_;
  const std::vector<float> scores_;
  PieceTrie trie_;
  double unknown_score_ = 0;
  const bool byte_fallback_;
  const bool fuse_unk_;
  const bool float_scores_;
  const int32_t unk_;
};

void Unigram::encode(std::string_view word, std::vector<int32_t>& out) const {
  std::vector<Step> best(word.size() + 1);
  for (size_t begin = 0; begin < word.size();) {
    const size_t length = char_length(word[begin]);
    bool covered = false;
    trie_.prefixes(word.substr(begin), [&](size_t bytes, int32_t id) {
      relax(best, begin, begin + bytes, id, scores_[static_cast<size_t>(id)]);
      covered |= bytes == length;
    });
    if (!covered) relax(best, begin, begin + length, kUnknown, unknown_score_);
    begin += length;
  }
  const size_t first = out.size();
  for (size_t end = word.size(); end > 0;) {
    const Step& step = best[end];
    if (step.id >= 0) {
      out.push_back(step.id);
    } else if (byte_fallback_ && vocabulary_.can_spell(word.substr(step.begin, end - step.begin))) {
      for (size_t i = end; i > step.begin; --i) {
        out.push_back(vocabulary_.byte_id(static_cast<uint8_t>(word[i - 1])));
      }
    } else {
      const bool fused = fuse_unk_ && out.size() > first && out.back() == unk_ && end < word.size();
      if (!fused) out.push_back(unk_);
    }
    end = step.begin;
  }
  std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
}

}  // namespace

Result<std::unique_ptr<WordModel>> make_unigram(const TokenizerSpec& spec,
                                                const Vocabulary& vocabulary) {
  return std::make_unique<Unigram>(spec, vocabulary);
}

}  // namespace sluice::text
