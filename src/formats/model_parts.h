// ModelParts: what the readers fill, and the one ModelSource that is made of it.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/model_source.h"
#include "tensor/mapped_file.h"

namespace sluice::formats {

using TensorMap = std::map<std::string, tensor::TensorView, std::less<>>;

struct ModelParts {
  ModelConfig config;
  TokenizerSource tokenizer;
  GenerationDefaults generation;
  std::string chat_template;
  TensorMap tensors;  // into `files` or `owned`
  std::vector<MetadataEntry> metadata;
  std::string format;
  uint64_t file_bytes = 0;
  std::vector<tensor::MappedFile> files;
  std::vector<std::vector<std::byte>> owned;  // tensors that no file holds as they are needed
};

std::unique_ptr<ModelSource> make_source(ModelParts parts);

}  // namespace sluice::formats
