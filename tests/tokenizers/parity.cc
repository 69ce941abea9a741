// Compares text::Tokenizer with the ids that another implementation made.
//
//   tokenizer_parity KIND MODEL CORPUS EXPECTED [DECODED]
//
// KIND: json (tokenizer.json), gguf (a JSON object with the fields of GgufTokenizerFields),
// proto (SentencePiece's tokenizer.model). CORPUS: as tools/tokenizers/make_corpus.py writes it;
// broken UTF-8 is encoded as it is, the expected ids are those of its repaired text. EXPECTED: one
// JSON array of ids a line, made with special tokens recognised and added. DECODED: what those ids
// decode to, one JSON string a line. Prints "N lines, D differences, …"; exits 1 if D > 0.
//
// With TABLES=FILE in the environment (library_tables.txt), a line that differs and holds one of
// FILE's characters is counted apart: there the other side has another Unicode version.
//
//   tokenizer_parity encode KIND MODEL CORPUS     prints the ids instead
//   tokenizer_parity bench KIND MODEL CORPUS      prints the speed
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/limits.h"
#include "text/gguf_tokenizer.h"
#include "text/sentencepiece_proto.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace {

using namespace sluice;

constexpr size_t kShown = 4;

template <typename T>
std::vector<T> list_of(const json::object& object, std::string_view key) {
  std::vector<T> out;
  const json::value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) return out;
  for (const json::value& item : value->as_array()) out.push_back(json::value_to<T>(item));
  return out;
}

template <typename T>
std::optional<T> one_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return json::value_to<T>(*value);
}

text::GgufTokenizerFields read_fields(const json::object& o) {
  text::GgufTokenizerFields fields;
  fields.model = one_of<std::string>(o, "model").value_or("");
  fields.pre = one_of<std::string>(o, "pre").value_or("");
  fields.tokens = list_of<std::string>(o, "tokens");
  fields.scores = list_of<float>(o, "scores");
  fields.types = list_of<int32_t>(o, "types");
  fields.merges = list_of<std::string>(o, "merges");
  fields.bos = one_of<int32_t>(o, "bos");
  fields.eos = one_of<int32_t>(o, "eos");
  fields.unk = one_of<int32_t>(o, "unk");
  fields.add_bos = one_of<bool>(o, "add_bos");
  fields.add_eos = one_of<bool>(o, "add_eos");
  fields.add_space_prefix = one_of<bool>(o, "add_space_prefix");
  fields.remove_extra_whitespaces = one_of<bool>(o, "remove_extra_whitespaces");
  return fields;
}

Result<text::TokenizerSpec> read_spec(std::string_view kind, const std::string& path) {
  SLUICE_ASSIGN_OR_RETURN(const std::string bytes, read_file(path, limits::kMaxTokenizerBytes));
  if (kind == "json") return text::parse_tokenizer_json(bytes, "");
  if (kind == "proto") return text::parse_sentencepiece_model(bytes);
  if (kind != "gguf") return invalid(fmt::format("KIND is {}; expected json, gguf or proto", kind));
  const JsonLimits json_limits{.max_bytes = limits::kMaxTokenizerBytes, .max_nodes = 20'000'000};
  SLUICE_ASSIGN_OR_RETURN(const json::value value, parse_json(bytes, json_limits));
  return text::gguf_tokenizer_spec(read_fields(value.as_object()));
}

