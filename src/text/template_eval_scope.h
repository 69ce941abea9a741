// Guards that the evaluator's files share.
#pragma once

#include <memory>
#include <utility>

#include "base/limits.h"
#include "text/template_eval.h"

namespace sluice::text::jinja {

// Makes a scope the current one until the end of the block.
class Evaluator::Entered {
 public:
  Entered(Evaluator& evaluator, Scope* parent)
      : evaluator_(evaluator), scope_(std::make_unique<Scope>()), outer_(evaluator.scope_) {
    scope_->parent = parent;
    evaluator_.scope_ = scope_.get();
  }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;
  ~Entered() {
    evaluator_.scope_ = outer_;
    if (!scope_->remembered) return;
    evaluator_.meter_.hold(sizeof(Scope) + scope_->variables.capacity() * sizeof(Value));
    evaluator_.remembered_.push_back(std::move(scope_));
  }

 private:
  Evaluator& evaluator_;
  std::unique_ptr<Scope> scope_;
  Scope* const outer_;
};

// Counts levels of recursion, so that no template exhausts the stack: a render takes at most 1 MiB
// of it, 3 MiB under AddressSanitizer.
class Evaluator::Deeper {
 public:
  static constexpr int kMaxDepth = 8 * limits::kMaxTemplateDepth;

  explicit Deeper(Evaluator& evaluator) : evaluator_(evaluator) { ++evaluator_.depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;
  ~Deeper() { --evaluator_.depth_; }

  Outcome check(Position at) const {
    if (evaluator_.depth_ <= kMaxDepth) return {};
    return std::unexpected(error_at(at, "macros, loops and expressions are nested too deep"));
  }

 private:
  Evaluator& evaluator_;
};

}  // namespace sluice::text::jinja
