// Filters over numbers and any value, and the choice of a filter by name.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

constexpr int kMaxPrecision = 300;

std::string_view stripped(const std::string& bytes) {
  const Range kept = strip(bytes, Side::kBoth, nullptr);
  return std::string_view(bytes).substr(kept.begin, kept.end - kept.begin);
}

// int("…", base), with sign, prefix and underscores.
std::optional<Int> parse_int(std::string_view text, int base) {
  bool minus = false;
  if (text.starts_with('-') || text.starts_with('+')) {
    minus = text[0] == '-';
    text.remove_prefix(1);
  }
  const auto has_prefix = [&](char mark) {
    return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == mark;
  };
  const int prefixed = has_prefix('x') ? 16 : has_prefix('o') ? 8 : has_prefix('b') ? 2 : 0;
  if (prefixed != 0 && (base == prefixed || base == 0)) {
    base = prefixed;
    text.remove_prefix(2);
  }
  if (base == 0) base = 10;
  Int value = 0;
  bool digit_before = false;
  for (const char c : text) {
    if (c == '_') {
      if (!digit_before) return std::nullopt;
      digit_before = false;
      continue;
    }
    const int digit = c >= '0' && c <= '9'                     ? c - '0'
                      : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10
                                                               : 99;
    if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
        __builtin_add_overflow(value, digit, &value)) {
      return std::nullopt;
    }
    digit_before = true;
  }
  if (!digit_before) return std::nullopt;
  return minus ? -value : value;
}

std::optional<double> parse_float(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == 'x' || c == 'X' || c == '(' || c == '\0') return std::nullopt;  // strtod's own forms
    if (c != '_') digits.push_back(c);
  }
  if (digits.empty() || is_space(static_cast<unsigned char>(digits[0]))) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (end != digits.c_str() + digits.size()) return std::nullopt;
  return value;
}

std::optional<Int> to_int(double value) {
  if (!(std::abs(value) < 1.7e38)) return std::nullopt;
  return static_cast<Int>(value);
}

bool taints(const Value& value) { return !value.trusted(); }

Result<Value> int_filter(Heap&, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("int", args, {"default", "base"}));
  SLUICE_ASSIGN_OR_RETURN(const Int base, bound.integer(1, 10));
  if (value.is_undefined()) return invalid(value.why_undefined());
  if (base != 0 && (base < 2 || base > 36)) return invalid("int needs a base of 2 to 36, or 0");
  std::optional<Int> result;
  if (value.is_int()) {
    result = value.as_int();
  } else if (value.is_number()) {
    result = to_int(value.as_double());
  } else if (value.is_string()) {
    const std::string_view text = stripped(value.bytes());
    result = parse_int(text, static_cast<int>(base));
    if (!result) {
      if (const auto number = parse_float(text)) result = to_int(*number);
    }
  }
  if (!result) return bound[0] != nullptr ? *bound[0] : Value(0);
  return Value(*result).mark(taints(value));
}

Result<Value> float_filter(Heap&, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("float", args, {"default"}));
  if (value.is_undefined()) return invalid(value.why_undefined());
  std::optional<double> result;
  if (value.is_number()) result = value.as_double();
  if (value.is_string()) result = parse_float(stripped(value.bytes()));
  if (!result) return bound[0] != nullptr ? *bound[0] : Value(0.0);
  return Value(*result).mark(taints(value));
}

Result<Value> abs_filter(Heap&, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("abs", args, {}));
  if (value.is_undefined()) return invalid(value.why_undefined());
  if (value.is_int() && value.as_int() < 0) return negative(value);
  if (value.is_int()) return Value(value.as_int()).mark(value.from_caller());
  if (value.is_number()) return Value(std::abs(value.as_double())).mark(value.from_caller());
  return invalid(fmt::format("abs needs a number, found a value of type '{}'", value.type_name()));
}

// Half to even on the exact decimal value, as Python's round().
double round_float(double value, int precision) {
  if (!std::isfinite(value)) return value;
  if (precision >= 0) return std::strtod(fmt::format("{:.{}f}", value, precision).c_str(), nullptr);
  const double scale = std::pow(10.0, -precision);
  return std::nearbyint(value / scale) * scale;
}

Result<Int> round_int(Int value, int precision) {
  if (precision >= 0) return value;
  Int scale = 1;
  for (int i = 0; i < -precision; ++i) {
    if (__builtin_mul_overflow(scale, 10, &scale)) return Int{0};
  }
  const Int rest = value % scale;
  const Int below = value - rest;
  const Int twice = (rest < 0 ? -rest : rest) - (scale - (rest < 0 ? -rest : rest));
  const bool away = twice > 0 || (twice == 0 && (below / scale) % 2 != 0);
  return below + (away ? (rest < 0 ? -scale : scale) : 0);
}

