// Normalizer: runs the normalize::Steps of a pipeline. Immutable; callable from any thread at once.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "text/charsmap.h"
#include "text/regex.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

// Where a fragment lies in the text.
struct FragmentPlace {
  bool first = true;  // it begins where the text begins
  bool last = true;   // it ends where the text ends
};

class Normalizer {
 public:
  // Compiles patterns and character maps; refuses those that are malformed.
  static Result<Normalizer> create(const std::vector<normalize::Step>& steps);

  bool does_nothing() const { return steps_.empty(); }

  // `fragment`: valid UTF-8.
  std::string apply(std::string_view fragment, FragmentPlace place) const;

  // Whether the text gets a mark of its beginning even where an added token stands there.
  bool marks_start() const { return marks_start_; }

 private:
  struct CompiledStep {
    normalize::Step step;
    std::shared_ptr<const Regex> regex;
    std::shared_ptr<const Charsmap> charsmap;
  };
  std::vector<CompiledStep> steps_;
  bool marks_start_ = false;
};

}  // namespace sluice::text
