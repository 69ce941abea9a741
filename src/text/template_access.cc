// Attributes, items and slices.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

Value no_attribute(const Value& object, std::string_view name) {
  return Value::undefined(
      fmt::format("a value of type '{}' has no attribute '{}'", object.type_name(), name));
}

Value loop_attribute(const LoopState& loop, const Value& object, std::string_view name) {
  const size_t count = loop.items.size();
  const size_t index = loop.index;
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == count;
  if (name == "length") return count;
  if (name == "revindex") return count - std::min(index, count);
  if (name == "revindex0") return Int{count} - Int{index} - 1;
  if (name == "depth") return loop.depth0 + 1;
  if (name == "depth0") return loop.depth0;
  if (name == "previtem") {
    return index > 0 && index <= count ? loop.items[index - 1]
                                       : Value::undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return index + 1 < count ? loop.items[index + 1] : Value::undefined("there is no next item");
  }
  return no_attribute(object, name);
}

Value method_of(Heap& heap, const Value& object, std::string_view name) {
  auto function = std::make_shared<Function>();
  function->name = name;
  function->self = object;
  function->extent.include(object);
  return heap.object(std::move(function));
}

Value member_of(Heap& heap, const Value& object, std::string_view name) {
  if (const auto* space = object.object_as<Namespace>()) {
    const auto it = space->attributes.find(name);
    return it == space->attributes.end() ? no_attribute(object, name) : it->second;
  }
  if (const auto* loop = object.object_as<LoopState>()) return loop_attribute(*loop, object, name);
  if (const auto* cycler = object.object_as<Cycler>(); cycler != nullptr && name == "current") {
    return cycler->items[cycler->at];
  }
  if (const auto* function = object.object_as<Function>(); function != nullptr && name == "name") {
    return heap.string(function->name, true);
  }
  if (object.is_list() && object.list().shape == Shape::kGroup) {
    if (name == "grouper") return object.list().items[0];
    if (name == "list") return object.list().items[1];
  }
  return no_attribute(object, name);
}

// A Python index, from the end where negative; size or more where there is none.
size_t resolve(Int index, size_t size) {
  if (index < 0) index += Int{size};
  return index < 0 || index >= Int{size} ? size : static_cast<size_t>(index);
}

Value no_item(const Value& object, const Value& key) {
  return Value::undefined(
      fmt::format("a value of type '{}' has no element {}", object.type_name(),
                  key.is_string() || key.is_number() ? repr(key) : "of that key"));
}

struct Steps {
  Int start;
  Int count;
  Int step;
};

Result<Steps> steps_of(const Value& start, const Value& stop, const Value& step, Int size) {
  for (const Value* bound : {&start, &stop, &step}) {
    if (bound->is_undefined()) return invalid(bound->why_undefined());
    if (!bound->is_none() && !bound->is_int()) {
      return invalid(
          fmt::format("a slice takes integers, found a value of type '{}'", bound->type_name()));
    }
  }
  const Int by = step.is_none() ? 1 : step.as_int();
  if (by == 0) return invalid("the step of a slice cannot be 0");
  const bool down = by < 0;
  const auto clamp = [&](const Value& bound, Int fallback) {
    if (bound.is_none()) return fallback;
    Int at = bound.as_int();
    if (at < 0) at = at < -size ? -1 : at + size;
    if (at < 0) return down ? Int{-1} : Int{0};
    return std::min(at, down ? size - 1 : size);
  };
  const Int first = clamp(start, down ? size - 1 : 0);
  const Int last = clamp(stop, down ? -1 : size);
  const Int span = down ? first - last : last - first;
  if (span <= 0) return Steps{first, 0, by};
  const Int stride = down ? -by : by;
  return Steps{first, (span - 1) / stride + 1, by};
}

Value slice_string(Heap& heap, const Text& text, const Steps& steps,
                   const std::vector<uint32_t>& at) {
  TextBuilder out;
  if (steps.step == 1 && steps.count > 0) {
    out.append(text, at[static_cast<size_t>(steps.start)],
               at[static_cast<size_t>(steps.start + steps.count)]);
    return heap.string(std::move(out));
  }
  for (Int i = 0; i < steps.count; ++i) {
    const auto index = static_cast<size_t>(steps.start + i * steps.step);
    out.append(text, at[index], at[index + 1]);
  }
  return heap.string(std::move(out));
}

}  // namespace

