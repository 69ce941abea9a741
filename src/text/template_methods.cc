// Methods of dicts, lists and cyclers, and the choice of a method by its value.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

Result<Value> dict_keys(Heap& heap, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("keys", args, {}));
  SLUICE_ASSIGN_OR_RETURN(auto keys, iterate(heap, self));
  return heap.list(std::move(keys)).mark(self.from_caller());
}

Result<Value> dict_values(Heap& heap, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("values", args, {}));
  std::vector<Value> values;
  values.reserve(self.dict().entries.size());
  for (const auto& entry : self.dict().entries) values.push_back(entry.second);
  return heap.list(std::move(values)).mark(self.from_caller());
}

Result<Value> dict_items(Heap& heap, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("items", args, {}));
  std::vector<Value> pairs;
  pairs.reserve(self.dict().entries.size());
  for (const auto& [key, value] : self.dict().entries) {
    pairs.push_back(heap.list({key, value}, Shape::kTuple));
  }
  return heap.list(std::move(pairs)).mark(self.from_caller());
}

Result<Value> dict_get(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("get", args, {"key", "default"}, 1));
  if (!hashable(*bound[0])) {
    return invalid(fmt::format("a value of type '{}' cannot be a key", bound[0]->type_name()));
  }
  if (!bound[0]->is_string()) heap.meter().step(self.dict().entries.size());
  if (const Value* value = self.dict().find(*bound[0])) return *value;
  return bound[1] != nullptr ? *bound[1] : Value(None{});
}

Result<Value> dict_copy(Heap&, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("copy", args, {}));
  return self;
}

Result<Value> list_index(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("index", args, {"value"}, 1));
  const auto& items = self.list().items;
  heap.meter().step(items.size() + self.extent().weight / 16);
  const auto it =
      std::ranges::find_if(items, [&](const Value& item) { return equal(item, *bound[0]); });
  if (it == items.end()) return invalid(fmt::format("{} is not in the list", repr(*bound[0])));
  return static_cast<size_t>(it - items.begin());
}

Result<Value> list_count(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("count", args, {"value"}, 1));
  const auto& items = self.list().items;
  heap.meter().step(items.size() + self.extent().weight / 16);
  return static_cast<size_t>(
      std::ranges::count_if(items, [&](const Value& item) { return equal(item, *bound[0]); }));
}

// Transformers renders in Jinja's immutable sandbox, where these fail as well.
Result<Value> refuse_change(Heap&, const Value& self, const Args&) {
  const bool list = self.is_list();
  return invalid(fmt::format("a {} cannot be changed in a chat template; make a new one: {}",
                             self.type_name(), list ? "list + [item]" : "dict(other, key=value)"));
}

Result<Value> cycler_next(Heap&, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("next", args, {}));
  auto* cycler = self.object_as<Cycler>();
  const size_t at = cycler->at;
  cycler->at = (at + 1) % cycler->items.size();
  return cycler->items[at];
}

Result<Value> cycler_reset(Heap&, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("reset", args, {}));
  self.object_as<Cycler>()->at = 0;
  return Value(None{});
}

constexpr auto kDictMethods = std::to_array<Named<Method>>({
    {"clear", refuse_change},
    {"copy", dict_copy},
    {"get", dict_get},
    {"items", dict_items},
    {"keys", dict_keys},
    {"pop", refuse_change},
    {"popitem", refuse_change},
    {"setdefault", refuse_change},
    {"update", refuse_change},
    {"values", dict_values},
});

constexpr auto kTupleMethods = std::to_array<Named<Method>>({
    {"count", list_count},
    {"index", list_index},
});

constexpr auto kListMethods = std::to_array<Named<Method>>({
    {"append", refuse_change},
    {"clear", refuse_change},
    {"count", list_count},
    {"extend", refuse_change},
    {"index", list_index},
    {"insert", refuse_change},
    {"pop", refuse_change},
    {"remove", refuse_change},
    {"reverse", refuse_change},
    {"sort", refuse_change},
});

constexpr auto kCyclerMethods = std::to_array<Named<Method>>({
    {"next", cycler_next},
    {"reset", cycler_reset},
});

template <typename Table>
Method find_in(const Table& table, std::string_view name) {
  const auto it = std::ranges::find(table, name, &Named<Method>::first);
  return it == table.end() ? nullptr : it->second;
}

}  // namespace

Method find_method(const Value& self, std::string_view name) {
  switch (self.kind()) {
    case Kind::kString:
      return find_string_method(name);
    case Kind::kDict:
      return find_in(kDictMethods, name);
    case Kind::kList:
      return self.list().shape == Shape::kList ? find_in(kListMethods, name)
                                               : find_in(kTupleMethods, name);
    case Kind::kObject:
      return self.object_as<Cycler>() != nullptr ? find_in(kCyclerMethods, name) : nullptr;
    default:
      return nullptr;
  }
}

}  // namespace sluice::text::jinja
