// Tests: what stands after `is`.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

template <Kind kKind>
Result<bool> is_kind(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("this test", args, {}));
  return value.kind() == kKind;
}

Result<bool> is_defined(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("defined", args, {}));
  return !value.is_undefined();
}

Result<bool> is_number(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("number", args, {}));
  return value.is_number();
}

Result<bool> is_sequence(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("sequence", args, {}));
  return value.is_string() || value.is_list() || value.is_dict() || value.is_undefined();
}

Result<bool> is_iterable(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("iterable", args, {}));
  return value.is_string() || value.is_list() || value.is_dict() || value.is_undefined() ||
         value.object_as<LoopState>() != nullptr;
}

Result<bool> is_callable(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("callable", args, {}));
  return value.is_undefined() || value.object_as<Function>() != nullptr ||
         value.object_as<Joiner>() != nullptr || value.object_as<LoopState>() != nullptr;
}

template <bool kWanted>
Result<bool> is_bool(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("this test", args, {}));
  return value.kind() == Kind::kBool && value.as_bool() == kWanted;
}

template <Op kOp>
Result<bool> compares(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("this test", args, {"other"}, 1));
  return compare(heap, kOp, value, *bound[0]);
}

Result<bool> divisible(Heap& heap, const Value& value, const Value& by) {
  SLUICE_ASSIGN_OR_RETURN(const Value rest, arithmetic(heap, Op::kMod, value, by));
  return equal(rest, 0);
}

Result<bool> is_divisible_by(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("divisibleby", args, {"num"}, 1));
  return divisible(heap, value, *bound[0]);
}

template <int kRest>
Result<bool> has_parity(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("this test", args, {}));
  SLUICE_ASSIGN_OR_RETURN(const Value rest, arithmetic(heap, Op::kMod, value, 2));
  return equal(rest, kRest);
}

template <bool (*kHolds)(std::string_view)>
Result<bool> text_is(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("this test", args, {}));
  TextBuilder text;
  print(value, text);
  heap.meter().step(text.size() / 64);
  return kHolds(text.text().bytes);
}

// Python's `is`: small values are the same where they are equal and of one kind.
Result<bool> is_same(Heap&, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("sameas", args, {"other"}, 1));
  if (value.kind() != bound[0]->kind()) return false;
  if (value.is_list()) return &value.list() == &bound[0]->list();
  if (value.is_dict()) return &value.dict() == &bound[0]->dict();
  return equal(value, *bound[0]);
}

Result<bool> names_filter(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("filter", args, {}));
  return value.is_string() && find_filter(value.bytes()) != nullptr;
}

Result<bool> names_test(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("test", args, {}));
  return value.is_string() && find_test(value.bytes()) != nullptr;
}

Result<bool> is_escaped(Heap&, const Value&, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("escaped", args, {}));
  return false;
}

constexpr auto kTests = std::to_array<Named<Test>>({
    {"boolean", is_kind<Kind::kBool>},
    {"callable", is_callable},
    {"defined", is_defined},
    {"divisibleby", is_divisible_by},
    {"eq", compares<Op::kEqual>},
    {"equalto", compares<Op::kEqual>},
    {"escaped", is_escaped},
    {"even", has_parity<0>},
    {"false", is_bool<false>},
    {"filter", names_filter},
    {"float", is_kind<Kind::kFloat>},
    {"ge", compares<Op::kGreaterEqual>},
    {"greaterthan", compares<Op::kGreater>},
    {"gt", compares<Op::kGreater>},
    {"in", compares<Op::kIn>},
    {"integer", is_kind<Kind::kInt>},
    {"iterable", is_iterable},
    {"le", compares<Op::kLessEqual>},
    {"lessthan", compares<Op::kLess>},
    {"lower", text_is<is_lower_text>},
    {"lt", compares<Op::kLess>},
    {"mapping", is_kind<Kind::kDict>},
    {"ne", compares<Op::kNotEqual>},
    {"none", is_kind<Kind::kNone>},
    {"number", is_number},
    {"odd", has_parity<1>},
    {"sameas", is_same},
    {"sequence", is_sequence},
    {"string", is_kind<Kind::kString>},
    {"test", names_test},
    {"true", is_bool<true>},
    {"undefined", is_kind<Kind::kUndefined>},
    {"upper", text_is<is_upper_text>},
});

}  // namespace

Test find_test(std::string_view name) {
  const auto* it = std::ranges::find(kTests, name, &Named<Test>::first);
  return it == kTests.end() ? nullptr : it->second;
}

}  // namespace sluice::text::jinja
