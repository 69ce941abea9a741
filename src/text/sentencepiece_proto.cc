#include "text/sentencepiece_proto.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "text/proto_reader.h"

namespace sluice::text {
namespace {

// trainer_spec.model_type
constexpr int32_t kModelUnigram = 1;
constexpr int32_t kModelBpe = 2;

struct Trainer {
  int32_t model_type = kModelUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  int32_t unk = 0, bos = 1, eos = 2, pad = -1;
};

struct NormalizerFields {
  std::string_view charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

// Calls visit(field) for each field of a message.
template <typename Visit>
Outcome each_field(std::string_view bytes, size_t base, Visit visit) {
  ProtoReader reader(bytes, base);
  while (true) {
    SLUICE_ASSIGN_OR_RETURN(const auto field, reader.next());
    if (!field) return {};
    SLUICE_RETURN_IF_ERROR(visit(*field));
  }
}

Outcome read_piece(const ProtoReader::Field& message, TokenizerSpec& spec) {
  if (spec.pieces.size() >= limits::kMaxVocabulary) {
    return fail(Code::kTooLarge, fmt::format("the SentencePiece model has more than {} pieces",
                                             limits::kMaxVocabulary));
  }
  std::string piece;
  float score = 0;
  uint64_t type = 1;
  SLUICE_RETURN_IF_ERROR(each_field(message.bytes, message.offset, [&](const auto& field) {
    if (field.number == 1 && field.wire_type == 2) piece = field.bytes;
    if (field.number == 2 && field.wire_type == 5) score = field.as_float();
    if (field.number == 3 && field.wire_type == 0) type = field.value;
    return Outcome();
  }));
  if (type < 1 || type > 6) {
    return invalid(fmt::format("piece {} of the SentencePiece model has type {}; expected 1 to 6",
                               spec.pieces.size(), type));
  }
  spec.pieces.push_back(std::move(piece));
  spec.scores.push_back(score);
  spec.types.push_back(static_cast<TokenType>(type));
  return {};
}

Outcome read_trainer(const ProtoReader::Field& message, Trainer& trainer) {
  return each_field(message.bytes, message.offset, [&](const auto& field) {
    if (field.wire_type != 0) return Outcome();
    switch (field.number) {
      case 3:
        trainer.model_type = field.as_int();
        break;
      case 24:
        trainer.whitespace_as_suffix = field.value != 0;
        break;
      case 35:
        trainer.byte_fallback = field.value != 0;
        break;
      case 40:
        trainer.unk = field.as_int();
        break;
      case 41:
        trainer.bos = field.as_int();
        break;
      case 42:
        trainer.eos = field.as_int();
        break;
      case 43:
        trainer.pad = field.as_int();
        break;
      default:
        break;
    }
    return Outcome();
  });
}

Outcome read_normalizer(const ProtoReader::Field& message, NormalizerFields& normalizer) {
  return each_field(message.bytes, message.offset, [&](const auto& field) {
    if (field.number == 2 && field.wire_type == 2) normalizer.charsmap = field.bytes;
    if (field.wire_type != 0) return Outcome();
    if (field.number == 3) normalizer.add_dummy_prefix = field.value != 0;
    if (field.number == 4) normalizer.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) normalizer.escape_whitespaces = field.value != 0;
    return Outcome();
  });
}

std::optional<int32_t> id_or_none(int32_t id, size_t size) {
  return id >= 0 && static_cast<size_t>(id) < size ? std::optional(id) : std::nullopt;
}

Outcome finish(const Trainer& trainer, const NormalizerFields& normalizer, TokenizerSpec& spec) {
  if (trainer.model_type != kModelUnigram && trainer.model_type != kModelBpe) {
    return fail(Code::kUnimplemented,
                fmt::format("the SentencePiece model is of type {}; supported are 1 (unigram) and "
                            "2 (BPE)",
                            trainer.model_type));
  }
  if (trainer.whitespace_as_suffix) {
    return fail(Code::kUnimplemented,
                "the SentencePiece model treats whitespace as a suffix, which is not supported");
  }
  spec.kind =
      trainer.model_type == kModelBpe ? TokenizerKind::kSentencePieceBpe : TokenizerKind::kUnigram;
  spec.unk = id_or_none(trainer.unk, spec.pieces.size());
  spec.bos = id_or_none(trainer.bos, spec.pieces.size());
  spec.eos = id_or_none(trainer.eos, spec.pieces.size());
  spec.pad = id_or_none(trainer.pad, spec.pieces.size());
  spec.add_space_prefix = normalizer.add_dummy_prefix;
  spec.remove_extra_whitespaces = normalizer.remove_extra_whitespaces;
  spec.precompiled_charsmap = normalizer.charsmap;
  SLUICE_RETURN_IF_ERROR(complete_spec(spec));
  for (normalize::Step& step : spec.pipeline->normalizers) {
    if (auto* spaces = std::get_if<normalize::Spaces>(&step)) {
      spaces->escape = normalizer.escape_whitespaces;
      spaces->whole_text = true;
    }
  }
  spec.pipeline->byte_fallback = trainer.byte_fallback;
  return {};
}

}  // namespace

Result<TokenizerSpec> parse_sentencepiece_model(std::string_view bytes) {
  if (bytes.size() > limits::kMaxTokenizerBytes) {
    return fail(Code::kTooLarge,
                fmt::format("a SentencePiece model of {} bytes; at most {} are read", bytes.size(),
                            limits::kMaxTokenizerBytes));
  }
  TokenizerSpec spec;
  Trainer trainer;
  NormalizerFields normalizer;
  SLUICE_RETURN_IF_ERROR(each_field(bytes, 0, [&](const ProtoReader::Field& field) -> Outcome {
    if (field.wire_type != 2) return {};
    if (field.number == 1) return read_piece(field, spec);
    if (field.number == 2) return read_trainer(field, trainer);
    if (field.number == 3) return read_normalizer(field, normalizer);
    return {};
  }));
  SLUICE_RETURN_IF_ERROR(finish(trainer, normalizer, spec));
  return spec;
}

}  // namespace sluice::text
