#include "text/template_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/limits.h"

namespace sluice::text::jinja {
namespace {

// Templates make markers of roles: '<|' + message.role + '|>'. A caller chooses one of these words;
// none of them is text of the caller's own, and none ends a turn.
bool is_known_role(const json::value& role) {
  constexpr std::array<std::string_view, 7> kRoles = {"system", "developer", "user",   "assistant",
                                                      "tool",   "function",  "ipython"};
  return role.is_string() &&
         std::ranges::find(kRoles, std::string_view(role.get_string())) != kRoles.end();
}

constexpr uint32_t kMaxNesting = 256;
constexpr uint64_t kMaxWeight = 16u << 20;
constexpr size_t kIndexedDict = 8;

}  // namespace

void Meter::step(size_t count) {
  steps_ += count;
  if (steps_ > limits::kMaxTemplateSteps) {
    refuse(fmt::format("it does more than {} steps; does a loop never end?",
                       limits::kMaxTemplateSteps));
  }
}

void Meter::hold(size_t bytes) {
  held_ += bytes;
  if (held_ > limits::kMaxTemplateMemory) {
    refuse(fmt::format("its values take more than {} MiB", limits::kMaxTemplateMemory >> 20));
  }
}

void Meter::refuse(std::string why) {
  if (problem_.empty()) problem_ = std::move(why);
}

Outcome Meter::check() const {
  if (problem_.empty()) return {};
  return fail(Code::kTooLarge, problem_);
}

Value Value::literal(std::string_view bytes) {
  return std::make_shared<const String>(Text::of(bytes, true));
}

double Value::as_double() const {
  return kind() == Kind::kFloat ? std::get<double>(data_) : static_cast<double>(as_int());
}

bool Value::truthy() const {
  switch (kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return as_int() != 0;
    case Kind::kFloat:
      return as_double() != 0;
    case Kind::kString:
      return !bytes().empty();
    case Kind::kList:
      return !list().items.empty();
    case Kind::kDict:
      return !dict().entries.empty();
    case Kind::kObject:
      return true;
  }
  return false;
}

Extent Value::extent() const {
  Extent extent;
  switch (kind()) {
    case Kind::kString:
      extent.trusted = text().trusted();
      break;
    case Kind::kList:
      extent = list().extent;
      break;
    case Kind::kDict:
      extent = dict().extent;
      break;
    case Kind::kObject:
      extent = object()->extent;
      break;
    default:
      break;
  }
  if (from_caller_) extent.trusted = false;
  return extent;
}

void Extent::include(const Value& part) {
  const Extent inner = part.extent();
  depth = std::max(depth, inner.depth + 1);
  weight += inner.weight;
  trusted = trusted && inner.trusted;
}

std::string_view Value::type_name() const {
  switch (kind()) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return list().shape == Shape::kList ? "list" : "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kObject:
      switch (object()->type) {
        case Object::Type::kNamespace:
          return "namespace";
        case Object::Type::kLoop:
          return "loop";
        case Object::Type::kCycler:
          return "cycler";
        case Object::Type::kJoiner:
          return "joiner";
        case Object::Type::kFunction:
          return "function";
      }
  }
  return "value";
}

std::string Value::why_undefined() const {
  const auto& why = std::get<Undefined>(data_).why;
  return why ? *why : "the value is undefined";
}

List::List(std::vector<Value> values, Shape s, Meter& meter)
    : items(std::move(values)),
      shape(s),
      lease(meter, sizeof(*this) + items.capacity() * sizeof(Value)) {
  extent.depth = 1;
  for (const Value& item : items) extent.include(item);
}

Dict::Dict(std::vector<Entry> values, Meter& meter)
    : entries(std::move(values)),
      lease(meter, sizeof(*this) + entries.capacity() * (sizeof(Entry) + 64)) {
  extent.depth = 1;
  for (const auto& [key, value] : entries) {
    extent.include(key);
    extent.include(value);
  }
  if (entries.size() <= kIndexedDict) return;
  for (uint32_t i = 0; i < entries.size(); ++i) {
    if (entries[i].first.is_string()) strings_.emplace(entries[i].first.bytes(), i);
  }
}

const Value* Dict::find(std::string_view key) const {
  if (entries.size() > kIndexedDict) {
    const auto it = strings_.find(key);
    return it == strings_.end() ? nullptr : &entries[it->second].second;
  }
  for (const auto& [name, value] : entries) {
    if (name.is_string() && name.bytes() == key) return &value;
  }
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  if (key.is_string()) return find(std::string_view(key.bytes()));
  for (const auto& [name, value] : entries) {
    if (equal(name, key)) return &value;
  }
  return nullptr;
}

void Heap::admit(const TextBuilder& text) {
  if (!text.overflowed()) return;
  meter_.refuse(
      fmt::format("a string grows past {} bytes or {} changes between template and "
                  "caller text",
                  limits::kMaxTemplateOutput, limits::kMaxTemplateSegments));
}

Value Heap::string(TextBuilder text) {
  admit(text);
  if (meter_.failed()) return Value::literal("");
  meter_.step(text.size() / 1024);
  return std::make_shared<const String>(text.take(), meter_);
}

Value Heap::string(std::string_view bytes, bool trusted) {
  TextBuilder text;
  text.append(bytes, trusted);
  return string(std::move(text));
}

