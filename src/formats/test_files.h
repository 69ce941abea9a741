// Model files made by tests: a GGUF writer that can also write what is wrong, and a temporary
// folder.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace sluice::formats::test {

template <typename T>
std::string raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

inline std::string raw_string(std::string_view text) {
  return raw<uint64_t>(text.size()) + std::string(text);
}

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// A GGUF file in parts. Members may be changed at will before build().
struct GgufBuilder {
  struct Entry {
    std::string key;
    uint32_t type;
    std::string payload;
  };
  struct Tensor {
    std::string name;
    tensor::Shape shape;  // slowest first
    uint32_t type = 0;
    std::optional<uint64_t> offset;  // else behind the one before, aligned to 32
    uint64_t bytes = 0;
    std::string data;  // else some pattern
  };

  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count, entry_count;
  std::vector<Entry> entries;
  std::vector<Tensor> tensors;
  uint64_t alignment = 32;

  void set(std::string_view key, uint32_t type, std::string payload) {
    for (Entry& e : entries) {
      if (e.key == key) {
        e = {std::string(key), type, std::move(payload)};
        return;
      }
    }
    entries.push_back({std::string(key), type, std::move(payload)});
  }
  void u32(std::string_view key, uint32_t value) { set(key, 4, raw(value)); }
  void f32(std::string_view key, float value) { set(key, 6, raw(value)); }
  void boolean(std::string_view key, bool value) { set(key, 7, raw<uint8_t>(value ? 1 : 0)); }
  void text(std::string_view key, std::string_view value) { set(key, 8, raw_string(value)); }
  void array(std::string_view key, uint32_t type, uint64_t count, const std::string& payload) {
    set(key, 9, raw(type) + raw(count) + payload);
  }
  void remove(std::string_view key) {
    std::erase_if(entries, [&](const Entry& e) { return e.key == key; });
  }
  void add(std::string name, tensor::Shape shape, tensor::DType dtype = tensor::DType::kF32) {
    const uint64_t bytes = tensor::stored_bytes(dtype, shape).value();
    tensors.push_back(
        {std::move(name), std::move(shape), static_cast<uint32_t>(dtype), {}, bytes, {}});
  }
  void add_floats(std::string name, const std::vector<float>& values) {
    add(std::move(name), {static_cast<int64_t>(values.size())});
    for (const float v : values) tensors.back().data += raw(v);
  }
  Tensor& tensor(std::string_view name) {
    for (Tensor& t : tensors) {
      if (t.name == name) return t;
    }
    return tensors.emplace_back();
  }
  void remove_tensor(std::string_view name) {
    std::erase_if(tensors, [&](const Tensor& t) { return t.name == name; });
  }

  std::string build() const {
    std::string out = magic + raw(version) + raw<uint64_t>(tensor_count.value_or(tensors.size())) +
                      raw<uint64_t>(entry_count.value_or(entries.size()));
    for (const Entry& e : entries) out += raw_string(e.key) + raw(e.type) + e.payload;
    uint64_t offset = 0;
    for (const Tensor& t : tensors) {
      out += raw_string(t.name) + raw<uint32_t>(static_cast<uint32_t>(t.shape.size()));
      for (size_t i = t.shape.size(); i > 0; --i) out += raw<int64_t>(t.shape[i - 1]);
      out += raw(t.type) + raw<uint64_t>(t.offset.value_or(offset));
      offset += (t.bytes + alignment - 1) / alignment * alignment;
    }
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    std::string data(offset, '\0');
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 % 61);
    offset = 0;
    for (const Tensor& t : tensors) {
      if (!t.data.empty()) data.replace(offset, t.data.size(), t.data);
      offset += (t.bytes + alignment - 1) / alignment * alignment;
    }
    return out + data;
  }
};

// The smallest model that opens: one layer, width 8, 2 heads of 4, one KV head, 6 tokens.
inline GgufBuilder tiny_gguf(std::string_view arch = "llama") {
  GgufBuilder b;
  const std::string p = std::string(arch) + ".";
  b.text("general.architecture", arch);
  b.text("general.name", "tiny");
  b.u32(p + "block_count", 1);
  b.u32(p + "embedding_length", 8);
  b.u32(p + "context_length", 64);
  b.u32(p + "attention.head_count", 2);
  b.u32(p + "attention.head_count_kv", 1);
  b.u32(p + "feed_forward_length", 12);
  b.f32(p + "attention.layer_norm_rms_epsilon", 1e-5f);
  b.text("tokenizer.ggml.model", "llama");
  std::string tokens;
  for (const char* t : {"<unk>", "<s>", "</s>", "a", "b", "c"}) tokens += raw_string(t);
  b.array("tokenizer.ggml.tokens", 8, 6, tokens);
  b.u32("tokenizer.ggml.bos_token_id", 1);
  b.add("token_embd.weight", {6, 8});
  b.add("output_norm.weight", {8});
  b.add("blk.0.attn_norm.weight", {8});
  b.add("blk.0.attn_q.weight", {8, 8});
  b.add("blk.0.attn_k.weight", {4, 8});
  b.add("blk.0.attn_v.weight", {4, 8});
  b.add("blk.0.attn_output.weight", {8, 8});
  b.add("blk.0.ffn_norm.weight", {8});
  b.add("blk.0.ffn_gate.weight", {12, 8});
  b.add("blk.0.ffn_up.weight", {12, 8});
  b.add("blk.0.ffn_down.weight", {8, 12});
  return b;
}

class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "sluice_formats_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace sluice::formats::test
