// Expressions of template_parser.h.

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>

#include "text/template_parser.h"

namespace sluice::text::jinja {
namespace {

constexpr size_t kMaxArguments = 128;
constexpr size_t kMaxDigits = 40;  // of an integer literal; more do not fit an Int

// Decimal, 0x, 0o and 0b, with underscores.
bool parse_integer(std::string_view token, Int& value) {
  std::string digits;
  for (const char c : token) {
    if (c != '_') digits.push_back(c);
  }
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    const char mark = static_cast<char>(digits[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
  }
  const std::string_view body = std::string_view(digits).substr(base == 10 ? 0 : 2);
  if (body.empty() || body.size() > kMaxDigits * (base == 10 ? 1 : 3)) return false;
  value = 0;
  for (const char c : body) {
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
        __builtin_add_overflow(value, digit, &value)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool Parser::tuple_ends() const {
  const TokenType type = now().type;
  return type == TokenType::kPrintEnd || type == TokenType::kBlockEnd || now().is(")") ||
         now().is_name("recursive");
}

// One expression, or several with commas as a tuple.
Result<ExprPtr> Parser::tuple(Ternary ternary) {
  const Position at = now().at;
  SLUICE_ASSIGN_OR_RETURN(auto first, expression(ternary));
  if (!now().is(",")) return first;
  auto node = make(ExprKind::kTuple, at);
  SLUICE_RETURN_IF_ERROR(add(*node, std::move(first)));
  while (skip(",")) {
    if (tuple_ends()) break;
    SLUICE_ASSIGN_OR_RETURN(auto item, expression(ternary));
    SLUICE_RETURN_IF_ERROR(add(*node, std::move(item)));
  }
  return node;
}

Result<ExprPtr> Parser::expression(Ternary ternary) {
  SLUICE_RETURN_IF_ERROR(enter(now().at));
  auto node = ternary == Ternary::kAllowed ? conditional() : either();
  if (node) leave();
  return node;
}

Result<ExprPtr> Parser::conditional() {
  SLUICE_ASSIGN_OR_RETURN(auto node, either());
  while (now().is_name("if")) {
    auto choice = make(ExprKind::kConditional, now().at);
    advance();
    SLUICE_RETURN_IF_ERROR(add(*choice, std::move(node)));
    SLUICE_ASSIGN_OR_RETURN(auto condition, either());
    SLUICE_RETURN_IF_ERROR(add(*choice, std::move(condition)));
    ExprPtr otherwise;
    if (skip_name("else")) {
      SLUICE_ASSIGN_OR_RETURN(otherwise, expression());
    }
    SLUICE_RETURN_IF_ERROR(add(*choice, std::move(otherwise)));
    node = std::move(choice);
  }
  return node;
}

Result<ExprPtr> Parser::either() {
  SLUICE_ASSIGN_OR_RETURN(auto node, both());
  if (!now().is_name("or")) return node;
  auto any = make(ExprKind::kOr, now().at);
  SLUICE_RETURN_IF_ERROR(add(*any, std::move(node)));
  while (skip_name("or")) {
    SLUICE_ASSIGN_OR_RETURN(node, both());
    SLUICE_RETURN_IF_ERROR(add(*any, std::move(node)));
  }
  return any;
}

Result<ExprPtr> Parser::both() {
  SLUICE_ASSIGN_OR_RETURN(auto node, negation());
  if (!now().is_name("and")) return node;
  auto all = make(ExprKind::kAnd, now().at);
  SLUICE_RETURN_IF_ERROR(add(*all, std::move(node)));
  while (skip_name("and")) {
    SLUICE_ASSIGN_OR_RETURN(node, negation());
    SLUICE_RETURN_IF_ERROR(add(*all, std::move(node)));
  }
  return all;
}

Result<ExprPtr> Parser::negation() {
  if (!now().is_name("not")) return comparison();
  auto node = make(ExprKind::kNot, now().at);
  advance();
  SLUICE_RETURN_IF_ERROR(enter(node->at));
  SLUICE_ASSIGN_OR_RETURN(auto operand, negation());
  leave();
  SLUICE_RETURN_IF_ERROR(add(*node, std::move(operand)));
  return node;
}

Result<ExprPtr> Parser::comparison() {
  static constexpr std::array<std::pair<std::string_view, Op>, 6> kSymbols = {
      {{"==", Op::kEqual},
       {"!=", Op::kNotEqual},
       {"<", Op::kLess},
       {"<=", Op::kLessEqual},
       {">", Op::kGreater},
       {">=", Op::kGreaterEqual}}};
  const Position at = now().at;
  SLUICE_ASSIGN_OR_RETURN(auto node, sum());
  ExprPtr compare;
  for (;;) {
    std::optional<Op> op;
    for (const auto& [symbol, meaning] : kSymbols) {
      if (now().is(symbol)) op = meaning;
    }
    if (now().is_name("in")) op = Op::kIn;
    if (now().is_name("not") && ahead().is_name("in")) {
      op = Op::kNotIn;
      advance();
    }
    if (!op) break;
    advance();
    if (!compare) {
      compare = make(ExprKind::kCompare, at);
      SLUICE_RETURN_IF_ERROR(add(*compare, std::move(node)));
    }
    compare->ops.push_back(*op);
    SLUICE_ASSIGN_OR_RETURN(auto operand, sum());
    SLUICE_RETURN_IF_ERROR(add(*compare, std::move(operand)));
  }
  return compare ? std::move(compare) : std::move(node);
}

// One level of operators that group from the left.
Result<ExprPtr> Parser::arithmetic(
    Level operand, std::initializer_list<std::pair<std::string_view, Op>> operators) {
  const Position at = now().at;
  SLUICE_ASSIGN_OR_RETURN(auto node, (this->*operand)());
  ExprPtr chain;
  for (;;) {
    std::optional<Op> op;
    for (const auto& [symbol, meaning] : operators) {
      if (now().is(symbol)) op = meaning;
    }
    if (!op) break;
    advance();
    if (!chain) {
      chain = make(ExprKind::kArithmetic, at);
      SLUICE_RETURN_IF_ERROR(add(*chain, std::move(node)));
    }
    chain->ops.push_back(*op);
    SLUICE_ASSIGN_OR_RETURN(auto next, (this->*operand)());
    SLUICE_RETURN_IF_ERROR(add(*chain, std::move(next)));
  }
  return chain ? std::move(chain) : std::move(node);
}

Result<ExprPtr> Parser::sum() {
  return arithmetic(&Parser::concat, {{"+", Op::kAdd}, {"-", Op::kSub}});
}

Result<ExprPtr> Parser::concat() {
  const Position at = now().at;
  SLUICE_ASSIGN_OR_RETURN(auto node, product());
  if (!now().is("~")) return node;
  auto joined = make(ExprKind::kConcat, at);
  SLUICE_RETURN_IF_ERROR(add(*joined, std::move(node)));
  while (skip("~")) {
    SLUICE_ASSIGN_OR_RETURN(node, product());
    SLUICE_RETURN_IF_ERROR(add(*joined, std::move(node)));
  }
  return joined;
}

Result<ExprPtr> Parser::product() {
  return arithmetic(&Parser::power,
                    {{"*", Op::kMul}, {"/", Op::kDiv}, {"//", Op::kFloorDiv}, {"%", Op::kMod}});
}

Result<ExprPtr> Parser::power() {
  const Position at = now().at;
  SLUICE_ASSIGN_OR_RETURN(auto node, unary());
  ExprPtr chain;
  while (skip("**")) {
    if (!chain) {
      chain = make(ExprKind::kArithmetic, at);
      SLUICE_RETURN_IF_ERROR(add(*chain, std::move(node)));
    }
    chain->ops.push_back(Op::kPow);
    SLUICE_ASSIGN_OR_RETURN(auto next, unary());
    SLUICE_RETURN_IF_ERROR(add(*chain, std::move(next)));
  }
  return chain ? std::move(chain) : std::move(node);
}

Result<ExprPtr> Parser::unary(Filters filtered) {
  ExprPtr node;
  if (now().is("-") || now().is("+")) {
    node = make(now().is("-") ? ExprKind::kNegative : ExprKind::kPositive, now().at);
    advance();
    SLUICE_RETURN_IF_ERROR(enter(node->at));
    SLUICE_ASSIGN_OR_RETURN(auto operand, unary(Filters::kRefused));
    leave();
    SLUICE_RETURN_IF_ERROR(add(*node, std::move(operand)));
  } else {
    SLUICE_ASSIGN_OR_RETURN(node, primary());
  }
  SLUICE_ASSIGN_OR_RETURN(node, postfix(std::move(node)));
  if (filtered == Filters::kRefused) return node;
  return filters(std::move(node));
}

Result<ExprPtr> Parser::primary() {
  const Token& token = now();
  if (token.type == TokenType::kName || token.type == TokenType::kString ||
      token.type == TokenType::kInteger || token.type == TokenType::kFloat) {
    return literal();
  }
  if (token.is("(")) return parenthesized();
  if (token.is("[")) return list_literal();
  if (token.is("{")) return dict_literal();
  return unexpected_here("an expression");
}

Result<ExprPtr> Parser::literal() {
  const Token& token = now();
  if (token.type == TokenType::kInteger || token.type == TokenType::kFloat) return number();
  auto node = make(ExprKind::kConstant, token.at);
  if (token.type == TokenType::kString) {
    std::string text;
    for (; now().type == TokenType::kString; advance()) text += now().text;
    node->constant = Value::literal(text);
    return node;
  }
  if (token.is_name("true") || token.is_name("True")) {
    node->constant = true;
  } else if (token.is_name("false") || token.is_name("False")) {
    node->constant = false;
  } else if (token.is_name("none") || token.is_name("None")) {
    node->constant = None{};
  } else {
    node->kind = ExprKind::kName;
    node->name = intern(token.text);
  }
  advance();
  return node;
}

Result<ExprPtr> Parser::number() {
  const Token& token = now();
  auto node = make(ExprKind::kConstant, token.at);
  if (token.type == TokenType::kInteger) {
    Int value = 0;
    if (!parse_integer(token.text, value)) {
      return std::unexpected(
          error_at(token.at, fmt::format("'{}' is no integer of at most 127 bits", token.text)));
    }
    node->constant = value;
  } else {
    std::string digits;
    for (const char c : token.text) {
      if (c != '_') digits.push_back(c);
    }
    node->constant = std::strtod(digits.c_str(), nullptr);
  }
  advance();
  return node;
}

Result<ExprPtr> Parser::parenthesized() {
  const Position at = now().at;
  SLUICE_RETURN_IF_ERROR(expect("("));
  if (skip(")")) return make(ExprKind::kTuple, at);
  SLUICE_ASSIGN_OR_RETURN(auto node, tuple());
  SLUICE_RETURN_IF_ERROR(expect(")"));
  return node;
}

Result<ExprPtr> Parser::list_literal() {
  auto node = make(ExprKind::kList, now().at);
  SLUICE_RETURN_IF_ERROR(expect("["));
  while (!now().is("]")) {
    if (!node->parts.empty()) {
      SLUICE_RETURN_IF_ERROR(expect(","));
      if (now().is("]")) break;
    }
    SLUICE_ASSIGN_OR_RETURN(auto item, expression());
    SLUICE_RETURN_IF_ERROR(add(*node, std::move(item)));
  }
  SLUICE_RETURN_IF_ERROR(expect("]"));
  return node;
}

Result<ExprPtr> Parser::dict_literal() {
  auto node = make(ExprKind::kDict, now().at);
  SLUICE_RETURN_IF_ERROR(expect("{"));
  while (!now().is("}")) {
    if (!node->parts.empty()) {
      SLUICE_RETURN_IF_ERROR(expect(","));
      if (now().is("}")) break;
    }
    SLUICE_ASSIGN_OR_RETURN(auto key, expression());
    SLUICE_RETURN_IF_ERROR(expect(":"));
    SLUICE_ASSIGN_OR_RETURN(auto value, expression());
    SLUICE_RETURN_IF_ERROR(add(*node, std::move(key)));
    SLUICE_RETURN_IF_ERROR(add(*node, std::move(value)));
  }
  SLUICE_RETURN_IF_ERROR(expect("}"));
  return node;
}

Result<ExprPtr> Parser::postfix(ExprPtr node) {
  for (;;) {
    Result<ExprPtr> next;
    if (now().is(".")) {
      next = attribute(std::move(node));
    } else if (now().is("[")) {
      next = subscript(std::move(node));
    } else if (now().is("(")) {
      next = call(std::move(node));
    } else {
      return node;
    }
    if (!next) return next;
    node = std::move(*next);
  }
}

Result<ExprPtr> Parser::attribute(ExprPtr node) {
  advance();
  const Position at = now().at;
  if (now().type == TokenType::kInteger) {
    auto item = make(ExprKind::kItem, at);
    SLUICE_ASSIGN_OR_RETURN(auto index, number());
    SLUICE_RETURN_IF_ERROR(add(*item, std::move(node)));
    SLUICE_RETURN_IF_ERROR(add(*item, std::move(index)));
    return item;
  }
  auto member = make(ExprKind::kAttribute, at);
  SLUICE_ASSIGN_OR_RETURN(member->name, identifier());
  SLUICE_RETURN_IF_ERROR(add(*member, std::move(node)));
  return member;
}

Result<ExprPtr> Parser::subscript(ExprPtr node) {
  SLUICE_RETURN_IF_ERROR(expect("["));
  SLUICE_ASSIGN_OR_RETURN(node, slice_or_index(std::move(node)));
  SLUICE_RETURN_IF_ERROR(expect("]"));
  return node;
}

Result<ExprPtr> Parser::slice_or_index(ExprPtr node) {
  const Position at = now().at;
  std::array<ExprPtr, 3> bounds;
  size_t colons = 0;
  for (;;) {
    if (now().is(":") && colons < 2) {
      ++colons;
      advance();
    } else if (!now().is("]") && !bounds[colons]) {
      SLUICE_ASSIGN_OR_RETURN(bounds[colons], expression());
    } else {
      break;
    }
  }
  const bool index = colons == 0;
  if (index && !bounds[0]) return unexpected_here("an index");
  auto item = make(index ? ExprKind::kItem : ExprKind::kSlice, at);
  SLUICE_RETURN_IF_ERROR(add(*item, std::move(node)));
  for (size_t i = 0; i < (index ? 1 : bounds.size()); ++i) {
    SLUICE_RETURN_IF_ERROR(add(*item, std::move(bounds[i])));
  }
  return item;
}

Result<ExprPtr> Parser::call(ExprPtr node) {
  auto invocation = make(ExprKind::kCall, now().at);
  SLUICE_RETURN_IF_ERROR(add(*invocation, std::move(node)));
  SLUICE_RETURN_IF_ERROR(arguments(*invocation));
  return invocation;
}

// (a, b, name=c)
Outcome Parser::arguments(Expr& node) {
  SLUICE_RETURN_IF_ERROR(expect("("));
  bool first = true;
  while (!now().is(")")) {
    if (!first) {
      SLUICE_RETURN_IF_ERROR(expect(","));
      if (now().is(")")) break;
    }
    first = false;
    const Position at = now().at;
    if (node.parts.size() + node.named.size() > kMaxArguments) {
      return std::unexpected(
          error_at(at, fmt::format("a call takes at most {} arguments", kMaxArguments)));
    }
    if (now().is("*") || now().is("**")) {
      return std::unexpected(error_at(at, "unpacked arguments (*, **) are not supported"));
    }
    if (now().type == TokenType::kName && ahead().is("=")) {
      Keyword keyword{};
      SLUICE_ASSIGN_OR_RETURN(keyword.name, identifier());
      advance();
      SLUICE_ASSIGN_OR_RETURN(keyword.value, expression());
      node.height = std::max(node.height, keyword.value->height + 1);
      node.named.push_back(std::move(keyword));
      continue;
    }
    if (!node.named.empty()) {
      return std::unexpected(error_at(at, "a positional argument follows a named one"));
    }
    SLUICE_ASSIGN_OR_RETURN(auto argument, expression());
    SLUICE_RETURN_IF_ERROR(add(node, std::move(argument)));
  }
  return expect(")");
}

Result<ExprPtr> Parser::filters(ExprPtr node) {
  for (;;) {
    Result<ExprPtr> next;
    if (now().is("|")) {
      advance();
      next = filter(std::move(node));
    } else if (now().is_name("is")) {
      next = test(std::move(node));
    } else if (now().is("(")) {
      next = call(std::move(node));
    } else {
      return node;
    }
    if (!next) return next;
    node = std::move(*next);
  }
}

Result<ExprPtr> Parser::filter(ExprPtr node) {
  auto applied = make(ExprKind::kFilter, now().at);
  SLUICE_ASSIGN_OR_RETURN(applied->name, identifier());
  SLUICE_RETURN_IF_ERROR(add(*applied, std::move(node)));
  if (now().is("(")) SLUICE_RETURN_IF_ERROR(arguments(*applied));
  return applied;
}

// `x is divisibleby 3`: an argument without parentheses.
bool Parser::starts_test_argument() const {
  const Token& token = now();
  switch (token.type) {
    case TokenType::kName:
      return token.text != "else" && token.text != "or" && token.text != "and";
    case TokenType::kString:
    case TokenType::kInteger:
    case TokenType::kFloat:
      return true;
    default:
      return token.is("[") || token.is("{");
  }
}

Result<ExprPtr> Parser::test(ExprPtr node) {
  advance();
  auto tested = make(ExprKind::kTest, now().at);
  tested->negated = skip_name("not");
  SLUICE_ASSIGN_OR_RETURN(tested->name, identifier());
  SLUICE_RETURN_IF_ERROR(add(*tested, std::move(node)));
  if (now().is("(")) {
    SLUICE_RETURN_IF_ERROR(arguments(*tested));
  } else if (starts_test_argument()) {
    if (now().is_name("is")) {
      return std::unexpected(error_at(now().at, "tests cannot be chained with 'is'"));
    }
    SLUICE_ASSIGN_OR_RETURN(auto argument, primary());
    SLUICE_ASSIGN_OR_RETURN(argument, postfix(std::move(argument)));
    SLUICE_RETURN_IF_ERROR(add(*tested, std::move(argument)));
  }
  return tested;
}

}  // namespace sluice::text::jinja
