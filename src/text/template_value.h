// Values of the chat-template language: Python's, as far as templates see them.
//
// Strings, lists, tuples and dicts are immutable once made and shared by reference; the only things
// that change are Objects (namespaces, loops, cyclers). So values cannot contain themselves, but
// through a namespace, which a render empties when it ends. The nesting and the expanded size of
// containers (shared parts counted as often as they are reached) are bounded, so that printing,
// comparing and freeing a value neither recurse far nor take exponential time.
//
// `from_caller` is the provenance of what is no string (see template_text.h): whether a number or
// container came from the caller.
//
// Thread: a value belongs to one render; constants of a parsed template are shared and never
// change.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "text/template_text.h"

namespace sluice::text::jinja {

using Int = __int128;  // wide enough for every JSON integer; overflow is an error

class Value;

// What one render has used, against its limits. The first limit that is passed sticks: `check()`
// then fails for good. Values that hold much memory give it back when they are freed.
class Meter {
 public:
  void step(size_t count = 1);
  void hold(size_t bytes);
  void release(size_t bytes) { held_ -= bytes; }
  void refuse(std::string why);

  bool failed() const { return !problem_.empty(); }
  Outcome check() const;

 private:
  size_t steps_ = 0;
  size_t held_ = 0;
  std::string problem_;
};

// Memory held on behalf of a value.
class Lease {
 public:
  Lease() = default;
  Lease(Meter& meter, size_t bytes) : meter_(&meter), bytes_(bytes) { meter.hold(bytes); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    if (meter_ != nullptr) meter_->release(bytes_);
  }

 private:
  Meter* meter_ = nullptr;
  size_t bytes_ = 0;
};

struct String {
  String(Text t, Meter& meter)
      : text(std::move(t)), lease(meter, sizeof(*this) + text.heap_bytes()) {}
  explicit String(Text t) : text(std::move(t)) {}  // a constant of the template

  Text text;
  Lease lease;
};

struct List;
struct Dict;

// How large a value is as a tree, and whether nothing in it came from the caller.
struct Extent {
  uint32_t depth = 0;
  uint64_t weight = 1;
  bool trusted = true;

  void include(const Value& part);
};

// Things with identity.
struct Object {
  enum class Type { kNamespace, kLoop, kCycler, kJoiner, kFunction };
  explicit Object(Type t) : type(t) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;

  const Type type;
  Extent extent;  // of the values that it owns for its lifetime
};

// Why a value is undefined, as the error says when it is used: "'x' is undefined".
struct Undefined {
  std::shared_ptr<const std::string> why;
};
struct None {};

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kDict,
  kObject
};

class Value {
 public:
  Value() : data_(Undefined{}) {}
  Value(None) : data_(None{}) {}
  Value(bool b) : data_(b) {}
  Value(Int i) : data_(i) {}
  Value(int i) : data_(Int{i}) {}
  Value(size_t i) : data_(Int{i}) {}
  Value(double d) : data_(d) {}
  Value(std::shared_ptr<const String> s) : data_(std::move(s)) {}
  Value(std::shared_ptr<const List> l) : data_(std::move(l)) {}
  Value(std::shared_ptr<const Dict> d) : data_(std::move(d)) {}
  Value(std::shared_ptr<Object> o) : data_(std::move(o)) {}
  template <typename T>
  Value(T*) = delete;  // would become a bool

