// Expressions of the evaluator.

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "text/template_eval.h"
#include "text/template_eval_scope.h"

namespace sluice::text::jinja {
namespace {

// An error of a value's operation, with where it happened.
std::unexpected<Status> located(Status status, Position at) {
  if (status.reason() == kLocated) return std::unexpected(std::move(status));
  return std::unexpected(error_at(at, status.message(), status.code()));
}

}  // namespace

Result<Value> Evaluator::eval(const Expr& expr) {
  const Deeper deeper(*this);
  SLUICE_RETURN_IF_ERROR(deeper.check(expr.at));
  SLUICE_RETURN_IF_ERROR(step(expr.at));
  auto value = eval_inner(expr);
  if (!value) return located(std::move(value).error(), expr.at);
  return value;
}

Result<Value> Evaluator::eval_inner(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName:
      return eval_name(expr);
    case ExprKind::kPlaceholder:
      return std::exchange(placeholder_, Value());
    case ExprKind::kList:
    case ExprKind::kTuple:
      return eval_list(expr);
    case ExprKind::kDict:
      return eval_dict(expr);
    case ExprKind::kAttribute: {
      SLUICE_ASSIGN_OR_RETURN(const Value object, eval(*expr.parts[0]));
      return get_attribute(heap_, object, name_of(expr.name));
    }
    case ExprKind::kItem: {
      SLUICE_ASSIGN_OR_RETURN(const Value object, eval(*expr.parts[0]));
      SLUICE_ASSIGN_OR_RETURN(const Value key, eval(*expr.parts[1]));
      return get_item(heap_, object, key);
    }
    case ExprKind::kSlice:
      return eval_slice(expr);
    case ExprKind::kCall:
      return eval_call(expr);
    case ExprKind::kFilter:
      return eval_filter(expr);
    case ExprKind::kTest:
      return eval_test(expr);
    case ExprKind::kNot: {
      SLUICE_ASSIGN_OR_RETURN(const Value operand, eval(*expr.parts[0]));
      return !operand.truthy();
    }
    case ExprKind::kNegative:
    case ExprKind::kPositive: {
      SLUICE_ASSIGN_OR_RETURN(const Value operand, eval(*expr.parts[0]));
      if (expr.kind == ExprKind::kNegative) return negative(operand);
      return arithmetic(heap_, Op::kAdd, 0, operand);
    }
    case ExprKind::kAnd:
    case ExprKind::kOr:
      return eval_either(expr);
    case ExprKind::kArithmetic:
      return eval_arithmetic(expr);
    case ExprKind::kConcat:
      return eval_concat(expr);
    case ExprKind::kCompare:
      return eval_compare(expr);
    case ExprKind::kConditional:
      return eval_conditional(expr);
  }
  return Value();
}

// A variable: of the nearest scope, then the request's, then the language's.
Result<Value> Evaluator::eval_name(const Expr& expr) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    if (const Value* value = scope->find(expr.name)) return *value;
  }
  std::optional<Value>& global = globals_[expr.name];
  if (global) return *global;
  const std::string_view name = name_of(expr.name);
  if (const json::value* input = inputs_.if_contains(name)) {
    global = heap_.from_json(*input, !trusted_(name));
  } else if (is_function(name)) {
    auto function = std::make_shared<Function>();
    function->name = name;
    global = Value(std::shared_ptr<Object>(std::move(function)));
  } else {
    global = Value::undefined(fmt::format("'{}' is undefined", name));
  }
  return *global;
}

Result<Value> Evaluator::eval_list(const Expr& expr) {
  std::vector<Value> items;
  for (const auto& part : expr.parts) {
    SLUICE_ASSIGN_OR_RETURN(Value item, eval(*part));
    items.push_back(std::move(item));
  }
  return heap_.list(std::move(items), expr.kind == ExprKind::kList ? Shape::kList : Shape::kTuple);
}

Result<Value> Evaluator::eval_dict(const Expr& expr) {
  std::vector<Dict::Entry> entries;
  for (size_t i = 0; i < expr.parts.size(); i += 2) {
    SLUICE_ASSIGN_OR_RETURN(Value key, eval(*expr.parts[i]));
    SLUICE_ASSIGN_OR_RETURN(Value value, eval(*expr.parts[i + 1]));
    if (!hashable(key)) {
      return invalid(fmt::format("a value of type '{}' cannot be a key", key.type_name()));
    }
    entries.emplace_back(std::move(key), std::move(value));
  }
  return heap_.merged_dict(std::move(entries));
}

Result<Value> Evaluator::eval_slice(const Expr& expr) {
  SLUICE_ASSIGN_OR_RETURN(const Value object, eval(*expr.parts[0]));
  std::array<Value, 3> bounds = {Value(None{}), Value(None{}), Value(None{})};
  for (size_t i = 0; i < bounds.size(); ++i) {
    if (!expr.parts[i + 1]) continue;
    SLUICE_ASSIGN_OR_RETURN(bounds[i], eval(*expr.parts[i + 1]));
  }
  return get_slice(heap_, object, bounds[0], bounds[1], bounds[2]);
}

