// The families, one file each. A function takes the model's tensors from `load`; what it returns
// may be used only when load.finish() succeeded.
#pragma once

#include <memory>

#include "model/decoder.h"
#include "model/loader.h"

namespace sluice::model {

std::unique_ptr<Decoder> gemma2(Loader& load);
std::unique_ptr<Decoder> gemma3(Loader& load);
std::unique_ptr<Decoder> llama(Loader& load);
std::unique_ptr<Decoder> phi3(Loader& load);
std::unique_ptr<Decoder> qwen2(Loader& load);
std::unique_ptr<Decoder> qwen2moe(Loader& load);
std::unique_ptr<Decoder> qwen3(Loader& load);
std::unique_ptr<Decoder> qwen3moe(Loader& load);

}  // namespace sluice::model
