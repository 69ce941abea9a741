// open_model(): tells formats apart by content.

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "formats/foreign_file.h"
#include "formats/gguf_model.h"
#include "formats/hf_folder.h"
#include "formats/model_source.h"
#include "tensor/mapped_file.h"

namespace sluice::formats {

namespace fs = std::filesystem;

Result<std::unique_ptr<ModelSource>> open_model(const fs::path& path) {
  const auto located = [&](Result<std::unique_ptr<ModelSource>> opened) {
    if (opened) return opened;
    return Result<std::unique_ptr<ModelSource>>(std::unexpected(opened.error().at(path.string())));
  };
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return located(open_hf_folder(path));
  SLUICE_ASSIGN_OR_RETURN(const tensor::MappedFile file, tensor::MappedFile::open(path));
  if (looks_like_gguf(file.bytes())) return located(open_gguf(path));
  return located(std::unexpected(refuse_foreign(file.bytes())));
}

}  // namespace sluice::formats
