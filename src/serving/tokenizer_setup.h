// The tokenizer that a model file describes, whatever its format.
#pragma once

#include <memory>

#include "base/status.h"
#include "formats/model_source.h"
#include "text/tokenizer.h"

namespace sluice::serving {

Result<std::unique_ptr<text::Tokenizer>> load_tokenizer(const formats::ModelSource& source);

// Ids that end generation: the file's eos, eot and eom, generation_config's, and pieces that by
// their names end a turn.
std::vector<int32_t> end_tokens(const formats::ModelSource& source,
                                const text::Tokenizer& tokenizer);

}  // namespace sluice::serving
