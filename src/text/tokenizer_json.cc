#include "text/tokenizer_json.h"

#include <algorithm>
#include <unordered_map>

#include "base/limits.h"
#include "text/chat_markers.h"
#include "text/json_fields.h"

namespace sluice::text {
namespace {

constexpr size_t kMaxSurrounding = 64;

// A token of "added_tokens"; it may name an id that the model's vocabulary lacks.
Outcome add_token(const json::object& entry, int64_t id, TokenizerSpec& spec) {
  if (id < 0 || static_cast<uint64_t>(id) >= limits::kMaxVocabulary) {
    return invalid(
        fmt::format("an added token has id {}; expected 0 to {}", id, limits::kMaxVocabulary - 1));
  }
  AddedToken token;
  token.id = static_cast<int32_t>(id);
  SLUICE_ASSIGN_OR_RETURN(token.content, string_field(entry, "content", ""));
  SLUICE_ASSIGN_OR_RETURN(token.lstrip, bool_field(entry, "lstrip", false));
  SLUICE_ASSIGN_OR_RETURN(token.rstrip, bool_field(entry, "rstrip", false));
  SLUICE_ASSIGN_OR_RETURN(token.single_word, bool_field(entry, "single_word", false));
  SLUICE_ASSIGN_OR_RETURN(const bool special, bool_field(entry, "special", false));
  SLUICE_ASSIGN_OR_RETURN(token.normalized, bool_field(entry, "normalized", !special));
  token.trusted_only = special || is_chat_marker(token.content);
  const auto index = static_cast<size_t>(id);
  if (index >= spec.pieces.size()) {
    spec.pieces.resize(index + 1);
    spec.types.resize(index + 1, TokenType::kUnused);
  }
  spec.pieces[index] = token.content;
  if (spec.types[index] != TokenType::kUnknown) {
    spec.types[index] = special ? TokenType::kControl : TokenType::kUserDefined;
  }
  if (!token.content.empty()) spec.pipeline->added.push_back(std::move(token));
  return {};
}

Outcome read_added_tokens(const json::object& root, TokenizerSpec& spec) {
  const json::value* added = find_field(root, "added_tokens");
  if (added == nullptr) return {};
  if (!added->is_array()) return wrong_kind("added_tokens", "a list", *added);
  for (const json::value& entry : added->get_array()) {
    if (!entry.is_object()) return wrong_kind("added_tokens", "a list of objects", entry);
    SLUICE_ASSIGN_OR_RETURN(const int64_t id, int_field(entry.get_object(), "id", -1));
    SLUICE_RETURN_IF_ERROR(add_token(entry.get_object(), id, spec));
  }
  return {};
}

// tokenizer_config.json may add tokens that tokenizer.json does not have.
Outcome read_config_tokens(const json::object& config, TokenizerSpec& spec) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* tokens, object_field(config, "added_tokens_decoder"));
  if (tokens == nullptr) return {};
  std::vector<bool> known(spec.pieces.size());
  for (const AddedToken& token : spec.pipeline->added) known[static_cast<size_t>(token.id)] = true;
  for (const auto& entry : *tokens) {
    int64_t id = 0;
    for (const char c : entry.key()) {
      if (c < '0' || c > '9' || id >= static_cast<int64_t>(limits::kMaxVocabulary)) {
        return invalid(fmt::format("\"added_tokens_decoder\" has the key \"{}\"; expected ids",
                                   std::string_view(entry.key()).substr(0, 80)));
      }
      id = id * 10 + (c - '0');
    }
    if (static_cast<size_t>(id) < known.size() && known[static_cast<size_t>(id)]) continue;
    if (!entry.value().is_object()) {
      return wrong_kind("added_tokens_decoder", "objects", entry.value());
    }
    SLUICE_RETURN_IF_ERROR(add_token(entry.value().get_object(), id, spec));
  }
  return {};
}

Result<std::vector<int32_t>> read_ids(const json::object& tokens, std::string_view name) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* token, object_field(tokens, name));
  const json::value* ids = token == nullptr ? nullptr : find_field(*token, "ids");
  if (ids == nullptr || !ids->is_array() || ids->get_array().size() > kMaxSurrounding) {
    return invalid(
        fmt::format("the template names the special token \"{}\", which "
                    "\"special_tokens\" gives no ids",
                    name.substr(0, 80)));
  }
  std::vector<int32_t> out;
  for (const json::value& id : ids->get_array()) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > INT32_MAX) {
      return wrong_kind("ids", "token ids", id);
    }
    out.push_back(static_cast<int32_t>(id.get_int64()));
  }
  return out;
}