Result<Value> round_filter(Heap&, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("round", args, {"precision", "method"}));
  SLUICE_ASSIGN_OR_RETURN(const Int places, bound.integer(0, 0));
  SLUICE_ASSIGN_OR_RETURN(const std::string method, bound.string(1, "common"));
  if (value.is_undefined()) return invalid(value.why_undefined());
  if (!value.is_number()) {
    return invalid(
        fmt::format("round needs a number, found a value of type '{}'", value.type_name()));
  }
  if (places < -kMaxPrecision || places > kMaxPrecision) {
    return invalid(fmt::format("round takes a precision of at most {}", kMaxPrecision));
  }
  const int precision = static_cast<int>(places);
  if (method == "ceil" || method == "floor") {
    const double scale = std::pow(10.0, precision);
    const double scaled = value.as_double() * scale;
    const double whole = method == "ceil" ? std::ceil(scaled) : std::floor(scaled);
    return Value(whole / scale).mark(value.from_caller());
  }
  if (method != "common") return invalid("round knows the methods 'common', 'ceil' and 'floor'");
  if (value.is_int()) {
    SLUICE_ASSIGN_OR_RETURN(const Int result, round_int(value.as_int(), precision));
    return Value(result).mark(value.from_caller());
  }
  return Value(round_float(value.as_double(), precision)).mark(value.from_caller());
}

Result<Value> default_filter(Heap&, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("default", args, {"default_value", "boolean"}));
  const bool replaced = value.is_undefined() || (bound.flag(1, false) && !value.truthy());
  if (!replaced) return value;
  return bound[0] != nullptr ? *bound[0] : Value::literal("");
}

// Attributes only: the keys of a dict are none.
Result<Value> attr(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("attr", args, {"name"}, 1));
  SLUICE_ASSIGN_OR_RETURN(const std::string name, bound.string(0, ""));
  if (value.is_dict() && find_method(value, name) == nullptr) {
    return Value::undefined(fmt::format("a dict has no attribute '{}'", name));
  }
  return get_attribute(heap, value, name);
}

Result<Value> tojson(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(
      const Bound bound,
      bind("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (bound[1] != nullptr && !bound[1]->is_none()) {
    style.pretty = true;
    style.item_separator = ",";
    if (bound[1]->is_string()) {
      style.indent = bound[1]->bytes();
    } else {
      SLUICE_ASSIGN_OR_RETURN(const Int indent, bound.integer(1, 0));
      if (indent > 64) return invalid("tojson indents by at most 64 spaces");
      style.indent.assign(static_cast<size_t>(std::max<Int>(indent, 0)), ' ');
    }
  }
  if (bound[2] != nullptr && !bound[2]->is_none()) {
    SLUICE_ASSIGN_OR_RETURN(const auto parts, iterate(heap, *bound[2]));
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      return invalid("tojson takes two separators, as in (',', ':')");
    }
    style.item_separator = parts[0].bytes();
    style.key_separator = parts[1].bytes();
  }
  std::string out;
  SLUICE_RETURN_IF_ERROR(write_json(heap.meter(), value, style, out));
  return heap.string(out, value.trusted());
}

// repr with the keys of dicts in order; long values are not broken into lines.
Value with_sorted_keys(Heap& heap, const Value& value) {
  if (value.is_list()) {
    std::vector<Value> items;
    items.reserve(value.list().items.size());
    for (const Value& item : value.list().items) items.push_back(with_sorted_keys(heap, item));
    return heap.list(std::move(items), value.list().shape).mark(value.from_caller());
  }
  if (!value.is_dict() || heap.meter().failed()) return value;
  std::vector<Value> keys;
  std::vector<Dict::Entry> entries;
  keys.reserve(value.dict().entries.size());
  for (const auto& [key, item] : value.dict().entries) keys.push_back(key);
  const auto order = sorted_order(heap.meter(), keys, Direction::kUp);
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto& [key, item] = value.dict().entries[order ? (*order)[i] : i];
    entries.emplace_back(key, with_sorted_keys(heap, item));
  }
  return heap.dict(std::move(entries)).mark(value.from_caller());
}

Result<Value> pprint(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("pprint", args, {}));
  const Value sorted = with_sorted_keys(heap, value);
  return heap.string(repr(sorted), value.trusted());
}

constexpr auto kFilters = std::to_array<Named<Filter>>({
    {"abs", abs_filter},
    {"attr", attr},
    {"d", default_filter},
    {"default", default_filter},
    {"float", float_filter},
    {"int", int_filter},
    {"pprint", pprint},
    {"round", round_filter},
    {"tojson", tojson},
});

}  // namespace

Filter find_filter(std::string_view name) {
  const auto* it = std::ranges::find(kFilters, name, &Named<Filter>::first);
  if (it != kFilters.end()) return it->second;
  if (const Filter filter = find_string_filter(name)) return filter;
  return find_list_filter(name);
}

}  // namespace sluice::text::jinja
