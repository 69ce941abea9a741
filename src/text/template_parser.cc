// Statements, and what every part of the parser uses.

#include "text/template_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/limits.h"

namespace sluice::text::jinja {
namespace {

constexpr uint32_t kMaxHeight = 200;

// For messages: what a token is.
std::string describe(const Token& token) {
  switch (token.type) {
    case TokenType::kText:
      return "text";
    case TokenType::kBlockBegin:
      return "'{%'";
    case TokenType::kBlockEnd:
      return "'%}'";
    case TokenType::kPrintBegin:
      return "'{{'";
    case TokenType::kPrintEnd:
      return "'}}'";
    case TokenType::kEnd:
      return "the end of the template";
    case TokenType::kString:
      return "a string";
    default:
      return fmt::format("'{}'", token.text);
  }
}

bool uses_name(const std::vector<Token>& tokens, size_t from, size_t to, std::string_view name) {
  return std::any_of(tokens.begin() + static_cast<ptrdiff_t>(from),
                     tokens.begin() + static_cast<ptrdiff_t>(to),
                     [&](const Token& token) { return token.is_name(name); });
}

}  // namespace

Result<TemplateProgram> Parser::run() {
  SLUICE_ASSIGN_OR_RETURN(program_.body, block_until({}));
  auto& mentioned = program_.mentioned;
  for (const Token& token : tokens_) {
    if (token.type == TokenType::kName || token.type == TokenType::kString) {
      mentioned.push_back(token.text);
    }
  }
  std::ranges::sort(mentioned);
  const auto rest = std::ranges::unique(mentioned);
  mentioned.erase(rest.begin(), rest.end());
  return std::move(program_);
}

// Statements up to a tag whose name is in `ends`; that name is the next token then. Without `ends`:
// the whole template.
Result<Block> Parser::block_until(std::initializer_list<std::string_view> ends) {
  Block block;
  const Position opened = now().at;
  for (;;) {
    const Token& token = now();
    if (token.type == TokenType::kText) {
      Stmt stmt(StmtKind::kText, token.at);
      stmt.text = Text::of(token.text, true);
      block.push_back(std::move(stmt));
      advance();
    } else if (token.type == TokenType::kPrintBegin) {
      advance();
      Stmt stmt(StmtKind::kPrint, token.at);
      SLUICE_ASSIGN_OR_RETURN(stmt.expr, tuple());
      if (now().type != TokenType::kPrintEnd) return unexpected_here("'}}'");
      advance();
      block.push_back(std::move(stmt));
    } else if (token.type == TokenType::kBlockBegin) {
      advance();
      if (now().type != TokenType::kName) return unexpected_here("the name of a statement");
      if (std::ranges::find(ends, now().text) != ends.end()) return block;
      SLUICE_RETURN_IF_ERROR(enter(token.at));
      SLUICE_ASSIGN_OR_RETURN(auto stmt, statement());
      leave();
      block.push_back(std::move(stmt));
    } else if (ends.size() == 0) {
      return block;
    } else {
      return std::unexpected(
          error_at(opened, fmt::format("this block has no end: expected '{}'", *(ends.end() - 1))));
    }
  }
}

// The body of a statement whose tag is read up to its end, and the name of the tag that ends it.
Result<Block> Parser::body_until(std::initializer_list<std::string_view> ends) {
  skip(":");
  SLUICE_RETURN_IF_ERROR(expect_end_of_tag());
  return block_until(ends);
}

Result<Stmt> Parser::statement() {
  static constexpr std::array<std::string_view, 6> kForeign = {"include", "import", "from",
                                                               "extends", "block",  "do"};
  const Token& token = now();
  const std::string_view name = token.text;
  const auto finish = [this](Result<Stmt> stmt) -> Result<Stmt> {
    if (stmt) SLUICE_RETURN_IF_ERROR(expect_end_of_tag());
    return stmt;
  };
  if (name == "if") return finish(if_statement());
  if (name == "for") return finish(for_statement());
  if (name == "set") return finish(set_statement());
  if (name == "macro") return finish(macro_statement());
  if (name == "call") return finish(call_statement());
  if (name == "filter") return finish(filter_statement());
  if (name == "with") return finish(with_statement());
  if (name == "generation") return finish(scope_statement("endgeneration"));
  if (name == "break") return finish(loop_control(StmtKind::kBreak));
  if (name == "continue") return finish(loop_control(StmtKind::kContinue));
  if (std::ranges::find(kForeign, name) != kForeign.end()) {
    return std::unexpected(
        error_at(token.at, fmt::format("'{}' is not available in chat templates", name)));
  }
  return std::unexpected(error_at(token.at, fmt::format("unknown statement '{}'", name)));
}

Result<Stmt> Parser::if_statement() {
  Stmt stmt(StmtKind::kIf, now().at);
  do {
    advance();
    Branch branch;
    SLUICE_ASSIGN_OR_RETURN(branch.condition, tuple(Ternary::kRefused));
    SLUICE_ASSIGN_OR_RETURN(branch.body, body_until({"elif", "else", "endif"}));
    stmt.branches.push_back(std::move(branch));
  } while (now().text == "elif");
  if (skip_name("else")) {
    Branch branch;
    SLUICE_ASSIGN_OR_RETURN(branch.body, body_until({"endif"}));
    stmt.branches.push_back(std::move(branch));
  }
  advance();
  return stmt;
}

Result<Stmt> Parser::for_statement() {
  Stmt stmt(StmtKind::kFor, now().at);
  advance();
  SLUICE_ASSIGN_OR_RETURN(stmt.target, target(false));
  SLUICE_RETURN_IF_ERROR(expect_name("in"));
  SLUICE_ASSIGN_OR_RETURN(stmt.expr, tuple(Ternary::kRefused));
  if (skip_name("if")) {
    SLUICE_ASSIGN_OR_RETURN(stmt.filter, expression());
  }
  stmt.recursive = skip_name("recursive");
  ++loops_;
  SLUICE_ASSIGN_OR_RETURN(stmt.body, body_until({"else", "endfor"}));
  --loops_;
  if (skip_name("else")) {
    SLUICE_ASSIGN_OR_RETURN(stmt.otherwise, body_until({"endfor"}));
  }
  advance();
  return stmt;
}

Result<Stmt> Parser::set_statement() {
  Stmt stmt(StmtKind::kSet, now().at);
  advance();
  SLUICE_ASSIGN_OR_RETURN(stmt.target, target(true));
  if (skip("=")) {
    SLUICE_ASSIGN_OR_RETURN(stmt.expr, tuple());
    return stmt;
  }
  stmt.kind = StmtKind::kSetBlock;
  if (now().is("|")) {
    SLUICE_ASSIGN_OR_RETURN(stmt.expr, filters(make(ExprKind::kPlaceholder, now().at)));
  }
  SLUICE_ASSIGN_OR_RETURN(stmt.body, body_until({"endset"}));
  advance();
  return stmt;
}

Result<Stmt> Parser::macro_statement() {
  Stmt stmt(StmtKind::kMacro, now().at);
  advance();
  SLUICE_ASSIGN_OR_RETURN(stmt.name, identifier());
  if (!now().is("(")) return unexpected_here("'('");
  SLUICE_RETURN_IF_ERROR(parameters(stmt));
  SLUICE_RETURN_IF_ERROR(macro_body(stmt, "endmacro"));
  return stmt;
}

Result<Stmt> Parser::call_statement() {
  Stmt stmt(StmtKind::kCall, now().at);
  advance();
  if (now().is("(")) SLUICE_RETURN_IF_ERROR(parameters(stmt));
  SLUICE_ASSIGN_OR_RETURN(stmt.expr, expression());
  if (stmt.expr->kind != ExprKind::kCall) {
    return std::unexpected(error_at(stmt.at, "expected a call, as in {% call name(…) %}"));
  }
  SLUICE_RETURN_IF_ERROR(macro_body(stmt, "endcall"));
  return stmt;
}

Outcome Parser::parameters(Stmt& stmt) {
  SLUICE_RETURN_IF_ERROR(expect("("));
  while (!now().is(")")) {
    if (!stmt.parameters.empty()) SLUICE_RETURN_IF_ERROR(expect(","));
    Parameter parameter{};
    const Position at = now().at;
    SLUICE_ASSIGN_OR_RETURN(parameter.name, identifier());
    if (skip("=")) {
      SLUICE_ASSIGN_OR_RETURN(parameter.fallback, expression());
    } else if (!stmt.parameters.empty() && stmt.parameters.back().fallback) {
      return std::unexpected(
          error_at(at, "a parameter without a default follows one that has a default"));
    }
    stmt.parameters.push_back(std::move(parameter));
  }
  return expect(")");
}

Outcome Parser::macro_body(Stmt& stmt, std::string_view end) {
  const size_t from = at_;
  const int outer_loops = std::exchange(loops_, 0);
  SLUICE_ASSIGN_OR_RETURN(stmt.body, body_until({end}));
  loops_ = outer_loops;
  stmt.takes_varargs = uses_name(tokens_, from, at_, "varargs");
  stmt.takes_kwargs = uses_name(tokens_, from, at_, "kwargs");
  stmt.takes_caller = uses_name(tokens_, from, at_, "caller");
  advance();
  return {};
}

Result<Stmt> Parser::filter_statement() {
  Stmt stmt(StmtKind::kFilter, now().at);
  advance();
  SLUICE_ASSIGN_OR_RETURN(stmt.expr, filter(make(ExprKind::kPlaceholder, now().at)));
  SLUICE_ASSIGN_OR_RETURN(stmt.expr, filters(std::move(stmt.expr)));
  SLUICE_ASSIGN_OR_RETURN(stmt.body, body_until({"endfilter"}));
  advance();
  return stmt;
}

Result<Stmt> Parser::with_statement() {
  Stmt stmt(StmtKind::kWith, now().at);
  advance();
  if (now().type == TokenType::kName) {
    do {
      std::pair<ExprPtr, ExprPtr> binding;
      SLUICE_ASSIGN_OR_RETURN(binding.first, one_target(false));
      SLUICE_RETURN_IF_ERROR(expect("="));
      SLUICE_ASSIGN_OR_RETURN(binding.second, expression());
      stmt.bindings.push_back(std::move(binding));
    } while (skip(","));
  }
  SLUICE_ASSIGN_OR_RETURN(stmt.body, body_until({"endwith"}));
  advance();
  return stmt;
}

Result<Stmt> Parser::scope_statement(std::string_view end) {
  Stmt stmt(StmtKind::kScope, now().at);
  advance();
  SLUICE_ASSIGN_OR_RETURN(stmt.body, body_until({end}));
  advance();
  return stmt;
}

Result<Stmt> Parser::loop_control(StmtKind kind) {
  Stmt stmt(kind, now().at);
  if (loops_ == 0) {
    return std::unexpected(error_at(stmt.at, fmt::format("'{}' outside a loop", now().text)));
  }
  advance();
  return stmt;
}

Result<ExprPtr> Parser::target(bool may_be_attribute) {
  const Position at = now().at;
  const bool parenthesized = skip("(");
  SLUICE_ASSIGN_OR_RETURN(auto first, one_target(may_be_attribute));
  if (now().is(",")) {
    auto tuple = make(ExprKind::kTuple, at);
    SLUICE_RETURN_IF_ERROR(add(*tuple, std::move(first)));
    while (skip(",")) {
      if (now().type != TokenType::kName && !now().is("(")) break;
      SLUICE_RETURN_IF_ERROR(enter(now().at));
      Result<ExprPtr> next =
          now().is("(") ? target(may_be_attribute) : one_target(may_be_attribute);
      if (!next) return next;
      leave();
      SLUICE_RETURN_IF_ERROR(add(*tuple, std::move(*next)));
    }
    first = std::move(tuple);
  }
  if (parenthesized) SLUICE_RETURN_IF_ERROR(expect(")"));
  return first;
}

Result<ExprPtr> Parser::one_target(bool may_be_attribute) {
  const Position at = now().at;
  static constexpr std::array<std::string_view, 6> kReserved = {"true", "false", "none",
                                                                "True", "False", "None"};
  if (now().type == TokenType::kName &&
      std::ranges::find(kReserved, now().text) != kReserved.end()) {
    return std::unexpected(error_at(at, fmt::format("cannot assign to '{}'", now().text)));
  }
  auto name = make(ExprKind::kName, at);
  SLUICE_ASSIGN_OR_RETURN(name->name, identifier());
  if (!may_be_attribute || !now().is(".")) return name;
  advance();
  auto attribute = make(ExprKind::kAttribute, at);
  SLUICE_ASSIGN_OR_RETURN(attribute->name, identifier());
  SLUICE_RETURN_IF_ERROR(add(*attribute, std::move(name)));
  return attribute;
}

bool Parser::skip(std::string_view symbol) {
  if (!now().is(symbol)) return false;
  advance();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!now().is_name(name)) return false;
  advance();
  return true;
}

