#include "cli/inspect.h"

#include <fmt/format.h>

#include <charconv>
#include <iostream>
#include <iterator>
#include <map>

#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sizes.h"
#include "cli/model_path.h"
#include "formats/model_source.h"
#include "serving/tokenizer_setup.h"

namespace sluice::cli {
namespace {

Result<std::unique_ptr<formats::ModelSource>> open(const std::string& given) {
  SLUICE_ASSIGN_OR_RETURN(const auto path, resolve_model(given));
  return formats::open_model(path.path);
}

std::string shape_text(const tensor::Shape& shape) {
  return fmt::format("{{{}}}", fmt::join(shape, ", "));
}

json::object describe(const formats::ModelSource& source, bool tensors) {
  const formats::ModelConfig& config = source.config();
  int64_t parameters = 0;
  std::map<std::string, int64_t> by_type;
  json::array list;
  for (const auto& [name, view] : source.tensors()) {
    parameters += view.elements();
    const std::string type(tensor::dtype_info(view.dtype).name);
    by_type[type] += static_cast<int64_t>(view.bytes.size());
    list.push_back({{"name", name},
                    {"type", type},
                    {"shape", json::value_from(view.shape)},
                    {"bytes", view.bytes.size()}});
  }
  json::object out = {{"name", config.name},
                      {"format", source.format()},
                      {"file_bytes", source.file_bytes()},
                      {"architecture", config.architecture},
                      {"parameters", parameters},
                      {"layers", config.layers},
                      {"width", config.width},
                      {"heads", config.heads},
                      {"kv_heads", config.kv_heads},
                      {"head_dim", config.head_dim},
                      {"ffn", config.ffn},
                      {"experts", config.moe.experts},
                      {"vocab", config.vocab},
                      {"context", config.context},
                      {"chat_template", !source.chat_template().empty()}};
  json::object types;
  for (const auto& [type, bytes] : by_type) types[type] = bytes;
  out["bytes_by_type"] = std::move(types);
  json::object metadata;
  for (const formats::MetadataEntry& entry : source.metadata()) metadata[entry.key] = entry.value;
  out["metadata"] = std::move(metadata);
  if (tensors) out["tensors"] = std::move(list);
  return out;
}

void print_text(const formats::ModelSource& source, const json::object& info, bool tensors) {
  for (const char* key : {"name", "format", "architecture", "parameters", "layers", "width",
                          "heads", "kv_heads", "head_dim", "ffn", "experts", "vocab", "context"}) {
    const json::value& value = info.at(key);
    std::cout << fmt::format("{:<14}{}\n", key,
                             value.is_string() ? std::string(value.get_string()) : to_json(value));
  }
  std::cout << fmt::format("{:<14}{}\n", "file size",
                           show_size(static_cast<int64_t>(source.file_bytes())));
  for (const auto& [type, bytes] : info.at("bytes_by_type").as_object()) {
    std::cout << fmt::format("{:<14}{}\n", std::string_view(type),
                             show_size(bytes.to_number<int64_t>()));
  }
  std::cout << "\nmetadata\n";
  for (const formats::MetadataEntry& entry : source.metadata()) {
    std::cout << fmt::format("  {:<44} {}\n", entry.key, entry.value);
  }
  if (!tensors) return;
  std::cout << "\ntensors\n";
  for (const auto& [name, view] : source.tensors()) {
    std::cout << fmt::format("  {:<44} {:<7} {}\n", name, tensor::dtype_info(view.dtype).name,
                             shape_text(view.shape));
  }
}

Outcome inspect(const InspectOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto source, open(options.model));
  const json::object info = describe(*source, options.tensors);
  if (options.output == "json") {
    std::cout << to_json(info) << "\n";
  } else {
    print_text(*source, info, options.tensors);
  }
  return {};
}

Result<std::vector<int32_t>> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    if (*at == ' ' || *at == ',' || *at == '\n' || *at == '[' || *at == ']') {
      ++at;
      continue;
    }
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0) {
      return invalid("--decode expects token ids separated by blanks or commas");
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

Outcome decode(const text::Tokenizer& tokenizer, const std::string& input, bool as_json) {
  SLUICE_ASSIGN_OR_RETURN(const auto ids, parse_ids(input));
  const std::string text = text::detokenize(tokenizer, ids, {.skip_special = false});
  std::cout << (as_json ? to_json(json::object{{"text", text}}) : text) << "\n";
  return {};
}

Outcome tokenize(const TokenizeOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto source, open(options.model));
  SLUICE_ASSIGN_OR_RETURN(const auto tokenizer, serving::load_tokenizer(*source));
  std::string input = options.text;
  if (input.empty() || input == "-") {
    input.assign(std::istreambuf_iterator<char>(std::cin), {});
  }
  const bool as_json = options.output == "json";
  if (options.decode) return decode(*tokenizer, input, as_json);
  const auto special = options.special ? text::SpecialTokens::kAdd : text::SpecialTokens::kOmit;
  const auto ids = tokenizer->encode(input, special, options.special);
  if (as_json) {
    json::array pieces;
    for (const int32_t id : ids) pieces.push_back(json::value(tokenizer->token_piece(id)));
    std::cout << to_json({{"count", ids.size()},
                          {"tokens", json::value_from(ids)},
                          {"pieces", std::move(pieces)}})
              << "\n";
    return {};
  }
  for (const int32_t id : ids) {
    std::cout << fmt::format("{:>8}  {}\n", id, tokenizer->token_piece(id));
  }
  return {};
}

int report(const Outcome& outcome) {
  if (outcome) return 0;
  log_error("{}", outcome.error().message());
  return 1;
}

}  // namespace

int run_inspect(const InspectOptions& options) { return report(inspect(options)); }

int run_tokenize(const TokenizeOptions& options) { return report(tokenize(options)); }

}  // namespace sluice::cli
