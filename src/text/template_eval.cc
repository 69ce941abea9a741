// Statements of the evaluator.

#include "text/template_eval.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "text/template_eval_scope.h"

namespace sluice::text::jinja {

Value* Scope::find(NameId name) {
  for (auto& [id, value] : variables) {
    if (id == name) return &value;
  }
  return nullptr;
}

void Scope::set(NameId name, Value value) {
  if (Value* old = find(name)) {
    *old = std::move(value);
  } else {
    variables.emplace_back(name, std::move(value));
  }
}

Evaluator::Evaluator(const TemplateProgram& program, const json::object& inputs,
                     bool (*trusted)(std::string_view name), double unix_seconds)
    : program_(program),
      inputs_(inputs),
      trusted_(trusted),
      clock_{unix_seconds},
      globals_(program.names.size()),
      loop_name_(id_of("loop")),
      caller_name_(id_of("caller")),
      varargs_name_(id_of("varargs")),
      kwargs_name_(id_of("kwargs")) {}

Evaluator::~Evaluator() {
  for (const auto& object : namespaces_) static_cast<Namespace&>(*object).attributes.clear();
}

std::optional<NameId> Evaluator::id_of(std::string_view name) const {
  const auto it = std::ranges::find(program_.names, name);
  if (it == program_.names.end()) return std::nullopt;
  return static_cast<NameId>(it - program_.names.begin());
}

Result<Text> Evaluator::run() {
  TextBuilder out;
  out_ = &out;
  Result<Flow> flow = Flow::kNext;
  {
    const Entered root(*this, nullptr);
    flow = run_block(program_.body);
  }
  if (!flow) return std::unexpected(std::move(flow).error());
  heap_.admit(out);
  SLUICE_RETURN_IF_ERROR(step({}));
  return out.take();
}

Outcome Evaluator::step(Position at) {
  meter_.step();
  if (!meter_.failed()) return {};
  return std::unexpected(error_at(at, meter_.check().error().message(), Code::kTooLarge));
}

Result<Evaluator::Flow> Evaluator::run_block(const Block& block) {
  for (const Stmt& stmt : block) {
    SLUICE_RETURN_IF_ERROR(step(stmt.at));
    SLUICE_ASSIGN_OR_RETURN(const Flow flow, run_statement(stmt));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Evaluator::Flow> Evaluator::run_statement(const Stmt& stmt) {
  switch (stmt.kind) {
    case StmtKind::kText:
      out_->append(stmt.text);
      return Flow::kNext;
    case StmtKind::kPrint: {
      SLUICE_ASSIGN_OR_RETURN(const Value value, eval(*stmt.expr));
      print(value, *out_);
      heap_.admit(*out_);
      return Flow::kNext;
    }
    case StmtKind::kIf:
      return run_if(stmt);
    case StmtKind::kFor:
      return run_for(stmt);
    case StmtKind::kSet: {
      SLUICE_ASSIGN_OR_RETURN(const Value value, eval(*stmt.expr));
      SLUICE_RETURN_IF_ERROR(assign(*stmt.target, value));
      return Flow::kNext;
    }
    case StmtKind::kSetBlock:
      return run_set_block(stmt);
    case StmtKind::kMacro:
      scope_->set(stmt.name, make_macro(stmt, name_of(stmt.name)));
      return Flow::kNext;
    case StmtKind::kCall:
      return run_call(stmt);
    case StmtKind::kFilter: {
      Flow flow = Flow::kNext;
      SLUICE_ASSIGN_OR_RETURN(placeholder_, captured(stmt.body, scope_, &flow));
      SLUICE_ASSIGN_OR_RETURN(const Value value, eval(*stmt.expr));
      print(value, *out_);
      return flow;
    }
    case StmtKind::kWith:
      return run_with(stmt);
    case StmtKind::kScope: {
      const Deeper deeper(*this);
      SLUICE_RETURN_IF_ERROR(deeper.check(stmt.at));
      const Entered inner(*this, scope_);
      return run_block(stmt.body);
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Result<Evaluator::Flow> Evaluator::run_if(const Stmt& stmt) {
  const Deeper deeper(*this);
  SLUICE_RETURN_IF_ERROR(deeper.check(stmt.at));
  for (const Branch& branch : stmt.branches) {
    if (branch.condition) {
      SLUICE_ASSIGN_OR_RETURN(const Value condition, eval(*branch.condition));
      if (!condition.truthy()) continue;
    }
    return run_block(branch.body);
  }
  return Flow::kNext;
}

Result<Evaluator::Flow> Evaluator::run_for(const Stmt& stmt) {
  SLUICE_ASSIGN_OR_RETURN(const Value iterable, eval(*stmt.expr));
  return run_loop(stmt, scope_, iterable, 0);
}

// The items that the loop walks: those that pass its filter.
Result<std::vector<Value>> Evaluator::loop_items(const Stmt& stmt, Scope* parent,
                                                 const Value& iterable) {
  auto items = iterate(heap_, iterable);
  if (!items) return std::unexpected(error_at(stmt.expr->at, items.error().message()));
  if (!stmt.filter) return items;
  std::vector<Value> kept;
  for (Value& item : *items) {
    SLUICE_RETURN_IF_ERROR(step(stmt.at));
    const Entered round(*this, parent);
    SLUICE_RETURN_IF_ERROR(assign(*stmt.target, item));
    SLUICE_ASSIGN_OR_RETURN(const Value passes, eval(*stmt.filter));
    if (passes.truthy()) kept.push_back(std::move(item));
  }
  return kept;
}

Result<Evaluator::Flow> Evaluator::run_loop(const Stmt& stmt, Scope* parent, const Value& iterable,
                                            size_t depth0) {
  const Deeper deeper(*this);
  SLUICE_RETURN_IF_ERROR(deeper.check(stmt.at));
  const auto loop = std::make_shared<LoopState>();
  SLUICE_ASSIGN_OR_RETURN(loop->items, loop_items(stmt, parent, iterable));
  if (loop->items.empty()) {
    const Entered inner(*this, parent);
    return run_block(stmt.otherwise);
  }
  loop->depth0 = depth0;
  loop->stmt = &stmt;
  loop->parent = parent;
  const Lease lease(meter_, loop->items.size() * sizeof(Value));
  auto flow = run_rounds(stmt, parent, *loop, Value(std::shared_ptr<Object>(loop)));
  // The object may have been kept somewhere; it must not keep what it walked.
  loop->items.clear();
  loop->last_changed.clear();
  loop->stmt = nullptr;
  return flow;
}

Result<Evaluator::Flow> Evaluator::run_rounds(const Stmt& stmt, Scope* parent, LoopState& loop,
                                              const Value& handle) {
  for (loop.index = 0; loop.index < loop.items.size(); ++loop.index) {
    SLUICE_RETURN_IF_ERROR(step(stmt.at));
    const Entered round(*this, parent);
    if (loop_name_) scope_->set(*loop_name_, handle);
    SLUICE_RETURN_IF_ERROR(assign(*stmt.target, loop.items[loop.index]));
    SLUICE_ASSIGN_OR_RETURN(const Flow flow, run_block(stmt.body));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

// What a block prints, as a string.
Result<Value> Evaluator::captured(const Block& block, Scope* parent, Flow* flow) {
  const Deeper deeper(*this);
  SLUICE_RETURN_IF_ERROR(deeper.check({}));
  TextBuilder text;
  TextBuilder* const outer = std::exchange(out_, &text);
  Result<Flow> result = Flow::kNext;
  {
    const Entered inner(*this, parent);
    result = run_block(block);
  }
  out_ = outer;
  if (!result) return std::unexpected(std::move(result).error());
  if (flow != nullptr) *flow = *result;
  return heap_.string(std::move(text));
}

Result<Evaluator::Flow> Evaluator::run_set_block(const Stmt& stmt) {
  Flow flow = Flow::kNext;
  SLUICE_ASSIGN_OR_RETURN(Value value, captured(stmt.body, scope_, &flow));
  if (stmt.expr) {
    placeholder_ = std::move(value);
    SLUICE_ASSIGN_OR_RETURN(value, eval(*stmt.expr));
  }
  SLUICE_RETURN_IF_ERROR(assign(*stmt.target, value));
  return flow;
}

Result<Evaluator::Flow> Evaluator::run_call(const Stmt& stmt) {
  pending_caller_ = make_macro(stmt, "caller");
  SLUICE_ASSIGN_OR_RETURN(const Value value, eval(*stmt.expr));
  print(value, *out_);
  return Flow::kNext;
}

Result<Evaluator::Flow> Evaluator::run_with(const Stmt& stmt) {
  const Deeper deeper(*this);
  SLUICE_RETURN_IF_ERROR(deeper.check(stmt.at));
  std::vector<Value> values;
  for (const auto& [target, expr] : stmt.bindings) {
    SLUICE_ASSIGN_OR_RETURN(Value value, eval(*expr));
    values.push_back(std::move(value));
  }
  const Entered inner(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) {
    SLUICE_RETURN_IF_ERROR(assign(*stmt.bindings[i].first, values[i]));
  }
  return run_block(stmt.body);
}

Outcome Evaluator::assign(const Expr& target, const Value& value) {
  if (target.kind == ExprKind::kName) {
    scope_->set(target.name, value);
    return {};
  }
  if (target.kind == ExprKind::kAttribute) {
    SLUICE_ASSIGN_OR_RETURN(const Value object, eval(*target.parts[0]));
    auto* space = object.object_as<Namespace>();
    if (space == nullptr) {
      return std::unexpected(
          error_at(target.at, fmt::format("only attributes of a namespace can be set, '{}' is {}",
                                          name_of(target.parts[0]->name), object.type_name())));
    }
    space->attributes.insert_or_assign(std::string(name_of(target.name)), value);
    return {};
  }
  auto items = iterate(heap_, value);
  if (!items) return std::unexpected(error_at(target.at, items.error().message()));
  if (items->size() != target.parts.size()) {
    return std::unexpected(error_at(target.at, fmt::format("cannot unpack {} values into {} names",
                                                           items->size(), target.parts.size())));
  }
  for (size_t i = 0; i < items->size(); ++i) {
    SLUICE_RETURN_IF_ERROR(assign(*target.parts[i], (*items)[i]));
  }
  return {};
}

Value Evaluator::make_macro(const Stmt& stmt, std::string_view name) {
  auto macro = std::make_shared<Function>();
  macro->name = name;
  macro->macro = &stmt;
  macro->scope = scope_;
  for (Scope* s = scope_; s != nullptr && !s->remembered; s = s->parent) s->remembered = true;
  return std::shared_ptr<Object>(std::move(macro));
}

}  // namespace sluice::text::jinja