// Of TemplateProcessing only the form for one text is read.
Outcome read_template(const json::object& stage, Pipeline& pipeline) {
  const json::value* single = find_field(stage, "single");
  SLUICE_ASSIGN_OR_RETURN(const json::object* tokens, object_field(stage, "special_tokens"));
  if (single == nullptr || !single->is_array() || single->get_array().size() > kMaxSurrounding) {
    return invalid("a TemplateProcessing post_processor has no short list \"single\"");
  }
  std::vector<int32_t> before;
  std::vector<int32_t> after;
  int texts = 0;
  for (const json::value& part : single->get_array()) {
    if (!part.is_object()) return wrong_kind("single", "a list of objects", part);
    SLUICE_ASSIGN_OR_RETURN(const json::object* token,
                            object_field(part.get_object(), "SpecialToken"));
    if (token == nullptr) {
      ++texts;
      continue;
    }
    SLUICE_ASSIGN_OR_RETURN(const std::string name, string_field(*token, "id", ""));
    SLUICE_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                            read_ids(tokens == nullptr ? json::object() : *tokens, name));
    auto& side = texts == 0 ? before : after;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (texts != 1) {
    return invalid(fmt::format("a template for one text holds it {} times", texts));
  }
  pipeline.prefix.insert(pipeline.prefix.begin(), before.begin(), before.end());
  pipeline.suffix.insert(pipeline.suffix.end(), after.begin(), after.end());
  return {};
}

// BertProcessing and RobertaProcessing: "cls" and "sep" are [token, id].
Outcome read_cls_sep(const json::object& stage, Pipeline& pipeline) {
  const auto id_of = [&](std::string_view key) -> Result<int32_t> {
    const json::value* pair = find_field(stage, key);
    if (pair == nullptr || !pair->is_array() || pair->get_array().size() != 2 ||
        !pair->get_array()[1].is_int64()) {
      return invalid(fmt::format("the post_processor's \"{}\" is not [token, id]", key));
    }
    const int64_t id = pair->get_array()[1].get_int64();
    if (id < 0 || id > INT32_MAX) return invalid(fmt::format("\"{}\" has id {}", key, id));
    return static_cast<int32_t>(id);
  };
  SLUICE_ASSIGN_OR_RETURN(const int32_t cls, id_of("cls"));
  SLUICE_ASSIGN_OR_RETURN(const int32_t sep, id_of("sep"));
  pipeline.prefix.insert(pipeline.prefix.begin(), cls);
  pipeline.suffix.push_back(sep);
  return {};
}

Outcome read_post_processors(const json::object& root, TokenizerSpec& spec) {
  return each_stage(root, "post_processor", "processors",
                    [&](const json::object& stage, std::string_view type) -> Outcome {
                      if (type == "TemplateProcessing") return read_template(stage, *spec.pipeline);
                      if (type == "BertProcessing" || type == "RobertaProcessing") {
                        return read_cls_sep(stage, *spec.pipeline);
                      }
                      if (type == "ByteLevel") return {};  // moves offsets only
                      return unsupported_stage("post_processor", type,
                                               "TemplateProcessing, ByteLevel, BertProcessing, "
                                               "RobertaProcessing, Sequence");
                    });
}

