// The filters, tests, methods, operators and functions of the chat-template language. Pure
// functions over values; their errors say what is wrong, and the evaluator adds where.
#pragma once

#include <array>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "text/template_program.h"
#include "text/template_value.h"

namespace sluice::text::jinja {

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Arguments matched to parameters: [i] is the i-th parameter's value, or null where it was left
// out.
class Bound {
 public:
  static constexpr size_t kMax = 6;
  const Value* operator[](size_t i) const { return values_[i]; }

  bool flag(size_t i, bool fallback) const;
  // Fail where the argument is of another kind.
  Result<Int> integer(size_t i, Int fallback) const;
  Result<std::string> string(size_t i, std::string_view fallback) const;

 private:
  friend Result<Bound> bind(std::string_view, const Args&, std::initializer_list<std::string_view>,
                            size_t);
  std::array<const Value*, kMax> values_{};
  std::array<std::string_view, kMax> names_{};
  std::string what_;
};

// Refuses unknown, doubled and surplus arguments, and fewer than the first `required`. The result
// points into `args`.
Result<Bound> bind(std::string_view what, const Args& args,
                   std::initializer_list<std::string_view> names, size_t required = 0);

// Objects that the language makes.
struct Namespace : Object {
  Namespace() : Object(Type::kNamespace) {}
  std::map<std::string, Value, std::less<>> attributes;
};

struct Cycler : Object {
  Cycler() : Object(Type::kCycler) {}
  std::vector<Value> items;
  size_t at = 0;
};

struct Joiner : Object {
  Joiner() : Object(Type::kJoiner) {}
  Value separator;
  bool used = false;
};

struct Scope;

// Something that can be called: a macro or a {% call %} block (`macro` set), a method (`self`
// defined), or a function of the language.
struct Function : Object {
  Function() : Object(Type::kFunction) {}
  std::string name;
  Value self;
  const Stmt* macro = nullptr;
  Scope* scope = nullptr;
};

struct LoopState : Object {
  LoopState() : Object(Type::kLoop) {}
  std::vector<Value> items;
  size_t index = 0;
  size_t depth0 = 0;
  std::vector<Value> last_changed;
  bool changed_before = false;
  const Stmt* stmt = nullptr;  // null once the loop has ended
  Scope* parent = nullptr;
};

using Filter = Result<Value> (*)(Heap& heap, const Value& value, const Args& args);
using Test = Result<bool> (*)(Heap& heap, const Value& value, const Args& args);
using Method = Result<Value> (*)(Heap& heap, const Value& self, const Args& args);

// Null where there is none of that name.
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);
Method find_method(const Value& self, std::string_view name);

// Parts of the table of filters and methods, each kept in its own file.
template <typename T>
using Named = std::pair<std::string_view, T>;
Filter find_string_filter(std::string_view name);
Filter find_list_filter(std::string_view name);
Method find_string_method(std::string_view name);

// Python's getattr-then-item and item-then-getattr, as Jinja does them. What is missing is
// undefined; asking an undefined value is an error. Names that begin with "_" are keys only.
Result<Value> get_attribute(Heap& heap, const Value& object, std::string_view name);
Result<Value> get_item(Heap& heap, const Value& object, const Value& key);
Result<Value> get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop,
                        const Value& step);
// "a.b.0" as filters take it. Each part that is undefined becomes `fallback` where that is given.
Result<Value> get_path(Heap& heap, const Value& object, const Value& path,
                       const Value* fallback = nullptr);

Result<Value> arithmetic(Heap& heap, Op op, const Value& a, const Value& b);
Result<Value> negative(const Value& a);
Result<bool> compare(Heap& heap, Op op, const Value& a, const Value& b);
Result<bool> contains(Heap& heap, const Value& container, const Value& item);
Value repeat_text(Heap& heap, const Text& text, Int count);
// At most `most` replacements, all where it is negative.
Value replace(Heap& heap, const Text& text, const Text& from, const Text& to, Int most);

// "%s and %d" % values, and "{} and {name}".format(…).
Result<Value> format_percent(Heap& heap, const Text& format, const Value& values);
Result<Value> format_braces(Heap& heap, const Text& format, const Args& args);

struct JsonStyle {
  bool ascii = false;
  bool sort_keys = false;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  std::string indent;  // of one level
  bool pretty = false;
};
Outcome write_json(Meter& meter, const Value& value, const JsonStyle& style, std::string& out);

// Functions: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
bool is_function(std::string_view name);
struct Clock {
  double unix_seconds;
};
Result<Value> call_function(Heap& heap, Clock clock, std::string_view name, const Args& args);

}  // namespace sluice::text::jinja