Result<Args> Evaluator::eval_arguments(const Expr& expr) {
  Args args;
  for (size_t i = 1; i < expr.parts.size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(Value value, eval(*expr.parts[i]));
    args.positional.push_back(std::move(value));
  }
  for (const Keyword& keyword : expr.named) {
    SLUICE_ASSIGN_OR_RETURN(Value value, eval(*keyword.value));
    args.named.emplace_back(name_of(keyword.name), std::move(value));
  }
  return args;
}

Result<Value> Evaluator::eval_filter(const Expr& expr) {
  const std::string_view name = name_of(expr.name);
  const Filter filter = find_filter(name);
  if (filter == nullptr) return invalid(fmt::format("there is no filter '{}'", name));
  SLUICE_ASSIGN_OR_RETURN(const Value value, eval(*expr.parts[0]));
  SLUICE_ASSIGN_OR_RETURN(const Args args, eval_arguments(expr));
  return filter(heap_, value, args);
}

Result<Value> Evaluator::eval_test(const Expr& expr) {
  const std::string_view name = name_of(expr.name);
  const Test test = find_test(name);
  if (test == nullptr) return invalid(fmt::format("there is no test '{}'", name));
  SLUICE_ASSIGN_OR_RETURN(const Value value, eval(*expr.parts[0]));
  SLUICE_ASSIGN_OR_RETURN(const Args args, eval_arguments(expr));
  SLUICE_ASSIGN_OR_RETURN(const bool holds, test(heap_, value, args));
  return holds != expr.negated;
}

// `and` and `or` yield the operand that decides.
Result<Value> Evaluator::eval_either(const Expr& expr) {
  const bool decides = expr.kind == ExprKind::kOr;
  Value value;
  for (const auto& part : expr.parts) {
    SLUICE_ASSIGN_OR_RETURN(value, eval(*part));
    if (value.truthy() == decides) break;
  }
  return value;
}

Result<Value> Evaluator::eval_arithmetic(const Expr& expr) {
  SLUICE_ASSIGN_OR_RETURN(Value left, eval(*expr.parts[0]));
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(const Value right, eval(*expr.parts[i + 1]));
    SLUICE_ASSIGN_OR_RETURN(left, arithmetic(heap_, expr.ops[i], left, right));
  }
  return left;
}

Result<Value> Evaluator::eval_concat(const Expr& expr) {
  TextBuilder text;
  for (const auto& part : expr.parts) {
    SLUICE_ASSIGN_OR_RETURN(const Value value, eval(*part));
    print(value, text);
  }
  return heap_.string(std::move(text));
}

