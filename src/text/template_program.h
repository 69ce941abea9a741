// The parsed form of a chat template: plain data, immutable once parsed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/template_lexer.h"
#include "text/template_value.h"

namespace sluice::text::jinja {

using NameId = uint32_t;  // index into TemplateProgram::names

enum class ExprKind : uint8_t {
  kConstant,     // constant
  kName,         // name
  kPlaceholder,  // what a filter block or a filtered set block wraps
  kList,         // parts
  kTuple,        // parts
  kDict,         // parts: key, value, key, value, …
  kAttribute,    // parts[0].name
  kItem,         // parts[0][parts[1]]
  kSlice,        // parts[0][parts[1]:parts[2]:parts[3]], any of the three may be null
  kCall,         // parts[0](parts[1…], named)
  kFilter,       // parts[0] | name(parts[1…], named)
  kTest,         // parts[0] is name(parts[1…], named), or `is not`
  kNot,          // parts[0]
  kNegative,     // parts[0]
  kPositive,     // parts[0]
  kAnd,          // all parts, left to right
  kOr,           // all parts, left to right
  kArithmetic,   // parts[0] ops[0] parts[1] ops[1] …, grouped from the left
  kConcat,       // parts joined by ~
  kCompare,      // parts[0] ops[0] parts[1] and parts[1] ops[1] parts[2] …
  kConditional,  // parts[0] if parts[1] else parts[2]; parts[2] may be null
};

enum class Op : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Keyword {
  NameId name;
  ExprPtr value;
};

struct Expr {
  ExprKind kind;
  Position at;
  NameId name = 0;
  bool negated = false;
  uint32_t height = 1;  // bounded, so that walking an expression never recurses far
  Value constant;
  std::vector<ExprPtr> parts;
  std::vector<Op> ops;
  std::vector<Keyword> named;
};

enum class StmtKind : uint8_t {
  kText,      // text
  kPrint,     // expr
  kIf,        // branches; the last may have a null condition (else)
  kFor,       // target in expr [if filter]: body; otherwise
  kSet,       // target = expr
  kSetBlock,  // target = body, through expr where that is not null
  kMacro,     // name(parameters): body
  kCall,      // expr is the call; caller(parameters) renders body
  kFilter,    // expr wraps body
  kWith,      // targets and values in pairs: body
  kScope,     // body, in a scope of its own
  kBreak,
  kContinue,
};

struct Stmt;
using Block = std::vector<Stmt>;

struct Branch {
  ExprPtr condition;
  Block body;
};

struct Parameter {
  NameId name;
  ExprPtr fallback;  // may be null
};

struct Stmt {
  Stmt(StmtKind k, Position position) : kind(k), at(position) {}

  StmtKind kind;
  Position at;
  Text text;
  ExprPtr target;  // kName, kTuple of targets, or kAttribute of a kName (a namespace's)
  ExprPtr expr;
  ExprPtr filter;
  bool recursive = false;
  NameId name = 0;
  std::vector<Parameter> parameters;
  bool takes_varargs = false;  // the macro's body uses these names
  bool takes_kwargs = false;
  bool takes_caller = false;
  std::vector<std::pair<ExprPtr, ExprPtr>> bindings;
  std::vector<Branch> branches;
  Block body;
  Block otherwise;
};

}  // namespace sluice::text::jinja

namespace sluice::text {

struct TemplateProgram {
  std::vector<std::string> names;
  std::vector<std::string> mentioned;  // sorted: names, attributes and keys that stand in it
  jinja::Block body;
};

}  // namespace sluice::text
