// Arithmetic, comparison and membership.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/limits.h"
#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

constexpr std::string_view kTooLarge = "an integer grows past 127 bits";

std::string_view symbol(Op op) {
  switch (op) {
    case Op::kAdd:
      return "+";
    case Op::kSub:
      return "-";
    case Op::kMul:
      return "*";
    case Op::kDiv:
      return "/";
    case Op::kFloorDiv:
      return "//";
    case Op::kMod:
      return "%";
    case Op::kPow:
      return "**";
    default:
      return "in";
  }
}

Result<Value> divide_ints(Op op, Int a, Int b) {
  if (b == 0) return invalid("division by zero");
  if (op == Op::kDiv) return static_cast<double>(a) / static_cast<double>(b);
  if (b == -1) return op == Op::kMod ? Result<Value>(0) : negative(a);
  // Python rounds towards minus infinity; the remainder has the divisor's sign.
  Int quotient = a / b;
  Int rest = a % b;
  if (rest != 0 && (rest < 0) != (b < 0)) {
    --quotient;
    rest += b;
  }
  return op == Op::kMod ? rest : quotient;
}

Result<Value> power(Int base, Int exponent) {
  if (exponent < 0) {
    if (base == 0) return invalid("0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  Int result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return invalid(std::string(kTooLarge));
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return invalid(std::string(kTooLarge));
    }
  }
  return result;
}

Result<Value> int_arithmetic(Op op, Int a, Int b) {
  Int result = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Op::kSub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Op::kMul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Op::kPow:
      return power(a, b);
    default:
      return divide_ints(op, a, b);
  }
  if (overflow) return invalid(std::string(kTooLarge));
  return result;
}

Result<Value> float_arithmetic(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd:
      return a + b;
    case Op::kSub:
      return a - b;
    case Op::kMul:
      return a * b;
    case Op::kPow:
      if (a == 0 && b < 0) return invalid("0 cannot be raised to a negative power");
      if (a < 0 && b != std::floor(b)) return invalid("complex numbers are not supported");
      return std::pow(a, b);
    default:
      break;
  }
  if (b == 0) return invalid("division by zero");
  if (op == Op::kDiv) return a / b;
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (op == Op::kMod) return rest == 0 ? std::copysign(0.0, b) : rest;
  const double quotient = (a - rest) / b;
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

Result<Value> repeat_list(Heap& heap, const List& list, Int count) {
  count = std::max<Int>(count, 0);
  const Int total = std::min<Int>(count, limits::kMaxTemplateItems + 1) * Int{list.items.size()};
  if (total > Int{limits::kMaxTemplateItems}) {
    return fail(Code::kTooLarge,
                fmt::format("a list grows past {} items", limits::kMaxTemplateItems));
  }
  std::vector<Value> items;
  if (total > 0) {
    for (Int i = 0; i < count; ++i) {
      items.insert(items.end(), list.items.begin(), list.items.end());
    }
  }
  return heap.list(std::move(items), list.shape == Shape::kList ? Shape::kList : Shape::kTuple);
}

Result<Value> add_lists(Heap& heap, const Value& a, const Value& b) {
  std::vector<Value> items = a.list().items;
  items.insert(items.end(), b.list().items.begin(), b.list().items.end());
  const Shape shape = a.list().shape == Shape::kList ? Shape::kList : Shape::kTuple;
  return heap.list(std::move(items), shape).mark(a.from_caller() || b.from_caller());
}

bool same_sequence(const Value& a, const Value& b) {
  return a.is_list() && b.is_list() &&
         (a.list().shape == Shape::kList) == (b.list().shape == Shape::kList);
}

}  // namespace

Value repeat_text(Heap& heap, const Text& text, Int count) {
  TextBuilder out;
  const Int most = limits::kMaxTemplateOutput + 1;
  out.repeat(text, static_cast<size_t>(std::clamp<Int>(count, 0, most)));
  return heap.string(std::move(out));
}