Outcome Parser::expect(std::string_view symbol) {
  if (skip(symbol)) return {};
  return unexpected_here(fmt::format("'{}'", symbol));
}

Outcome Parser::expect_name(std::string_view name) {
  if (skip_name(name)) return {};
  return unexpected_here(fmt::format("'{}'", name));
}

Outcome Parser::expect_end_of_tag() {
  if (now().type != TokenType::kBlockEnd) return unexpected_here("'%}'");
  advance();
  return {};
}

Result<NameId> Parser::identifier() {
  if (now().type != TokenType::kName) return unexpected_here("a name");
  const NameId id = intern(now().text);
  advance();
  return id;
}

std::unexpected<Status> Parser::unexpected_here(std::string_view wanted) const {
  return std::unexpected(
      error_at(now().at, fmt::format("expected {}, found {}", wanted, describe(now()))));
}

ExprPtr Parser::make(ExprKind kind, Position at) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->at = at;
  return node;
}

Outcome Parser::add(Expr& parent, ExprPtr child) const {
  if (child) {
    parent.height = std::max(parent.height, child->height + 1);
    if (parent.height > kMaxHeight) {
      return std::unexpected(error_at(parent.at, "this expression is nested too deep"));
    }
  }
  parent.parts.push_back(std::move(child));
  return {};
}

NameId Parser::intern(std::string_view name) {
  const auto [it, added] =
      ids_.try_emplace(std::string(name), static_cast<NameId>(program_.names.size()));
  if (added) program_.names.emplace_back(name);
  return it->second;
}

Outcome Parser::enter(Position at) {
  if (++depth_ <= limits::kMaxTemplateDepth) return {};
  return std::unexpected(
      error_at(at, fmt::format("blocks or parentheses are nested deeper than {} levels",
                               limits::kMaxTemplateDepth)));
}

}  // namespace sluice::text::jinja