Value Heap::slice(const Text& text, size_t begin, size_t end) {
  TextBuilder part;
  part.append(text, begin, end);
  return string(std::move(part));
}

Value Heap::list(std::vector<Value> items, Shape shape) {
  meter_.step(items.size() / 16);
  if (items.size() > limits::kMaxTemplateItems) {
    meter_.refuse(fmt::format("a list grows past {} items", limits::kMaxTemplateItems));
    items.clear();
  }
  auto made = std::make_shared<const List>(std::move(items), shape, meter_);
  admit(made->extent);
  return made;
}

Value Heap::dict(std::vector<Dict::Entry> entries) {
  meter_.step(entries.size() / 8);
  if (entries.size() > limits::kMaxTemplateItems) {
    meter_.refuse(fmt::format("a dict grows past {} entries", limits::kMaxTemplateItems));
    entries.clear();
  }
  auto made = std::make_shared<const Dict>(std::move(entries), meter_);
  admit(made->extent);
  return made;
}

void Heap::admit(const Extent& extent) {
  if (extent.depth > kMaxNesting) {
    meter_.refuse(fmt::format("lists and dicts are nested deeper than {} levels", kMaxNesting));
  }
  if (extent.weight > kMaxWeight) {
    meter_.refuse(fmt::format("a value holds more than {} parts", kMaxWeight));
  }
}

Value Heap::object(std::shared_ptr<Object> made) {
  admit(made->extent);
  return made;
}

Value Heap::merged_dict(std::vector<Dict::Entry> entries) {
  std::unordered_map<std::string, size_t> strings;
  std::vector<Dict::Entry> kept;
  for (auto& [key, value] : entries) {
    size_t at = kept.size();
    if (key.is_string()) {
      at = strings.try_emplace(key.bytes(), at).first->second;
    } else {
      meter_.step(kept.size());
      if (meter_.failed()) break;
      const auto same = std::ranges::find_if(
          kept, [&](const Dict::Entry& entry) { return equal(entry.first, key); });
      at = static_cast<size_t>(same - kept.begin());
    }
    if (at < kept.size()) {
      kept[at].second = std::move(value);
    } else {
      kept.emplace_back(std::move(key), std::move(value));
    }
  }
  return dict(std::move(kept));
}

Value Heap::from_json(const json::value& value, bool from_caller, uint32_t depth) {
  meter_.step();
  if (meter_.failed() || depth > kMaxNesting) {
    meter_.refuse(
        fmt::format("the request's values are nested deeper than {} levels", kMaxNesting));
    return {};
  }
  switch (value.kind()) {
    case json::kind::null:
      return Value(None{}).mark(from_caller);
    case json::kind::bool_:
      return Value(value.get_bool()).mark(from_caller);
    case json::kind::int64:
      return Value(Int{value.get_int64()}).mark(from_caller);
    case json::kind::uint64:
      return Value(Int{value.get_uint64()}).mark(from_caller);
    case json::kind::double_:
      return Value(value.get_double()).mark(from_caller);
    case json::kind::string:
      return string(std::string_view(value.get_string()), !from_caller);
    case json::kind::array: {
      std::vector<Value> items;
      items.reserve(value.get_array().size());
      for (const auto& item : value.get_array()) {
        items.push_back(from_json(item, from_caller, depth + 1));
      }
      return list(std::move(items)).mark(from_caller);
    }
    case json::kind::object: {
      std::vector<Dict::Entry> entries;
      entries.reserve(value.get_object().size());
      for (const auto& [key, item] : value.get_object()) {
        const bool known = std::string_view(key) == "role" && is_known_role(item);
        entries.emplace_back(string(std::string_view(key), !from_caller),
                             from_json(item, from_caller && !known, depth + 1));
      }
      return dict(std::move(entries)).mark(from_caller);
    }
  }
  return {};
}

bool hashable(const Value& value) {
  if (value.is_dict()) return false;
  if (!value.is_list()) return true;
  return value.list().shape != Shape::kList && std::ranges::all_of(value.list().items, hashable);
}

Result<std::vector<Value>> iterate(Heap& heap, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return std::vector<Value>{};
    case Kind::kList:
      heap.meter().step(value.list().items.size());
      return value.list().items;
    case Kind::kDict: {
      heap.meter().step(value.dict().entries.size());
      std::vector<Value> keys;
      keys.reserve(value.dict().entries.size());
      for (const auto& entry : value.dict().entries) keys.push_back(entry.first);
      return keys;
    }
    case Kind::kString: {
      heap.meter().step(value.bytes().size());
      SLUICE_RETURN_IF_ERROR(heap.meter().check());
      std::vector<Value> chars;
      CharReader reader(value.text());
      while (reader.next() && !heap.meter().failed()) {
        chars.push_back(heap.string(
            std::string_view(value.bytes()).substr(reader.begin(), reader.end() - reader.begin()),
            reader.trusted()));
      }
      return chars;
    }
    default:
      return invalid(fmt::format("a value of type '{}' cannot be iterated", value.type_name()));
  }
}

std::optional<size_t> length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return count_chars(value.bytes());
    case Kind::kList:
      return value.list().items.size();
    case Kind::kDict:
      return value.dict().entries.size();
    default:
      return std::nullopt;
  }
}

}  // namespace sluice::text::jinja
