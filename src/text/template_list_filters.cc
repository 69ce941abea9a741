// Filters over lists and other things that can be walked. Jinja's generators are lists here.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

// The part of an item that a filter looks at: the item, or a path into it; and without its case.
struct KeyOf {
  const Value* path = nullptr;
  const Value* fallback = nullptr;
  bool keep_case = true;

  Result<Value> operator()(Heap& heap, const Value& item) const {
    Value key = item;
    if (path != nullptr && !path->is_none()) {
      SLUICE_ASSIGN_OR_RETURN(key, get_path(heap, item, *path, fallback));
    }
    if (keep_case || !key.is_string()) return key;
    return heap.string(lower(key.bytes()), key.text().trusted());
  }
};

Result<std::vector<Value>> keys_of(Heap& heap, const std::vector<Value>& items, const KeyOf& key) {
  std::vector<Value> keys;
  keys.reserve(items.size());
  for (const Value& item : items) {
    SLUICE_ASSIGN_OR_RETURN(Value part, key(heap, item));
    keys.push_back(std::move(part));
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
  }
  return keys;
}

Result<Value> first(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("first", args, {}));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  if (items.empty()) return Value::undefined("no first item, the sequence is empty");
  return items.front();
}

Result<Value> last(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("last", args, {}));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  if (items.empty()) return Value::undefined("no last item, the sequence is empty");
  return items.back();
}

Result<Value> length(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("length", args, {}));
  if (value.is_string()) heap.meter().step(value.bytes().size() / 256);
  const auto count = length_of(value);
  if (count) return *count;
  return invalid(fmt::format("a value of type '{}' has no length", value.type_name()));
}

Result<Value> list(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("list", args, {}));
  SLUICE_ASSIGN_OR_RETURN(auto items, iterate(heap, value));
  return heap.list(std::move(items)).mark(value.from_caller());
}

Result<Value> items(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("items", args, {}));
  if (value.is_undefined()) return heap.list({});
  if (value.is_dict()) return find_method(value, "items")(heap, value, {});
  return invalid(fmt::format("items needs a dict, found a value of type '{}'", value.type_name()));
}

Result<Value> reverse(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("reverse", args, {}));
  if (value.is_string()) return get_slice(heap, value, None{}, None{}, -1);
  SLUICE_ASSIGN_OR_RETURN(auto items, iterate(heap, value));
  std::ranges::reverse(items);
  return heap.list(std::move(items)).mark(value.from_caller());
}

Result<Value> join(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("join", args, {"d", "attribute"}));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  const KeyOf part{.path = bound[1]};
  TextBuilder out;
  for (size_t i = 0; i < items.size() && !out.overflowed(); ++i) {
    if (i > 0 && bound[0] != nullptr) print(*bound[0], out);
    SLUICE_ASSIGN_OR_RETURN(const Value text, part(heap, items[i]));
    print(text, out);
  }
  return heap.string(std::move(out));
}

Result<Value> sort(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound,
                          bind("sort", args, {"reverse", "case_sensitive", "attribute"}));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  const bool keep_case = bound.flag(1, false);
  std::vector<Value> keys;
  if (bound[2] != nullptr && bound[2]->is_string() && bound[2]->bytes().contains(',')) {
    // Several attributes: the first decides, then the next.
    Args comma;
    comma.positional.push_back(Value::literal(","));
    SLUICE_ASSIGN_OR_RETURN(const Value paths,
                            find_method(*bound[2], "split")(heap, *bound[2], comma));
    for (const Value& item : items) {
      std::vector<Value> parts;
      for (const Value& path : paths.list().items) {
        const KeyOf key{.path = &path, .keep_case = keep_case};
        SLUICE_ASSIGN_OR_RETURN(Value part, key(heap, item));
        parts.push_back(std::move(part));
      }
      keys.push_back(heap.list(std::move(parts)));
    }
  } else {
    const KeyOf key{.path = bound[2], .keep_case = keep_case};
    SLUICE_ASSIGN_OR_RETURN(keys, keys_of(heap, items, key));
  }
  const Direction direction = bound.flag(0, false) ? Direction::kDown : Direction::kUp;
  SLUICE_ASSIGN_OR_RETURN(const auto order, sorted_order(heap.meter(), keys, direction));
  std::vector<Value> sorted;
  sorted.reserve(order.size());
  for (const uint32_t i : order) sorted.push_back(items[i]);
  return heap.list(std::move(sorted)).mark(value.from_caller());
}

