// Runs a parsed chat template over a request's values. One per render, one thread.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "text/template_builtins.h"
#include "text/template_program.h"

namespace sluice::text::jinja {

// Variables of one block: the template, a round of a loop, a macro call. A scope that a macro
// remembers lives until the render ends.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<NameId, Value>> variables;
  bool remembered = false;

  Value* find(NameId name);
  void set(NameId name, Value value);
};

class Evaluator {
 public:
  // All of them outlive the evaluator. `trusted` says which inputs are the model's own.
  Evaluator(const TemplateProgram& program, const json::object& inputs,
            bool (*trusted)(std::string_view name), double unix_seconds);
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;
  ~Evaluator();

  Result<Text> run();

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class Entered;  // a scope while it is current
  class Deeper;   // one level of recursion

  // Statements (template_eval.cc).
  Result<Flow> run_block(const Block& block);
  Result<Flow> run_statement(const Stmt& stmt);
  Result<Flow> run_if(const Stmt& stmt);
  Result<Flow> run_for(const Stmt& stmt);
  Result<Flow> run_loop(const Stmt& stmt, Scope* parent, const Value& iterable, size_t depth0);
  Result<Flow> run_rounds(const Stmt& stmt, Scope* parent, LoopState& loop, const Value& handle);
  Result<std::vector<Value>> loop_items(const Stmt& stmt, Scope* parent, const Value& iterable);
  Result<Flow> run_set_block(const Stmt& stmt);
  Result<Flow> run_call(const Stmt& stmt);
  Result<Flow> run_with(const Stmt& stmt);
  Result<Value> captured(const Block& block, Scope* parent, Flow* flow);
  Outcome assign(const Expr& target, const Value& value);
  Value make_macro(const Stmt& stmt, std::string_view name);

  // Expressions (template_eval_expr.cc).
  Result<Value> eval(const Expr& expr);
  Result<Value> eval_inner(const Expr& expr);
  Result<Value> eval_name(const Expr& expr);
  Result<Value> eval_list(const Expr& expr);
  Result<Value> eval_dict(const Expr& expr);
  Result<Value> eval_slice(const Expr& expr);
  Result<Value> eval_filter(const Expr& expr);
  Result<Value> eval_test(const Expr& expr);
  Result<Value> eval_either(const Expr& expr);
  Result<Value> eval_arithmetic(const Expr& expr);
  Result<Value> eval_concat(const Expr& expr);
  Result<Value> eval_compare(const Expr& expr);
  Result<Value> eval_conditional(const Expr& expr);
  Result<Value> eval_call(const Expr& expr);
  Result<Args> eval_arguments(const Expr& expr);
  Result<Value> call(const Value& callee, const Args& args);
  Result<Value> call_macro(const Function& macro, const Args& args);
  Outcome bind_parameters(const Function& macro, const Args& args, Scope& scope);
  Result<Value> call_loop(LoopState& loop, const Args& args);
  Result<Value> call_loop_method(LoopState& loop, std::string_view name, const Args& args);

  std::string_view name_of(NameId id) const { return program_.names[id]; }
  std::optional<NameId> id_of(std::string_view name) const;
  Outcome step(Position at);

  const TemplateProgram& program_;
  const json::object& inputs_;
  bool (*const trusted_)(std::string_view name);
  const Clock clock_;
  Meter meter_;  // outlives every value below
  Heap heap_{meter_};
  std::vector<std::optional<Value>> globals_;  // by NameId: inputs and functions, when first asked
  std::vector<std::unique_ptr<Scope>> remembered_;
  std::deque<std::shared_ptr<Object>> namespaces_;  // emptied at the end: they may form cycles
  Scope* scope_ = nullptr;
  TextBuilder* out_ = nullptr;
  Value placeholder_;
  Value pending_caller_;  // the body of the {% call %} whose macro is about to be called
  std::optional<NameId> loop_name_;
  std::optional<NameId> caller_name_;
  std::optional<NameId> varargs_name_;
  std::optional<NameId> kwargs_name_;
  int depth_ = 0;
  int macro_depth_ = 0;
};

}  // namespace sluice::text::jinja
