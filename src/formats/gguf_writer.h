// GgufWriter: writes a GGUF v3 file (layout: gguf_file.h) under a temporary name and gives it its
// own in the end, so that nobody ever sees half a file.
//
//   GgufWriter writer;
//   writer.add(entry) …; writer.add_tensor(name, dtype, shape) …
//   writer.open(path, Existing::kRefuse)
//   writer.append(bytes) …      all tensors' bytes, in the order of add_tensor(); padding is added
//   writer.commit()
//
// One owner, no locking. What was not committed is removed by the destructor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/gguf_file.h"
#include "tensor/dtype.h"

namespace sluice::formats {

enum class Existing { kRefuse, kReplace };

class GgufWriter {
 public:
  GgufWriter() = default;
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  // Metadata in file order. Keys are the caller's to keep unique; general.alignment is not copied,
  // because the writer aligns to 32 bytes.
  void add(const GgufEntry& entry);
  void add_u32(std::string_view key, uint32_t value);

  // `shape` and `dtype` agree (tensor::stored_bytes() succeeds).
  void add_tensor(std::string_view name, tensor::DType dtype, const tensor::Shape& shape);

  // Size of the whole file.
  uint64_t file_bytes() const;

  // Creates the temporary file beside `path`, reserves its room on the disk and writes all but the
  // tensors' bytes.
  Outcome open(const std::filesystem::path& path, Existing existing);
  // The next bytes of the tensor at hand; a piece never reaches into the next tensor.
  Outcome append(std::span<const std::byte> bytes);
  // All tensors are complete: syncs the file and renames it.
  Outcome commit();

 private:
  struct Tensor {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  std::string header(uint64_t& begin) const;
  Outcome write(std::span<const std::byte> bytes);

  std::string entries_;
  uint64_t entry_count_ = 0;
  std::string infos_;
  std::vector<Tensor> tensors_;
  uint64_t data_bytes_ = 0;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  Existing existing_ = Existing::kRefuse;
  int fd_ = -1;
  size_t current_ = 0;    // the tensor at hand
  uint64_t written_ = 0;  // of it
};

}  // namespace sluice::formats