Result<Value> dictsort(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound,
                          bind("dictsort", args, {"case_sensitive", "by", "reverse"}));
  if (!value.is_dict()) {
    return invalid(
        fmt::format("dictsort needs a dict, found a value of type '{}'", value.type_name()));
  }
  SLUICE_ASSIGN_OR_RETURN(const std::string by, bound.string(1, "key"));
  if (by != "key" && by != "value") return invalid("dictsort sorts by 'key' or 'value'");
  const KeyOf key{.keep_case = bound.flag(0, false)};
  std::vector<Value> keys;
  for (const auto& entry : value.dict().entries) {
    SLUICE_ASSIGN_OR_RETURN(Value part, key(heap, by == "key" ? entry.first : entry.second));
    keys.push_back(std::move(part));
  }
  const Direction direction = bound.flag(2, false) ? Direction::kDown : Direction::kUp;
  SLUICE_ASSIGN_OR_RETURN(const auto order, sorted_order(heap.meter(), keys, direction));
  std::vector<Value> pairs;
  pairs.reserve(order.size());
  for (const uint32_t i : order) {
    const auto& [name, item] = value.dict().entries[i];
    pairs.push_back(heap.list({name, item}, Shape::kTuple));
  }
  return heap.list(std::move(pairs)).mark(value.from_caller());
}

Result<Value> unique(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("unique", args, {"case_sensitive", "attribute"}));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  const KeyOf key{.path = bound[1], .keep_case = bound.flag(0, false)};
  SLUICE_ASSIGN_OR_RETURN(const auto keys, keys_of(heap, items, key));
  std::vector<Value> kept;
  std::vector<size_t> seen;
  for (size_t i = 0; i < items.size(); ++i) {
    heap.meter().step(seen.size());
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
    if (std::ranges::any_of(seen, [&](size_t j) { return equal(keys[i], keys[j]); })) continue;
    seen.push_back(i);
    kept.push_back(items[i]);
  }
  return heap.list(std::move(kept)).mark(value.from_caller());
}

Result<Value> extreme(Heap& heap, const Value& value, const Args& args, std::string_view name,
                      bool largest) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"case_sensitive", "attribute"}));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  if (items.empty()) return Value::undefined("no aggregated item, the sequence is empty");
  const KeyOf key{.path = bound[1], .keep_case = bound.flag(0, false)};
  SLUICE_ASSIGN_OR_RETURN(const auto keys, keys_of(heap, items, key));
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(const bool better,
                            largest ? less(keys[best], keys[i]) : less(keys[i], keys[best]));
    if (better) best = i;
  }
  return items[best];
}

Result<Value> max(Heap& heap, const Value& value, const Args& args) {
  return extreme(heap, value, args, "max", true);
}
Result<Value> min(Heap& heap, const Value& value, const Args& args) {
  return extreme(heap, value, args, "min", false);
}

Result<Value> sum(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("sum", args, {"attribute", "start"}));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  const KeyOf part{.path = bound[0]};
  Value total = bound[1] != nullptr ? *bound[1] : Value(0);
  if (total.is_string()) return invalid("sum does not add strings; use join");
  for (const Value& item : items) {
    SLUICE_ASSIGN_OR_RETURN(const Value term, part(heap, item));
    SLUICE_ASSIGN_OR_RETURN(total, arithmetic(heap, Op::kAdd, total, term));
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
  }
  return total;
}

Result<Value> groupby(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound,
                          bind("groupby", args, {"attribute", "default", "case_sensitive"}, 1));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  const KeyOf key{.path = bound[0], .fallback = bound[1], .keep_case = bound.flag(2, false)};
  const KeyOf shown{.path = bound[0], .fallback = bound[1]};
  SLUICE_ASSIGN_OR_RETURN(const auto keys, keys_of(heap, items, key));
  SLUICE_ASSIGN_OR_RETURN(const auto order, sorted_order(heap.meter(), keys, Direction::kUp));
  std::vector<Value> groups;
  for (size_t i = 0; i < order.size();) {
    const size_t leader = order[i];
    std::vector<Value> members;
    for (; i < order.size() && equal(keys[leader], keys[order[i]]); ++i) {
      members.push_back(items[order[i]]);
    }
    if (members.empty()) members.push_back(items[order[i++]]);  // NaN equals nothing
    SLUICE_ASSIGN_OR_RETURN(Value grouper, shown(heap, items[leader]));
    groups.push_back(heap.list({std::move(grouper), heap.list(std::move(members))}, Shape::kGroup));
  }
  return heap.list(std::move(groups)).mark(value.from_caller());
}

Result<Value> batch(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("batch", args, {"linecount", "fill_with"}, 1));
  SLUICE_ASSIGN_OR_RETURN(const Int size, bound.integer(0, 0));
  if (size < 1) return invalid("batch needs a size of 1 or more");
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  std::vector<Value> batches;
  for (size_t at = 0; at < items.size();) {
    const auto take = static_cast<size_t>(std::min<Int>(size, items.size() - at));
    const auto from = items.begin() + static_cast<ptrdiff_t>(at);
    std::vector<Value> part(from, from + static_cast<ptrdiff_t>(take));
    at += take;
    if (bound[1] != nullptr && !bound[1]->is_none()) {
      const Int most = limits::kMaxTemplateItems + 1;
      part.resize(static_cast<size_t>(std::min(size, most)), *bound[1]);
    }
    batches.push_back(heap.list(std::move(part)));
  }
  return heap.list(std::move(batches));
}

