#include "formats/hf_folder.h"

#include <fmt/format.h>

#include <set>
#include <system_error>

#include "base/files.h"
#include "base/json.h"
#include "base/limits.h"
#include "formats/foreign_file.h"
#include "formats/hf_config.h"
#include "formats/hf_tensors.h"
#include "formats/model_check.h"
#include "formats/model_parts.h"
#include "formats/printable.h"
#include "formats/safetensors.h"

namespace sluice::formats {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr int kMaxListed = 4096;

using WeightMap = std::map<std::string, std::string, std::less<>>;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// Empty when the folder has no such file.
Result<std::string> read_optional(const fs::path& path, size_t max_bytes) {
  if (!is_file(path)) return std::string();
  return read_file(path, max_bytes);
}

bool plain_shard_name(std::string_view name) {
  return name.ends_with(".safetensors") && !name.starts_with('.') &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// Maps one file and appends its tensors.
Result<size_t> add_file(const fs::path& path, ModelParts& parts, std::vector<SafeTensor>& out) {
  const std::string name = printable(path.filename().string());
  auto mapped = tensor::MappedFile::open(path);
  if (!mapped) return std::unexpected(mapped.error());
  if (looks_like_pickle(mapped->bytes())) return std::unexpected(refuse_pickle().at(name));
  auto parsed = parse_safetensors(mapped->bytes());
  if (!parsed) return std::unexpected(parsed.error().at(name));
  const size_t count = parsed->tensors.size();
  for (SafeTensor& t : parsed->tensors) out.push_back(std::move(t));
  for (auto& [key, value] : parsed->metadata) parts.metadata.push_back({key, value});
  parts.file_bytes += mapped->bytes().size();
  parts.files.push_back(std::move(*mapped));
  return count;
}

// Each shard holds exactly what the index says it holds.
Outcome add_indexed(const fs::path& folder, const WeightMap& weights, ModelParts& parts,
                    std::vector<SafeTensor>& out) {
  std::set<std::string> files;
  for (const auto& [name, file] : weights) files.insert(file);
  if (files.size() > limits::kMaxShards) {
    return fail(Code::kTooLarge,
                fmt::format("{} shards; at most {}", files.size(), limits::kMaxShards));
  }
  for (const std::string& file : files) {
    const size_t before = out.size();
    SLUICE_ASSIGN_OR_RETURN(const size_t count, add_file(folder / file, parts, out));
    for (size_t i = before; i < before + count; ++i) {
      const auto listed = weights.find(out[i].name);
      if (listed == weights.end() || listed->second != file) {
        return invalid(fmt::format("tensor \"{}\" lies in {}; the index does not say so",
                                   printable(out[i].name), printable(file)));
      }
    }
  }
  if (out.size() == weights.size()) return {};
  std::set<std::string_view> found;
  for (const SafeTensor& t : out) found.insert(t.name);
  for (const auto& [name, file] : weights) {
    if (!found.contains(name)) {
      return invalid(fmt::format("the index says that tensor \"{}\" lies in {}; it does not",
                                 printable(name), printable(file)));
    }
  }
  return invalid("the shards and their index disagree");
}

// What is there in place of safetensors files.
Status no_weights(const fs::path& folder) {
  std::error_code ignored;
  int seen = 0;
  for (fs::directory_iterator it(folder, ignored), end; it != end && seen < kMaxListed;
       it.increment(ignored), ++seen) {
    if (!it->is_regular_file(ignored)) continue;
    const auto file = tensor::MappedFile::open(it->path());
    if (file && looks_like_pickle(file->bytes())) {
      return refuse_pickle().at(printable(it->path().filename().string()));
    }
  }
  return {Code::kNotFound, fmt::format("the folder has neither {} nor {}", kSingle, kIndex)};
}

Result<std::vector<SafeTensor>> read_weights(const fs::path& folder, ModelParts& parts) {
  std::vector<SafeTensor> out;
  if (is_file(folder / kSingle)) {
    SLUICE_RETURN_IF_ERROR(add_file(folder / kSingle, parts, out));
    return out;
  }
  if (!is_file(folder / kIndex)) return std::unexpected(no_weights(folder));
  SLUICE_ASSIGN_OR_RETURN(const std::string text,
                          read_file(folder / kIndex, limits::kMaxSafetensorsHeader));
  SLUICE_ASSIGN_OR_RETURN(const WeightMap weights, parse_safetensors_index(text));
  SLUICE_RETURN_IF_ERROR(add_indexed(folder, weights, parts, out));
  return out;
}

// chat_template.jinja, else tokenizer_config.json's: one text, or a list of named ones of which
// "default" is taken.
Result<std::string> read_chat_template(const fs::path& folder, const std::string& config) {
  SLUICE_ASSIGN_OR_RETURN(std::string text,
                          read_optional(folder / "chat_template.jinja", limits::kMaxTemplateBytes));
  if (!text.empty() || config.empty()) return text;
  const auto parsed = parse_json(config, {.max_bytes = limits::kMaxTokenizerBytes});
  if (!parsed) return std::unexpected(parsed.error().at("tokenizer_config.json"));
  const json::value* value =
      parsed->is_object() ? parsed->get_object().if_contains("chat_template") : nullptr;
  if (value == nullptr || value->is_null()) return text;
  if (value->is_string()) {
    text = value->get_string();
  } else if (value->is_array()) {
    for (const json::value& entry : value->get_array()) {
      const json::object* named = entry.if_object();
      const json::value* name = named != nullptr ? named->if_contains("name") : nullptr;
      const json::value* body = named != nullptr ? named->if_contains("template") : nullptr;
      if (name == nullptr || !name->is_string() || body == nullptr || !body->is_string()) {
        return invalid("tokenizer_config.json: chat_template: {\"name\", \"template\"} expected");
      }
      if (name->get_string() == "default") text = body->get_string();
    }
  } else {
    return invalid(
        fmt::format("tokenizer_config.json: chat_template: a string or an array is "
                    "expected; found {}",
                    json_kind(*value)));
  }
  if (text.size() > limits::kMaxTemplateBytes) {
    return fail(Code::kTooLarge, fmt::format("the chat template has {} bytes; at most {}",
                                             text.size(), limits::kMaxTemplateBytes));
  }
  return text;
}

Outcome read_tokenizer(const fs::path& folder, const HfConfig& config, ModelParts& parts) {
  TokenizerSource& t = parts.tokenizer;
  const size_t most = limits::kMaxTokenizerBytes;
  SLUICE_ASSIGN_OR_RETURN(t.tokenizer_json, read_optional(folder / "tokenizer.json", most));
  SLUICE_ASSIGN_OR_RETURN(t.tokenizer_config_json,
                          read_optional(folder / "tokenizer_config.json", most));
  if (t.tokenizer_json.empty()) {
    SLUICE_ASSIGN_OR_RETURN(t.sentencepiece_model, read_optional(folder / "tokenizer.model", most));
  }
  t.bos = config.bos;
  t.pad = config.pad;
  if (!config.eos_ids.empty()) t.eos = config.eos_ids[0];
  SLUICE_ASSIGN_OR_RETURN(parts.chat_template, read_chat_template(folder, t.tokenizer_config_json));
  return {};
}

Outcome read_generation(const fs::path& folder, const HfConfig& config, ModelParts& parts) {
  SLUICE_ASSIGN_OR_RETURN(const std::string text, read_optional(folder / "generation_config.json",
                                                                limits::kMaxConfigBytes));
  if (!text.empty()) {
    SLUICE_ASSIGN_OR_RETURN(parts.generation, parse_generation_config(text, config.model.vocab));
  }
  for (const int32_t id : config.eos_ids) {
    if (std::ranges::count(parts.generation.eos_ids, id) == 0)
      parts.generation.eos_ids.push_back(id);
  }
  return {};
}

// config.json's members, shortened, for display.
void describe(std::string_view config_json, ModelParts& parts) {
  const auto parsed = parse_json(config_json, {.max_bytes = limits::kMaxConfigBytes});
  if (!parsed || !parsed->is_object()) return;
  for (const auto& [key, value] : parsed->get_object()) {
    parts.metadata.push_back({printable(key), printable(to_json(value))});
  }
}

}  // namespace

Result<WeightMap> parse_safetensors_index(std::string_view index_json) {
  auto parsed = parse_json(index_json, {.max_bytes = limits::kMaxSafetensorsHeader});
  if (!parsed) return std::unexpected(parsed.error().at(kIndex));
  const json::object* object = parsed->if_object();
  const json::value* map = object != nullptr ? object->if_contains("weight_map") : nullptr;
  if (map == nullptr || !map->is_object()) {
    return invalid(fmt::format("{}: an object \"weight_map\" is expected", kIndex));
  }
  WeightMap out;
  for (const auto& [name, file] : map->get_object()) {
    if (!file.is_string() || !plain_shard_name(file.get_string())) {
      return invalid(
          fmt::format("{}: tensor \"{}\": the name of a .safetensors file in the same "
                      "folder is expected; found {}",
                      kIndex, printable(name), printable(to_json(file))));
    }
    out.emplace(name, file.get_string());
  }
  return out;
}

Result<std::unique_ptr<ModelSource>> open_hf_folder(const fs::path& folder) {
  if (!is_file(folder / "config.json")) {
    return fail(Code::kNotFound,
                "a Hugging Face folder is expected to hold a config.json; it has none");
  }
  SLUICE_ASSIGN_OR_RETURN(const std::string text,
                          read_file(folder / "config.json", limits::kMaxConfigBytes));
  SLUICE_ASSIGN_OR_RETURN(const HfConfig config, parse_hf_config(text));
  ModelParts parts;
  parts.config = config.model;
  describe(text, parts);
  SLUICE_ASSIGN_OR_RETURN(const std::vector<SafeTensor> tensors, read_weights(folder, parts));
  SLUICE_RETURN_IF_ERROR(adopt_tensors(*config.architecture, tensors, parts));
  SLUICE_RETURN_IF_ERROR(check_tensors(*config.architecture, parts.config, parts.tensors));
  SLUICE_RETURN_IF_ERROR(read_tokenizer(folder, config, parts));
  SLUICE_RETURN_IF_ERROR(read_generation(folder, config, parts));
  parts.format = "safetensors";
  return make_source(std::move(parts));
}

}  // namespace sluice::formats