Result<Value> negative(const Value& a) {
  if (a.is_undefined()) return invalid(a.why_undefined());
  if (a.is_int()) {
    SLUICE_ASSIGN_OR_RETURN(Value result, int_arithmetic(Op::kSub, 0, a.as_int()));
    return std::move(result).mark(a.from_caller());
  }
  if (a.is_number()) return Value(-a.as_double()).mark(a.from_caller());
  return invalid(fmt::format("'-' does not apply to a value of type '{}'", a.type_name()));
}

Result<Value> arithmetic(Heap& heap, Op op, const Value& a, const Value& b) {
  if (a.is_undefined()) return invalid(a.why_undefined());
  if (b.is_undefined() && !(op == Op::kMod && a.is_string())) return invalid(b.why_undefined());
  if (a.is_number() && b.is_number()) {
    const bool ints = a.is_int() && b.is_int();
    auto result = ints ? int_arithmetic(op, a.as_int(), b.as_int())
                       : float_arithmetic(op, a.as_double(), b.as_double());
    if (!result) return result;
    return std::move(*result).mark(a.from_caller() || b.from_caller());
  }
  if (op == Op::kAdd && a.is_string() && b.is_string()) {
    TextBuilder out;
    out.append(a.text());
    out.append(b.text());
    return heap.string(std::move(out));
  }
  if (op == Op::kAdd && same_sequence(a, b)) return add_lists(heap, a, b);
  if (op == Op::kMul) {
    if (a.is_string() && b.is_int()) return repeat_text(heap, a.text(), b.as_int());
    if (a.is_int() && b.is_string()) return repeat_text(heap, b.text(), a.as_int());
    if (a.is_list() && b.is_int()) return repeat_list(heap, a.list(), b.as_int());
    if (a.is_int() && b.is_list()) return repeat_list(heap, b.list(), a.as_int());
  }
  if (op == Op::kMod && a.is_string()) return format_percent(heap, a.text(), b);
  return invalid(fmt::format("'{}' does not apply to values of type '{}' and '{}'", symbol(op),
                             a.type_name(), b.type_name()));
}

Result<bool> contains(Heap& heap, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kUndefined:
      return false;
    case Kind::kString:
      if (item.is_undefined()) return invalid(item.why_undefined());
      if (!item.is_string()) {
        return invalid(fmt::format("only a string can be in a string, found a value of type '{}'",
                                   item.type_name()));
      }
      heap.meter().step(container.bytes().size() / 256);
      return find_bytes(container.bytes(), item.bytes()) != std::string_view::npos;
    case Kind::kList:
      heap.meter().step(container.list().items.size() + container.extent().weight / 16);
      return std::ranges::any_of(container.list().items,
                                 [&](const Value& each) { return equal(each, item); });
    case Kind::kDict:
      if (!hashable(item)) {
        return invalid(fmt::format("a value of type '{}' cannot be a key", item.type_name()));
      }
      if (!item.is_string()) heap.meter().step(container.dict().entries.size());
      return container.dict().find(item) != nullptr;
    default:
      return invalid(
          fmt::format("'in' does not apply to a value of type '{}'", container.type_name()));
  }
}

Result<bool> compare(Heap& heap, Op op, const Value& a, const Value& b) {
  if (op == Op::kIn) return contains(heap, b, a);
  if (op == Op::kNotIn) {
    SLUICE_ASSIGN_OR_RETURN(const bool inside, contains(heap, b, a));
    return !inside;
  }
  heap.meter().step(std::min(a.extent().weight, b.extent().weight) / 16);
  switch (op) {
    case Op::kEqual:
      return equal(a, b);
    case Op::kNotEqual:
      return !equal(a, b);
    case Op::kLess:
      return less(a, b);
    case Op::kGreater:
      return less(b, a);
    default:
      break;
  }
  const bool up = op == Op::kLessEqual;
  SLUICE_ASSIGN_OR_RETURN(const bool below, up ? less(a, b) : less(b, a));
  return below || equal(a, b);
}

}  // namespace sluice::text::jinja