Result<Value> slice(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("slice", args, {"slices", "fill_with"}, 1));
  SLUICE_ASSIGN_OR_RETURN(const Int slices, bound.integer(0, 0));
  if (slices < 1 || slices > Int{limits::kMaxTemplateItems}) {
    return invalid(fmt::format("slice makes 1 to {} slices", limits::kMaxTemplateItems));
  }
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  const auto count = static_cast<size_t>(slices);
  const size_t each = items.size() / count;
  const size_t longer = items.size() % count;
  std::vector<Value> made;
  for (size_t i = 0, at = 0; i < count; ++i) {
    const size_t take = each + (i < longer ? 1 : 0);
    const auto from = items.begin() + static_cast<ptrdiff_t>(at);
    std::vector<Value> part(from, from + static_cast<ptrdiff_t>(take));
    at += take;
    if (i >= longer && bound[1] != nullptr && !bound[1]->is_none()) part.push_back(*bound[1]);
    made.push_back(heap.list(std::move(part)));
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
  }
  return heap.list(std::move(made));
}

// map('filter', …) or map(attribute='path', default=…)
Result<Value> map(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  std::vector<Value> mapped;
  if (args.positional.empty()) {
    SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("map", args, {"attribute", "default"}, 1));
    const KeyOf key{.path = bound[0], .fallback = bound[1]};
    SLUICE_ASSIGN_OR_RETURN(mapped, keys_of(heap, items, key));
    return heap.list(std::move(mapped));
  }
  const Value& name = args.positional[0];
  const Filter filter = name.is_string() ? find_filter(name.bytes()) : nullptr;
  if (filter == nullptr) return invalid(fmt::format("map: there is no filter {}", repr(name)));
  const Args rest = {{args.positional.begin() + 1, args.positional.end()}, args.named};
  for (const Value& item : items) {
    heap.meter().step();
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
    SLUICE_ASSIGN_OR_RETURN(Value result, filter(heap, item, rest));
    mapped.push_back(std::move(result));
  }
  return heap.list(std::move(mapped));
}

// select, reject, selectattr, rejectattr: the items whose test comes out as `wanted`.
Result<Value> choose(Heap& heap, const Value& value, const Args& args, std::string_view filter,
                     bool wanted) {
  const bool by_attribute = filter.ends_with("attr");
  const size_t skip = by_attribute ? 1 : 0;
  if (args.positional.size() < skip) {
    return invalid(fmt::format("{} needs the name of an attribute", filter));
  }
  const KeyOf key{.path = by_attribute ? args.positional.data() : nullptr};
  Test test = nullptr;
  Args rest;
  if (args.positional.size() > skip) {
    const Value& name = args.positional[skip];
    test = name.is_string() ? find_test(name.bytes()) : nullptr;
    if (test == nullptr) return invalid(fmt::format("{}: there is no test {}", filter, repr(name)));
    rest.positional.assign(args.positional.begin() + static_cast<ptrdiff_t>(skip) + 1,
                           args.positional.end());
  }
  rest.named = args.named;
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, value));
  std::vector<Value> kept;
  for (const Value& item : items) {
    heap.meter().step();
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
    SLUICE_ASSIGN_OR_RETURN(const Value part, key(heap, item));
    bool holds = part.truthy();
    if (test != nullptr) {
      SLUICE_ASSIGN_OR_RETURN(holds, test(heap, part, rest));
    }
    if (holds == wanted) kept.push_back(item);
  }
  return heap.list(std::move(kept)).mark(value.from_caller());
}

Result<Value> select(Heap& heap, const Value& value, const Args& args) {
  return choose(heap, value, args, "select", true);
}
Result<Value> reject(Heap& heap, const Value& value, const Args& args) {
  return choose(heap, value, args, "reject", false);
}
Result<Value> selectattr(Heap& heap, const Value& value, const Args& args) {
  return choose(heap, value, args, "selectattr", true);
}
Result<Value> rejectattr(Heap& heap, const Value& value, const Args& args) {
  return choose(heap, value, args, "rejectattr", false);
}

constexpr auto kFilters = std::to_array<Named<Filter>>({
    {"batch", batch},     {"count", length},    {"dictsort", dictsort},
    {"first", first},     {"groupby", groupby}, {"items", items},
    {"join", join},       {"last", last},       {"length", length},
    {"list", list},       {"map", map},         {"max", max},
    {"min", min},         {"reject", reject},   {"rejectattr", rejectattr},
    {"reverse", reverse}, {"select", select},   {"selectattr", selectattr},
    {"slice", slice},     {"sort", sort},       {"sum", sum},
    {"unique", unique},
});

}  // namespace

Filter find_list_filter(std::string_view name) {
  const auto* it = std::ranges::find(kFilters, name, &Named<Filter>::first);
  return it == kFilters.end() ? nullptr : it->second;
}

}  // namespace sluice::text::jinja