std::vector<json::value> read_lines(const std::string& path) {
  std::vector<json::value> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

// The bytes of a corpus line.
std::string text_of(const json::value& line) {
  if (line.is_string()) return std::string(line.get_string());
  const std::string hex(line.at("hex").as_string());
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// SentencePiece writes the unknown token as " ⁇ "; here it is written by its name.
std::string shown_unknown(std::string text, std::string_view kind) {
  constexpr std::string_view kSurface = " \u2047 ";
  if (kind != "proto") return text;
  for (size_t at = text.find(kSurface); at != std::string::npos; at = text.find(kSurface)) {
    text.replace(at, kSurface.size(), "<unk>");
  }
  return text;
}

std::string shown(std::string_view text) {
  return json::serialize(json::value(text::repair_utf8(text.substr(0, 240))));
}

std::string pieces(const text::Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::string out;
  for (const int32_t id : ids) out += fmt::format("{}:{} ", id, tokenizer.token_piece(id));
  return out.substr(0, 600);
}

// SentencePiece itself reads marks such as <s> as text and adds nothing around it.
std::vector<int32_t> encode(const text::Tokenizer& tokenizer, std::string_view kind,
                            const std::string& line) {
  const bool bare = kind == "proto";
  return tokenizer.encode(line, bare ? text::SpecialTokens::kOmit : text::SpecialTokens::kAdd,
                          !bare);
}

class KnownTables {
 public:
  KnownTables() {
    const char* path = std::getenv("TABLES");
    if (path == nullptr) return;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      if (line.empty() || line[0] == '#') continue;
      const size_t space = line.find(' ');
      ranges_.emplace_back(std::stoul(line.substr(0, space), nullptr, 16),
                           std::stoul(line.substr(space + 1), nullptr, 16));
    }
  }
  bool explain(std::string_view line) const {
    while (!line.empty()) {
      const text::DecodedChar c = text::decode_char(line);
      for (const auto& [first, last] : ranges_) {
        if (c.code >= first && c.code <= last) return true;
      }
      line.remove_prefix(c.length);
    }
    return false;
  }

 private:
  std::vector<std::pair<unsigned long, unsigned long>> ranges_;
};

int compare(const text::Tokenizer& tokenizer, int argc, char** argv) {
  const std::string_view kind = argv[1];
  const auto corpus = read_lines(argv[3]);
  const auto expected = read_lines(argv[4]);
  const auto decoded = argc > 5 ? read_lines(argv[5]) : std::vector<json::value>();
  if (expected.size() != corpus.size() || (argc > 5 && decoded.size() != corpus.size())) {
    std::cout << fmt::format("{} lines in the corpus, {} in the expected ids, {} decoded\n",
                             corpus.size(), expected.size(), decoded.size());
    return 2;
  }
  const KnownTables tables;
  size_t explained = 0;
  size_t different = 0;
  size_t decoded_different = 0;
  size_t tokens = 0;
  for (size_t i = 0; i < corpus.size(); ++i) {
    const std::string line = text_of(corpus[i]);
    const auto ids = encode(tokenizer, kind, line);
    const auto want = json::value_to<std::vector<int32_t>>(expected[i]);
    tokens += want.size();
    if (ids != want && tables.explain(line)) {
      ++explained;
    } else if (ids != want && ++different <= kShown) {
      std::cout << fmt::format("line {}: {}\n  ours: {}\n  want: {}\n", i + 1, shown(line),
                               pieces(tokenizer, ids), pieces(tokenizer, want));
    }
    if (decoded.empty()) continue;
    const std::string back = text::detokenize(tokenizer, want, {.skip_special = false});
    const std::string want_back = shown_unknown(std::string(decoded[i].as_string()), kind);
    if (back != want_back && ++decoded_different <= kShown) {
      std::cout << fmt::format("line {} decoded\n  ours: {}\n  want: {}\n", i + 1, shown(back),
                               shown(want_back));
    }
  }
  std::cout << fmt::format(
      "{} lines, {} tokens, {} differences, {} by tables, {} decoded differently\n", corpus.size(),
      tokens, different, explained, decoded_different);
  return different + decoded_different > 0 ? 1 : 0;
}

int print_ids(const text::Tokenizer& tokenizer, std::string_view kind, const std::string& corpus) {
  for (const json::value& line : read_lines(corpus)) {
    const auto ids = encode(tokenizer, kind, text_of(line));
    std::cout << json::serialize(json::value_from(ids)) << "\n";
  }
  return 0;
}

int bench(const text::Tokenizer& tokenizer, const std::string& corpus) {
  std::string all;
  for (const json::value& line : read_lines(corpus)) all += text_of(line) + "\n";
  double best = 1e9;
  size_t tokens = 0;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    tokens = tokenizer.encode(all, text::SpecialTokens::kOmit, true).size();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::cout << fmt::format("{:.2f} MB, {} tokens, {:.1f} MB/s\n", all.size() / 1e6, tokens,
                           static_cast<double>(all.size()) / 1e6 / best);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 4 ? argv[1] : "";
  const bool has_verb = verb == "encode" || verb == "bench";
  if (argc < 5) {
    std::cerr << "usage: tokenizer_parity [encode|bench] KIND MODEL CORPUS [EXPECTED [DECODED]]\n";
    return 2;
  }
  auto spec = read_spec(argv[has_verb ? 2 : 1], argv[has_verb ? 3 : 2]);
  auto tokenizer =
      spec ? text::Tokenizer::create(*std::move(spec)) : std::unexpected(std::move(spec).error());
  if (!tokenizer) {
    std::cerr << tokenizer.error().message() << "\n";
    return 2;
  }
  if (verb == "encode") return print_ids(**tokenizer, argv[2], argv[4]);
  if (verb == "bench") return bench(**tokenizer, argv[4]);
  return compare(**tokenizer, argc, argv);
}
