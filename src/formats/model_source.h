// ModelSource: an opened model, whatever its format: configuration, tensors by canonical name,
// tokenizer material. It owns the mapped files; views into it live as long as it does.
//
// Canonical tensor names are GGUF's, because they are short and complete:
//   token_embd.weight  output_norm.weight  output.weight  rope_freqs.weight
//   blk.N. attn_norm attn_q attn_k attn_v attn_qkv attn_output attn_q_norm attn_k_norm
//          post_attention_norm ffn_norm ffn_gate ffn_up ffn_down post_ffw_norm
//          ffn_gate_inp ffn_gate_exps ffn_up_exps ffn_down_exps            (stacked experts {n,
//          out, in}) ffn_gate_inp_shexp ffn_gate_shexp ffn_up_shexp ffn_down_shexp   (each with
//          .weight / .bias)
// The Hugging Face reader translates its names, stacks experts per layer if the folder stores them
// apart (see ExpertParts), and adds 1 to gemma's norm weights as GGUF files have it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/model_config.h"
#include "tensor/view.h"

namespace sluice::formats {

// The tokenizer as the file gives it; serving/ turns it into text::TokenizerSpec.
struct TokenizerSource {
  // GGUF: tokenizer.ggml.*
  std::string
      model;        // "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), "t5" (unigram), "bert"
  std::string pre;  // name of the pre-tokenizer pattern
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;  // 1 normal 2 unknown 3 control 4 user-defined 5 unused 6 byte
  std::vector<std::string> merges;
  std::optional<int32_t> bos, eos, eot, eom, unk, pad;
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
  std::vector<uint8_t> precompiled_charsmap;
  // Hugging Face folder: the files' texts, unparsed. bos, eos and pad above are config.json's.
  std::string tokenizer_json;
  std::string tokenizer_config_json;
  std::string sentencepiece_model;  // tokenizer.model, read when there is no tokenizer.json
};

// Sampling defaults from generation_config.json (GGUF: general.sampling.*, rarely present).
struct GenerationDefaults {
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int> top_k;
  std::vector<int32_t> eos_ids;  // further ids that end generation
};

struct MetadataEntry {
  std::string key;
  std::string value;  // shortened for display
};

class ModelSource {
 public:
  virtual ~ModelSource() = default;

  virtual const ModelConfig& config() const = 0;
  virtual const TokenizerSource& tokenizer() const = 0;
  virtual const GenerationDefaults& generation() const = 0;
  virtual const std::string& chat_template() const = 0;  // empty = none
  // nullptr when the model has no such tensor.
  virtual const tensor::TensorView* find(std::string_view name) const = 0;
  virtual const std::map<std::string, tensor::TensorView, std::less<>>& tensors() const = 0;
  // For `sluice inspect`, in file order.
  virtual const std::vector<MetadataEntry>& metadata() const = 0;
  virtual std::string_view format() const = 0;  // "GGUF v3", "safetensors"
  virtual uint64_t file_bytes() const = 0;
  // XXH3-64 over names, shapes, types and bytes of all tensors: part of the numerics id. Reads the
  // whole file once (parallel not needed; about 10 GB/s); computed on first call, thread-safe. What
  // was released before leaves memory again, tensor by tensor.
  virtual uint64_t weights_digest() const = 0;
  // Of the files' stamps (tensor/mapped_file.h): equal for files that were not touched in between.
  // 0 where there are no files.
  virtual uint64_t files_stamp() const { return 0; }
  // Gives the memory of a tensor back that will rarely be read again; reading stays possible.
  virtual void release(const tensor::TensorView&) const {}
};

// `path` is a .gguf file (the first shard of a sharded one) or a Hugging Face folder. Content
// decides, not the name. Everything is validated before this returns: sizes, offsets, overflow,
// alignment, missing and duplicate tensors, and that each tensor has the shape its architecture
// gives it. An unsupported architecture is refused by name with the list of those known.
Result<std::unique_ptr<ModelSource>> open_model(const std::filesystem::path& path);

}  // namespace sluice::formats