Result<Value> get_attribute(Heap& heap, const Value& object, std::string_view name) {
  if (object.is_undefined()) return invalid(object.why_undefined());
  if (!name.starts_with('_') && find_method(object, name) != nullptr) {
    return method_of(heap, object, name);
  }
  if (object.is_dict()) {
    if (const Value* value = object.dict().find(name)) return *value;
    return no_attribute(object, name);
  }
  return member_of(heap, object, name);
}

Result<Value> get_item(Heap& heap, const Value& object, const Value& key) {
  if (object.is_undefined()) return invalid(object.why_undefined());
  if (object.is_dict()) {
    if (!key.is_string()) heap.meter().step(object.dict().entries.size());
    if (const Value* value = object.dict().find(key)) return *value;
  } else if (object.is_list() && key.is_int()) {
    const auto& items = object.list().items;
    const size_t index = resolve(key.as_int(), items.size());
    return index < items.size() ? items[index] : no_item(object, key);
  } else if (object.is_string() && key.is_int()) {
    const std::string& bytes = object.bytes();
    heap.meter().step(bytes.size() / 64);
    const size_t index = resolve(key.as_int(), count_chars(bytes));
    const size_t begin = char_offset(bytes, index);
    if (begin == bytes.size()) return no_item(object, key);
    size_t length = 0;
    decode(bytes, begin, length);
    return heap.slice(object.text(), begin, begin + length);
  }
  if (key.is_string()) {
    SLUICE_ASSIGN_OR_RETURN(Value member, get_attribute(heap, object, key.bytes()));
    if (!member.is_undefined()) return member;
  }
  return no_item(object, key);
}

Result<Value> get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop,
                        const Value& step) {
  if (object.is_undefined()) return invalid(object.why_undefined());
  if (object.is_string()) {
    heap.meter().step(object.bytes().size() / 64);
    const auto offsets = char_offsets(object.bytes());
    SLUICE_ASSIGN_OR_RETURN(const Steps steps,
                            steps_of(start, stop, step, Int{offsets.size()} - 1));
    return slice_string(heap, object.text(), steps, offsets);
  }
  if (!object.is_list()) {
    return Value::undefined(
        fmt::format("a value of type '{}' cannot be sliced", object.type_name()));
  }
  const auto& items = object.list().items;
  SLUICE_ASSIGN_OR_RETURN(const Steps steps, steps_of(start, stop, step, Int{items.size()}));
  std::vector<Value> kept;
  kept.reserve(static_cast<size_t>(steps.count));
  for (Int i = 0; i < steps.count; ++i) {
    kept.push_back(items[static_cast<size_t>(steps.start + i * steps.step)]);
  }
  const Shape shape = object.list().shape == Shape::kList ? Shape::kList : Shape::kTuple;
  return heap.list(std::move(kept), shape).mark(object.from_caller());
}

Result<Value> get_path(Heap& heap, const Value& object, const Value& path, const Value* fallback) {
  if (!path.is_string()) {
    SLUICE_ASSIGN_OR_RETURN(Value item, get_item(heap, object, path));
    return item.is_undefined() && fallback != nullptr ? *fallback : item;
  }
  Value value = object;
  std::string_view rest = path.bytes();
  for (bool more = true; more;) {
    const size_t dot = rest.find('.');
    more = dot != std::string_view::npos;
    const std::string_view part = rest.substr(0, dot);
    if (more) rest.remove_prefix(dot + 1);
    int64_t index = 0;
    const auto [end, ec] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number = ec == std::errc() && end == part.data() + part.size() && index >= 0;
    SLUICE_ASSIGN_OR_RETURN(
        value, get_item(heap, value, number ? Value(Int{index}) : heap.string(part, true)));
    if (value.is_undefined() && fallback != nullptr) value = *fallback;
  }
  return value;
}

}  // namespace sluice::text::jinja