  static Value undefined(std::string why) {
    Value v;
    v.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
    return v;
  }
  static Value literal(std::string_view bytes);  // a trusted string outside any render's meter

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool is_undefined() const { return kind() == Kind::kUndefined; }
  bool is_none() const { return kind() == Kind::kNone; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_list() const { return kind() == Kind::kList; }
  bool is_dict() const { return kind() == Kind::kDict; }
  bool is_int() const { return kind() == Kind::kInt || kind() == Kind::kBool; }  // as in Python
  bool is_number() const { return is_int() || kind() == Kind::kFloat; }

  // Each asks for its kind to be checked first.
  bool as_bool() const { return std::get<bool>(data_); }
  Int as_int() const { return kind() == Kind::kBool ? Int{as_bool()} : std::get<Int>(data_); }
  double as_double() const;  // of any number
  const Text& text() const { return std::get<std::shared_ptr<const String>>(data_)->text; }
  const std::string& bytes() const { return text().bytes; }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  const std::shared_ptr<Object>& object() const { return std::get<std::shared_ptr<Object>>(data_); }
  template <typename T>
  T* object_as() const {
    return kind() == Kind::kObject ? dynamic_cast<T*>(object().get()) : nullptr;
  }

  bool from_caller() const { return from_caller_; }
  Value&& mark(bool caller) && {
    from_caller_ = caller;
    return std::move(*this);
  }

  bool truthy() const;
  Extent extent() const;
  // Whether nothing in it came from the caller.
  bool trusted() const { return extent().trusted; }
  // What Python calls the type: "str", "list", "dict", …
  std::string_view type_name() const;
  // The reason that an undefined value gives when it is used.
  std::string why_undefined() const;

 private:
  std::variant<Undefined, None, bool, Int, double, std::shared_ptr<const String>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>
      data_;
  bool from_caller_ = false;
};

enum class Shape : uint8_t { kList, kTuple, kGroup };  // kGroup: a tuple with .grouper and .list

struct List {
  std::vector<Value> items;
  Shape shape = Shape::kList;
  Extent extent;
  Lease lease;

  List(std::vector<Value> values, Shape s, Meter& meter);
};

// Insertion order is kept. Keys are equal as Python's are: 1, 1.0 and true are one key.
struct Dict {
  using Entry = std::pair<Value, Value>;
  std::vector<Entry> entries;
  Extent extent;
  Lease lease;

  Dict(std::vector<Entry> values, Meter& meter);  // keys are distinct
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;

 private:
  std::unordered_map<std::string_view, uint32_t> strings_;  // only where there are many entries
};

// Makes values under one render's meter. A value past a limit comes out empty, and the meter fails.
class Heap {
 public:
  explicit Heap(Meter& meter) : meter_(meter) {}
  Meter& meter() { return meter_; }

  // Refuses text that has outgrown what a string may hold.
  void admit(const TextBuilder& text);
  Value string(TextBuilder text);
  Value string(std::string_view bytes, bool trusted);
  Value slice(const Text& text, size_t begin, size_t end);
  Value list(std::vector<Value> items, Shape shape = Shape::kList);
  Value dict(std::vector<Dict::Entry> entries);
  // Later entries with an equal key win, in the place of the first.
  Value merged_dict(std::vector<Dict::Entry> entries);
  // An object whose `extent` is set.
  Value object(std::shared_ptr<Object> made);
  Value from_json(const json::value& value, bool from_caller, uint32_t depth = 0);

 private:
  void admit(const Extent& extent);

  Meter& meter_;
};

// Equality and order as Python's; `less` fails for kinds that have no order.
bool equal(const Value& a, const Value& b);
Result<bool> less(const Value& a, const Value& b);
// The order of `keys`, smallest first, or largest first; equal keys keep their order. Fails where
// two keys have no order.
enum class Direction { kUp, kDown };
Result<std::vector<uint32_t>> sorted_order(Meter& meter, const std::vector<Value>& keys,
                                           Direction direction);
// As in a set: an unhashable value (list, dict) is no key.
bool hashable(const Value& value);

// str(value) and repr(value), with provenance.
void print(const Value& value, TextBuilder& out);
void print_repr(const Value& value, std::string& out);
std::string repr(const Value& value);
std::string format_int(Int value);
std::string format_float(double value);

// What a for loop or a filter walks: list items, dict keys, characters; nothing for undefined.
Result<std::vector<Value>> iterate(Heap& heap, const Value& value);
// len(), or nothing where the value has none.
std::optional<size_t> length_of(const Value& value);

}  // namespace sluice::text::jinja
