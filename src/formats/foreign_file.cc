#include "formats/foreign_file.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "formats/printable.h"

namespace sluice::formats {
namespace {

std::string_view head(std::span<const std::byte> bytes, size_t count) {
  return {reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), count)};
}

// The files of HDF5, old ggml, ONNX, TensorFlow and the like, by their first bytes.
std::string_view foreign_format(std::string_view start) {
  if (start.starts_with("FUGG")) return "a GGUF file whose bytes are swapped";
  if (start.starts_with("lmgg") || start.starts_with("tjgg") || start.starts_with("fmgg") ||
      start.starts_with("algg")) {
    return "a file of the old ggml format, from before GGUF";
  }
  if (start.starts_with("\x89HDF")) return "an HDF5 file";
  if (start.starts_with("\x1f\x8b") || start.starts_with("\x28\xb5\x2f\xfd")) {
    return "a compressed file";
  }
  if (start.starts_with("version https://git-lfs")) {
    return "a Git LFS pointer; the model itself was not downloaded (git lfs pull)";
  }
  if (start.starts_with("<!DOCTYPE") || start.starts_with("<html")) {
    return "a web page; the download went wrong";
  }
  return "";
}

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  if (bytes.size() < 9) return false;
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  return length >= 2 && length <= bytes.size() - 8 && bytes[8] == std::byte{'{'};
}

}  // namespace

bool looks_like_pickle(std::span<const std::byte> bytes) {
  const std::string_view start = head(bytes, 4);
  if (start.starts_with(std::string_view("PK\x03\x04", 4))) return true;
  return start.size() >= 3 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5;
}

Status refuse_pickle() {
  return {Code::kInvalidArgument,
          "this is a Python pickle (a PyTorch .bin or .pt file). Loading one runs code that it "
          "brings along, so it is refused; convert the model to safetensors or GGUF"};
}

Status refuse_foreign(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {Code::kInvalidArgument, "the file is empty"};
  if (looks_like_pickle(bytes)) return refuse_pickle();
  if (looks_like_safetensors(bytes)) {
    return {Code::kInvalidArgument,
            "this is a safetensors file; give the folder that holds it and its config.json"};
  }
  const std::string_view format = foreign_format(head(bytes, 32));
  if (!format.empty()) {
    return {Code::kInvalidArgument,
            fmt::format("a GGUF file or a Hugging Face folder is expected; found {}", format)};
  }
  return {Code::kInvalidArgument,
          fmt::format("a GGUF file or a Hugging Face folder is expected; the file begins with "
                      "\"{}\"",
                      printable(head(bytes, 8)))};
}

}  // namespace sluice::formats
