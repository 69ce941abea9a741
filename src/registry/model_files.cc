#include "registry/model_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>

#include "registry/names.h"

namespace sluice::registry {
namespace {

constexpr std::string_view kGguf = ".gguf";
constexpr std::string_view kSafetensors = ".safetensors";
constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr size_t kShardSuffix = std::string_view("-00001-of-00003.gguf").size();
constexpr size_t kMaxNamed = 12;  // choices in a message
constexpr std::array<std::string_view, 8> kSmallFiles = {
    "config.json",     "generation_config.json",  "tokenizer.json",      "tokenizer_config.json",
    "tokenizer.model", "special_tokens_map.json", "chat_template.jinja", kIndex};

struct Shard {
  int number = 0;
  int count = 0;
};

std::optional<int> five_digits(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + 5, value);
  if (error != std::errc() || end != text.data() + 5 || value < 0) return std::nullopt;
  return value;
}

// Of "…-00001-of-00003.gguf" (the suffix's length whatever the ending is).
std::optional<Shard> shard_of(std::string_view file) {
  if (file.size() <= kShardSuffix || !file.ends_with(kGguf)) return std::nullopt;
  const std::string_view suffix = file.substr(file.size() - kShardSuffix);
  if (suffix[0] != '-' || suffix.substr(6, 4) != "-of-") return std::nullopt;
  const auto number = five_digits(suffix.substr(1));
  const auto count = five_digits(suffix.substr(10));
  if (!number || !count || *number < 1 || *number > *count) return std::nullopt;
  return Shard{*number, *count};
}

// A GGUF that is no later shard of another.
bool is_first_gguf(const ModelFile& file) {
  if (!file.path.ends_with(kGguf)) return false;
  const auto shard = shard_of(file.path);
  return !shard || shard->number == 1;
}

const ModelFile* find(const std::vector<ModelFile>& all, std::string_view path) {
  const auto it = std::ranges::find(all, path, &ModelFile::path);
  return it == all.end() ? nullptr : &*it;
}

std::string choices(const std::vector<ModelFile>& all) {
  std::vector<std::string> names;
  for (const ModelFile& file : all) {
    if (is_first_gguf(file) && names.size() < kMaxNamed) names.push_back(shown(file.path));
  }
  return names.empty() ? "it holds no .gguf file"
                       : fmt::format("it holds {}", fmt::join(names, ", "));
}

Result<std::vector<ModelFile>> choose_gguf(const std::vector<ModelFile>& all,
                                           std::string_view asked) {
  std::vector<ModelFile> out;
  for (const std::string& name : gguf_shards(asked)) {
    const ModelFile* file = find(all, name);
    if (file == nullptr) {
      return fail(Code::kNotFound,
                  fmt::format("there is no file \"{}\"; {}", shown(name), choices(all)));
    }
    out.push_back(*file);
  }
  return out;
}

bool is_hub_shard(const ModelFile& file) {
  return file.path.starts_with("model-") && file.path.ends_with(kSafetensors);
}

// Weights under the names that transformers gives them; others only where there are none of these,
// because some repositories hold the same weights twice.
void add_safetensors(const std::vector<ModelFile>& all, std::vector<ModelFile>& out) {
  if (const ModelFile* single = find(all, kSingle)) return out.push_back(*single);
  const bool usual = std::ranges::any_of(all, is_hub_shard);
  for (const ModelFile& file : all) {
    if (usual ? is_hub_shard(file) : file.path.ends_with(kSafetensors)) out.push_back(file);
  }
}

Result<std::vector<ModelFile>> choose_folder(const std::vector<ModelFile>& all) {
  std::vector<ModelFile> out;
  for (const std::string_view name : kSmallFiles) {
    if (const ModelFile* file = find(all, name)) out.push_back(*file);
  }
  const size_t small = out.size();
  add_safetensors(all, out);
  const bool config = find(all, "config.json") != nullptr;
  if (config && out.size() > small) return out;
  const auto ggufs = std::ranges::count_if(all, is_first_gguf);
  if (ggufs == 1) return choose_gguf(all, std::ranges::find_if(all, is_first_gguf)->path);
  if (ggufs > 1) {
    return invalid(fmt::format("which file is meant? {}; name one behind the model", choices(all)),
                   "source");
  }
  const bool pickled = std::ranges::any_of(all, [](const ModelFile& file) {
    return file.path.ends_with(".bin") || file.path.ends_with(".pt") || file.path.ends_with(".pth");
  });
  return fail(
      Code::kNotFound,
      fmt::format(
          "no model found: a .gguf file, or config.json with *.safetensors, is expected; "
          "there is {}{}",
          config ? "config.json without weights" : "neither",
          pickled ? ". Python pickles (.bin, .pt) are refused: loading one runs its code" : ""),
      "source");
}

Outcome check_chosen(const std::vector<ModelFile>& files) {
  if (files.size() > kMaxModelFiles) {
    return fail(Code::kTooLarge,
                fmt::format("the model has {} files; at most {}", files.size(), kMaxModelFiles));
  }
  std::set<std::string_view> seen;
  for (const ModelFile& file : files) {
    SLUICE_RETURN_IF_ERROR(check_file_path(file.path));
    if (!seen.insert(file.path).second) {
      return invalid(fmt::format("the file \"{}\" is listed twice", shown(file.path)));
    }
    if (file.bytes > kMaxModelFileBytes) {
      return fail(Code::kTooLarge, fmt::format("\"{}\" is said to have {} bytes; at most {}",
                                               shown(file.path), file.bytes, kMaxModelFileBytes));
    }
  }
  return {};
}

}  // namespace

std::vector<std::string> gguf_shards(std::string_view file) {
  const auto shard = shard_of(file);
  if (!shard || shard->count > static_cast<int>(kMaxModelFiles)) return {std::string(file)};
  std::vector<std::string> names;
  const std::string_view begin = file.substr(0, file.size() - kShardSuffix);
  for (int i = 1; i <= shard->count; ++i) {
    names.push_back(fmt::format("{}-{:05}-of-{:05}{}", begin, i, shard->count, kGguf));
  }
  return names;
}

Result<std::vector<ModelFile>> choose_files(const std::vector<ModelFile>& all,
                                            std::string_view asked) {
  auto chosen = asked.empty() ? choose_folder(all) : choose_gguf(all, asked);
  if (!chosen) return chosen;
  SLUICE_RETURN_IF_ERROR(check_chosen(*chosen));
  return chosen;
}

}  // namespace sluice::registry
