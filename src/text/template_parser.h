// Chat template source → TemplateProgram. The grammar is Jinja's, less what reaches for other
// templates (include, import, from, extends, block), which is refused by name.
#pragma once

#include <initializer_list>
#include <string_view>
#include <unordered_map>

#include "base/status.h"
#include "text/template_program.h"

namespace sluice::text::jinja {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<TemplateProgram> run();

 private:
  // Statements (template_parser.cc).
  Result<Block> block_until(std::initializer_list<std::string_view> ends);
  Result<Block> body_until(std::initializer_list<std::string_view> ends);
  Result<Stmt> statement();
  Result<Stmt> if_statement();
  Result<Stmt> for_statement();
  Result<Stmt> set_statement();
  Result<Stmt> macro_statement();
  Result<Stmt> call_statement();
  Result<Stmt> filter_statement();
  Result<Stmt> with_statement();
  Result<Stmt> scope_statement(std::string_view end);
  Result<Stmt> loop_control(StmtKind kind);
  Outcome parameters(Stmt& stmt);
  Outcome macro_body(Stmt& stmt, std::string_view end);
  Result<ExprPtr> target(bool may_be_attribute);
  Result<ExprPtr> one_target(bool may_be_attribute);

  // Expressions (template_expression_parser.cc), from the loosest to the tightest.
  enum class Ternary { kAllowed, kRefused };
  Result<ExprPtr> tuple(Ternary ternary = Ternary::kAllowed);
  Result<ExprPtr> expression(Ternary ternary = Ternary::kAllowed);
  Result<ExprPtr> conditional();
  Result<ExprPtr> either();
  Result<ExprPtr> both();
  Result<ExprPtr> negation();
  Result<ExprPtr> comparison();
  Result<ExprPtr> sum();
  Result<ExprPtr> concat();
  Result<ExprPtr> product();
  Result<ExprPtr> power();
  enum class Filters { kAllowed, kRefused };
  Result<ExprPtr> unary(Filters filters = Filters::kAllowed);
  Result<ExprPtr> primary();
  Result<ExprPtr> literal();
  Result<ExprPtr> number();
  Result<ExprPtr> parenthesized();
  Result<ExprPtr> list_literal();
  Result<ExprPtr> dict_literal();
  Result<ExprPtr> postfix(ExprPtr node);
  Result<ExprPtr> attribute(ExprPtr node);
  Result<ExprPtr> subscript(ExprPtr node);
  Result<ExprPtr> slice_or_index(ExprPtr node);
  Result<ExprPtr> call(ExprPtr node);
  Result<ExprPtr> filters(ExprPtr node);
  Result<ExprPtr> filter(ExprPtr node);
  Result<ExprPtr> test(ExprPtr node);
  Outcome arguments(Expr& node);
  bool tuple_ends() const;
  bool starts_test_argument() const;
  using Level = Result<ExprPtr> (Parser::*)();
  Result<ExprPtr> arithmetic(Level operand, std::initializer_list<std::pair<std::string_view, Op>>);

  // Tokens.
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void advance() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool skip(std::string_view symbol);
  bool skip_name(std::string_view name);
  Outcome expect(std::string_view symbol);
  Outcome expect_name(std::string_view name);
  Outcome expect_end_of_tag();
  Result<NameId> identifier();
  std::unexpected<Status> unexpected_here(std::string_view wanted) const;

  ExprPtr make(ExprKind kind, Position at) const;
  // Adds a child, and keeps the height.
  Outcome add(Expr& parent, ExprPtr child) const;
  NameId intern(std::string_view name);
  Outcome enter(Position at);  // one level of nesting deeper; leave() on success only
  void leave() { --depth_; }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;  // loops open in the innermost macro
  std::unordered_map<std::string, NameId> ids_;
  TemplateProgram program_;
};

}  // namespace sluice::text::jinja