// The id of a token that the configuration names: "…" or {"content": "…"}.
Result<std::optional<int32_t>> named_token(
    const json::object& config, std::string_view key,
    const std::unordered_map<std::string_view, int32_t>& ids) {
  const json::value* value = find_field(config, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) value = find_field(value->get_object(), "content");
  if (value == nullptr || !value->is_string()) {
    return invalid(fmt::format("\"{}\" of tokenizer_config.json is not a token", key));
  }
  const auto found = ids.find(value->get_string());
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

// transformers' Llama and Gemma tokenizers put BOS and EOS as their flags say, whatever the
// post_processor does; other classes leave that to the post_processor.
Outcome read_surrounding(const json::object& config, TokenizerSpec& spec) {
  Pipeline& pipeline = *spec.pipeline;
  SLUICE_ASSIGN_OR_RETURN(const std::string name, string_field(config, "tokenizer_class", ""));
  const bool by_flags = name.starts_with("LlamaTokenizer") || name.starts_with("GemmaTokenizer") ||
                        name.starts_with("CodeLlamaTokenizer");
  const bool bare = pipeline.prefix.empty() && pipeline.suffix.empty();
  SLUICE_ASSIGN_OR_RETURN(const bool add_bos,
                          bool_field(config, "add_bos_token", !pipeline.prefix.empty()));
  SLUICE_ASSIGN_OR_RETURN(const bool add_eos,
                          bool_field(config, "add_eos_token", !pipeline.suffix.empty()));
  if (!by_flags && !bare) return {};
  if (add_bos != !pipeline.prefix.empty()) {
    pipeline.prefix.clear();
    if (add_bos && spec.bos) pipeline.prefix.push_back(*spec.bos);
  }
  if (add_eos != !pipeline.suffix.empty()) {
    pipeline.suffix.clear();
    if (add_eos && spec.eos) pipeline.suffix.push_back(*spec.eos);
  }
  return {};
}

Outcome read_config(const json::object& config, TokenizerSpec& spec) {
  SLUICE_RETURN_IF_ERROR(read_config_tokens(config, spec));
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    ids.emplace(spec.pieces[i], static_cast<int32_t>(i));
  }
  SLUICE_ASSIGN_OR_RETURN(spec.bos, named_token(config, "bos_token", ids));
  SLUICE_ASSIGN_OR_RETURN(spec.eos, named_token(config, "eos_token", ids));
  SLUICE_ASSIGN_OR_RETURN(spec.pad, named_token(config, "pad_token", ids));
  return read_surrounding(config, spec);
}

Result<json::value> parse_file(std::string_view text, std::string_view name) {
  const JsonLimits json_limits{.max_bytes = limits::kMaxTokenizerBytes,
                               .max_depth = 32,
                               .max_nodes = 8 * limits::kMaxVocabulary};
  auto parsed = parse_json(text, json_limits);
  if (!parsed) return std::unexpected(parsed.error().at(name));
  if (!parsed->is_object()) {
    return invalid(fmt::format("{} holds {}; expected an object", name, json_kind(*parsed)));
  }
  return parsed;
}

Outcome parse_parts(const json::object& root, TokenizerSpec& spec) {
  SLUICE_RETURN_IF_ERROR(parse_json_normalizers(root, spec));
  SLUICE_RETURN_IF_ERROR(parse_json_pre_tokenizers(root, spec));
  SLUICE_RETURN_IF_ERROR(parse_json_decoders(root, spec));
  SLUICE_RETURN_IF_ERROR(parse_json_model(root, spec));
  SLUICE_RETURN_IF_ERROR(read_added_tokens(root, spec));
  return read_post_processors(root, spec);
}

}  // namespace

Result<TokenizerSpec> parse_tokenizer_json(std::string_view tokenizer_json,
                                           std::string_view tokenizer_config_json) {
  SLUICE_ASSIGN_OR_RETURN(const json::value root, parse_file(tokenizer_json, "tokenizer.json"));
  TokenizerSpec spec;
  spec.pipeline.emplace();
  if (auto outcome = parse_parts(root.get_object(), spec); !outcome) {
    return std::unexpected(outcome.error().at("tokenizer.json"));
  }
  if (!tokenizer_config_json.empty()) {
    SLUICE_ASSIGN_OR_RETURN(const json::value config,
                            parse_file(tokenizer_config_json, "tokenizer_config.json"));
    if (auto outcome = read_config(config.get_object(), spec); !outcome) {
      return std::unexpected(outcome.error().at("tokenizer_config.json"));
    }
  }
  if (!spec.scores.empty()) spec.scores.resize(spec.pieces.size());
  const Pipeline& pipeline = *spec.pipeline;
  spec.add_bos = spec.bos && !pipeline.prefix.empty() && pipeline.prefix.front() == *spec.bos;
  spec.add_eos = spec.eos && !pipeline.suffix.empty() && pipeline.suffix.back() == *spec.eos;
  return spec;
}

}  // namespace sluice::text
