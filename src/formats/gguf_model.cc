#include "formats/gguf_model.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/limits.h"
#include "formats/architecture.h"
#include "formats/gguf_config.h"
#include "formats/gguf_fields.h"
#include "formats/gguf_file.h"
#include "formats/gguf_tokenizer.h"
#include "formats/model_check.h"
#include "formats/model_parts.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

namespace fs = std::filesystem;

// What split.* says of one shard; count 1 for a model in one file.
struct Split {
  int number = 0;
  int count = 1;
  std::optional<int> tensors;
};

Result<Split> read_split(const GgufFile& file) {
  GgufFields f(file, "split.");
  Split split;
  split.count = f.integer("count", {0, limits::kMaxShards}).value_or(1);
  split.number = f.integer("no", {0, limits::kMaxShards}).value_or(0);
  split.tensors = f.integer("tensors.count", {0, limits::kMaxTensors});
  if (split.count == 0) split.count = 1;
  if (split.number >= split.count) {
    f.refuse("no", fmt::format("0 to {} expected; found {}", split.count - 1, split.number));
  }
  SLUICE_RETURN_IF_ERROR(f.outcome());
  return split;
}

std::string shard_suffix(int number, int count) {
  return fmt::format("-{:05d}-of-{:05d}.gguf", number + 1, count);
}

Outcome add_tensors(const GgufFile& file, TensorMap& out) {
  for (const GgufTensor& t : file.tensors) {
    const bool added =
        out.emplace(std::string(t.name), tensor::TensorView{t.dtype, t.shape, t.bytes}).second;
    if (!added) {
      return invalid(fmt::format("tensor \"{}\" stands in two shards", printable(t.name)));
    }
  }
  return {};
}

// Maps and adds shards 1 … count-1.
Outcome add_shards(const fs::path& first, const Split& split, ModelParts& parts) {
  const std::string name = first.filename().string();
  const std::string suffix = shard_suffix(0, split.count);
  if (!name.ends_with(suffix)) {
    return invalid(
        fmt::format("this is the first of {} shards; its name is expected to end in "
                    "\"{}\", so that the others are found beside it",
                    split.count, suffix));
  }
  const std::string stem = name.substr(0, name.size() - suffix.size());
  for (int i = 1; i < split.count; ++i) {
    const fs::path path = first.parent_path() / (stem + shard_suffix(i, split.count));
    auto mapped = tensor::MappedFile::open(path);
    if (!mapped) return std::unexpected(mapped.error().at(fmt::format("shard {}", i + 1)));
    const auto file = parse_gguf(mapped->bytes());
    if (!file) return std::unexpected(file.error().at(printable(path.filename().string())));
    SLUICE_ASSIGN_OR_RETURN(const Split own, read_split(*file));
    if (own.number != i || own.count != split.count) {
      return invalid(fmt::format("{} says it is shard {} of {}; {} of {} is expected by its name",
                                 printable(path.filename().string()), own.number + 1, own.count,
                                 i + 1, split.count));
    }
    SLUICE_RETURN_IF_ERROR(add_tensors(*file, parts.tensors));
    parts.file_bytes += mapped->bytes().size();
    parts.files.push_back(std::move(*mapped));
  }
  if (split.tensors && static_cast<size_t>(*split.tensors) != parts.tensors.size()) {
    return invalid(fmt::format("split.tensors.count is {}; the shards hold {} tensors",
                               *split.tensors, parts.tensors.size()));
  }
  return {};
}

// Everything that follows once all tensors are known.
Result<std::unique_ptr<ModelSource>> finish(const GgufFile& file, ModelParts parts) {
  SLUICE_ASSIGN_OR_RETURN(parts.config, gguf_config(file, parts.tensors));
  const Architecture* architecture = find_architecture(parts.config.architecture);
  SLUICE_RETURN_IF_ERROR(check_config(parts.config));
  SLUICE_RETURN_IF_ERROR(check_tensors(*architecture, parts.config, parts.tensors));
  SLUICE_ASSIGN_OR_RETURN(parts.tokenizer, gguf_tokenizer(file, parts.config.vocab));
  SLUICE_ASSIGN_OR_RETURN(parts.generation, gguf_generation(file, parts.config.vocab));
  SLUICE_ASSIGN_OR_RETURN(parts.chat_template, gguf_chat_template(file));
  for (const GgufEntry& entry : file.entries) {
    parts.metadata.push_back({printable(entry.key), display(entry.value)});
  }
  parts.format = fmt::format("GGUF v{}", file.version);
  return make_source(std::move(parts));
}

}  // namespace

bool looks_like_gguf(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && bytes[0] == std::byte{'G'} && bytes[1] == std::byte{'G'} &&
         bytes[2] == std::byte{'U'} && bytes[3] == std::byte{'F'};
}

Result<std::unique_ptr<ModelSource>> open_gguf(const fs::path& path) {
  ModelParts parts;
  SLUICE_ASSIGN_OR_RETURN(tensor::MappedFile mapped, tensor::MappedFile::open(path));
  SLUICE_ASSIGN_OR_RETURN(const GgufFile file, parse_gguf(mapped.bytes()));
  SLUICE_ASSIGN_OR_RETURN(const Split split, read_split(file));
  if (split.number != 0) {
    return invalid(fmt::format("this is shard {} of {}; give the first one, \"…{}\"",
                               split.number + 1, split.count, shard_suffix(0, split.count)));
  }
  SLUICE_RETURN_IF_ERROR(add_tensors(file, parts.tensors));
  parts.file_bytes = mapped.bytes().size();
  parts.files.push_back(std::move(mapped));
  if (split.count > 1) SLUICE_RETURN_IF_ERROR(add_shards(path, split, parts));
  return finish(file, std::move(parts));
}

Result<std::unique_ptr<ModelSource>> open_gguf_bytes(std::span<const std::byte> bytes) {
  SLUICE_ASSIGN_OR_RETURN(const GgufFile file, parse_gguf(bytes));
  SLUICE_ASSIGN_OR_RETURN(const Split split, read_split(file));
  if (split.count > 1) return invalid("a sharded model is opened by its path");
  ModelParts parts;
  SLUICE_RETURN_IF_ERROR(add_tensors(file, parts.tensors));
  parts.file_bytes = bytes.size();
  return finish(file, std::move(parts));
}

}  // namespace sluice::formats