Result<Value> Evaluator::eval_compare(const Expr& expr) {
  SLUICE_ASSIGN_OR_RETURN(Value left, eval(*expr.parts[0]));
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(Value right, eval(*expr.parts[i + 1]));
    SLUICE_ASSIGN_OR_RETURN(const bool holds, compare(heap_, expr.ops[i], left, right));
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Result<Value> Evaluator::eval_conditional(const Expr& expr) {
  SLUICE_ASSIGN_OR_RETURN(const Value condition, eval(*expr.parts[1]));
  if (condition.truthy()) return eval(*expr.parts[0]);
  if (expr.parts[2]) return eval(*expr.parts[2]);
  return Value::undefined("the inline if-expression evaluated to false and has no else section");
}

Result<Value> Evaluator::eval_call(const Expr& expr) {
  Value caller = std::exchange(pending_caller_, Value());
  const Expr& target = *expr.parts[0];
  Value object;
  Value callee;
  if (target.kind == ExprKind::kAttribute) {
    SLUICE_ASSIGN_OR_RETURN(object, eval(*target.parts[0]));
  } else {
    SLUICE_ASSIGN_OR_RETURN(callee, eval(target));
  }
  SLUICE_ASSIGN_OR_RETURN(Args args, eval_arguments(expr));
  if (!caller.is_undefined()) args.named.emplace_back("caller", std::move(caller));
  if (target.kind != ExprKind::kAttribute) return call(callee, args);

  const std::string_view name = name_of(target.name);
  if (auto* loop = object.object_as<LoopState>()) return call_loop_method(*loop, name, args);
  if (const Method method = find_method(object, name)) return method(heap_, object, args);
  SLUICE_ASSIGN_OR_RETURN(callee, get_attribute(heap_, object, name));
  return call(callee, args);
}

Result<Value> Evaluator::call(const Value& callee, const Args& args) {
  if (callee.is_undefined()) return invalid(callee.why_undefined());
  if (auto* loop = callee.object_as<LoopState>()) return call_loop(*loop, args);
  if (auto* joiner = callee.object_as<Joiner>()) {
    return std::exchange(joiner->used, true) ? joiner->separator : Value::literal("");
  }
  const auto* function = callee.object_as<Function>();
  if (function == nullptr) {
    return invalid(fmt::format("a value of type '{}' cannot be called", callee.type_name()));
  }
  if (function->macro != nullptr) return call_macro(*function, args);
  if (!function->self.is_undefined()) {
    const Method method = find_method(function->self, function->name);
    if (method == nullptr) return invalid(fmt::format("'{}' cannot be called", function->name));
    return method(heap_, function->self, args);
  }
  SLUICE_ASSIGN_OR_RETURN(Value made, call_function(heap_, clock_, function->name, args));
  if (made.object_as<Namespace>() != nullptr) {
    meter_.hold(sizeof(Namespace));
    namespaces_.push_back(made.object());
  }
  return made;
}

Result<Value> Evaluator::call_macro(const Function& macro, const Args& args) {
  if (macro_depth_ >= limits::kMaxTemplateDepth) {
    return invalid(
        fmt::format("macros call each other more than {} levels deep", limits::kMaxTemplateDepth));
  }
  const Deeper deeper(*this);
  SLUICE_RETURN_IF_ERROR(deeper.check(macro.macro->at));
  ++macro_depth_;
  TextBuilder text;
  TextBuilder* const outer = std::exchange(out_, &text);
  Outcome result;
  {
    const Entered inner(*this, macro.scope);
    result = bind_parameters(macro, args, *scope_);
    if (result) {
      if (auto flow = run_block(macro.macro->body); !flow) {
        result = std::unexpected(std::move(flow).error());
      }
    }
  }
  out_ = outer;
  --macro_depth_;
  SLUICE_RETURN_IF_ERROR(result);
  return heap_.string(std::move(text));
}

Outcome Evaluator::bind_parameters(const Function& macro, const Args& args, Scope& scope) {
  const Stmt& stmt = *macro.macro;
  std::vector<bool> used(args.named.size());
  const auto named = [&](std::string_view name) -> const Value* {
    for (size_t i = 0; i < args.named.size(); ++i) {
      if (args.named[i].first != name) continue;
      used[i] = true;
      return &args.named[i].second;
    }
    return nullptr;
  };
  for (size_t i = 0; i < stmt.parameters.size(); ++i) {
    const Parameter& parameter = stmt.parameters[i];
    const std::string_view name = name_of(parameter.name);
    const Value* given = i < args.positional.size() ? &args.positional[i] : named(name);
    Value value;
    if (given != nullptr) {
      value = *given;
    } else if (parameter.fallback) {
      SLUICE_ASSIGN_OR_RETURN(value, eval(*parameter.fallback));
    } else {
      value = Value::undefined(fmt::format("parameter '{}' was not provided", name));
    }
    scope.set(parameter.name, std::move(value));
  }
  if (stmt.takes_caller && caller_name_ && scope.find(*caller_name_) == nullptr) {
    const Value* caller = named("caller");
    scope.set(*caller_name_,
              caller != nullptr ? *caller : Value::undefined("no caller is defined"));
  }
  std::vector<Dict::Entry> rest;
  for (size_t i = 0; i < args.named.size(); ++i) {
    if (used[i]) continue;
    if (!stmt.takes_kwargs) {
      return invalid(
          fmt::format("macro '{}' takes no argument '{}'", macro.name, args.named[i].first));
    }
    rest.emplace_back(Value::literal(args.named[i].first), args.named[i].second);
  }
  if (stmt.takes_kwargs) scope.set(*kwargs_name_, heap_.dict(std::move(rest)));
  std::vector<Value> surplus;
  for (size_t i = stmt.parameters.size(); i < args.positional.size(); ++i) {
    surplus.push_back(args.positional[i]);
  }
  if (!surplus.empty() && !stmt.takes_varargs) {
    return invalid(fmt::format("macro '{}' takes at most {} arguments, found {}", macro.name,
                               stmt.parameters.size(), args.positional.size()));
  }
  if (stmt.takes_varargs) {
    scope.set(*varargs_name_, heap_.list(std::move(surplus), Shape::kTuple));
  }
  return {};
}

// loop(items): what the body of a recursive loop prints for these.
Result<Value> Evaluator::call_loop(LoopState& loop, const Args& args) {
  if (loop.stmt == nullptr || !loop.stmt->recursive) {
    return invalid("loop(…) is for loops that are marked 'recursive'");
  }
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("loop", args, {"iterable"}, 1));
  TextBuilder text;
  TextBuilder* const outer = std::exchange(out_, &text);
  auto flow = run_loop(*loop.stmt, loop.parent, *bound[0], loop.depth0 + 1);
  out_ = outer;
  if (!flow) return std::unexpected(std::move(flow).error());
  return heap_.string(std::move(text));
}

Result<Value> Evaluator::call_loop_method(LoopState& loop, std::string_view name,
                                          const Args& args) {
  const auto& values = args.positional;
  if (name == "cycle") {
    if (values.empty()) return invalid("loop.cycle() needs at least one value");
    return values[loop.index % values.size()];
  }
  if (name == "changed") {
    const bool changed =
        !loop.changed_before || !std::ranges::equal(values, loop.last_changed, equal);
    loop.changed_before = true;
    loop.last_changed = values;
    return changed;
  }
  return invalid(fmt::format("a loop has no method '{}'", name));
}

}  // namespace sluice::text::jinja
