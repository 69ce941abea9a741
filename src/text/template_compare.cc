// Equality and order of template values (template_value.h), as Python has them.

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "text/template_value.h"

namespace sluice::text::jinja {
namespace {

bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) return a.as_int() == b.as_int();
  return a.as_double() == b.as_double();
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::ranges::all_of(a.entries, [&](const Dict::Entry& entry) {
    const Value* other = b.find(entry.first);
    return other != nullptr && equal(entry.second, *other);
  });
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kString:
      return a.bytes() == b.bytes();
    case Kind::kList:
      return (a.list().shape == Shape::kList) == (b.list().shape == Shape::kList) &&
             std::ranges::equal(a.list().items, b.list().items, equal);
    case Kind::kDict:
      return equal_dicts(a.dict(), b.dict());
    case Kind::kObject:
      return a.object() == b.object();
    default:
      return true;  // none and none, undefined and undefined
  }
}

Result<bool> less(const Value& a, const Value& b) {
  if (a.is_undefined()) return invalid(a.why_undefined());
  if (b.is_undefined()) return invalid(b.why_undefined());
  if (a.is_int() && b.is_int()) return a.as_int() < b.as_int();
  if (a.is_number() && b.is_number()) return a.as_double() < b.as_double();
  // UTF-8 sorts as its code points do.
  if (a.is_string() && b.is_string()) return a.bytes() < b.bytes();
  if (a.is_list() && b.is_list() &&
      (a.list().shape == Shape::kList) == (b.list().shape == Shape::kList)) {
    const auto& x = a.list().items;
    const auto& y = b.list().items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(x[i], y[i])) return less(x[i], y[i]);
    }
    return x.size() < y.size();
  }
  return invalid(
      fmt::format("values of type '{}' and '{}' have no order", a.type_name(), b.type_name()));
}

// A merge sort of our own: the order of values may fail, or contradict itself (NaN), which the
// standard library's does not allow.
Result<std::vector<uint32_t>> sorted_order(Meter& meter, const std::vector<Value>& keys,
                                           Direction direction) {
  std::vector<uint32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0U);
  std::vector<uint32_t> merged(keys.size());
  for (size_t width = 1; width < keys.size(); width *= 2) {
    meter.step(keys.size());
    SLUICE_RETURN_IF_ERROR(meter.check());
    for (size_t begin = 0; begin < keys.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, keys.size());
      const size_t end = std::min(begin + 2 * width, keys.size());
      size_t left = begin;
      size_t right = middle;
      for (size_t at = begin; at < end; ++at) {
        bool takes_right = left == middle;
        if (!takes_right && right < end) {
          const Value& a = keys[order[left]];
          const Value& b = keys[order[right]];
          SLUICE_ASSIGN_OR_RETURN(takes_right,
                                  direction == Direction::kUp ? less(b, a) : less(a, b));
        }
        merged[at] = takes_right ? order[right++] : order[left++];
      }
    }
    std::swap(order, merged);
  }
  return order;
}

}  // namespace sluice::text::jinja
