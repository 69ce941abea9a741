// The functions that a template can call by name.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "base/limits.h"
#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

constexpr std::array<std::string_view, 7> kFunctions = {
    "range", "dict", "namespace", "cycler", "joiner", "raise_exception", "strftime_now"};

Result<Value> range(Heap& heap, const Args& args) {
  std::array<Int, 3> bounds = {0, 0, 1};
  const auto& given = args.positional;
  if (given.empty() || given.size() > 3 || !args.named.empty()) {
    return invalid("range() takes one to three integers");
  }
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i].is_undefined()) return invalid(given[i].why_undefined());
    if (!given[i].is_int()) {
      return invalid(
          fmt::format("range() takes integers, found a value of type '{}'", given[i].type_name()));
    }
    bounds[given.size() == 1 ? 1 : i] = given[i].as_int();
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) return invalid("the step of range() cannot be 0");
  // Unsigned, as the distance of two integers may not fit a signed one.
  using Wide = unsigned __int128;
  const bool up = step > 0;
  const bool empty = up ? start >= stop : start <= stop;
  const Wide span = empty ? 0 : up ? Wide(stop) - Wide(start) : Wide(start) - Wide(stop);
  const Wide stride = up ? Wide(step) : Wide(0) - Wide(step);
  const Wide count = empty ? 0 : (span - 1) / stride + 1;
  if (count > limits::kMaxTemplateRange) {
    return fail(Code::kTooLarge,
                fmt::format("range() of more than {} numbers", limits::kMaxTemplateRange));
  }
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(count));
  Int at = start;
  for (Wide i = 0; i < count; ++i) {
    items.emplace_back(at);
    if (i + 1 < count) at += step;
  }
  return heap.list(std::move(items));
}

// dict(other, key=value, …): `other` is a dict or a list of pairs.
Result<Value> make_dict(Heap& heap, const Args& args) {
  if (args.positional.size() > 1) return invalid("dict() takes at most one positional argument");
  std::vector<Dict::Entry> entries;
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (source.is_dict()) {
      entries = source.dict().entries;
    } else {
      SLUICE_ASSIGN_OR_RETURN(const auto pairs, iterate(heap, source));
      for (const Value& pair : pairs) {
        SLUICE_ASSIGN_OR_RETURN(auto parts, iterate(heap, pair));
        if (parts.size() != 2 || !hashable(parts[0])) {
          return invalid("dict() takes a dict or pairs of a key and a value");
        }
        entries.emplace_back(std::move(parts[0]), std::move(parts[1]));
      }
    }
  }
  for (const auto& [name, value] : args.named) {
    entries.emplace_back(heap.string(name, true), value);
  }
  return heap.merged_dict(std::move(entries));
}

Result<Value> make_namespace(Heap& heap, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Value initial, make_dict(heap, args));
  auto space = std::make_shared<Namespace>();
  for (const auto& [key, value] : initial.dict().entries) {
    if (key.is_string()) space->attributes.insert_or_assign(key.bytes(), value);
  }
  return heap.object(std::move(space));
}

Result<Value> make_cycler(Heap& heap, const Args& args) {
  if (args.positional.empty() || !args.named.empty()) {
    return invalid("cycler() takes at least one item");
  }
  auto cycler = std::make_shared<Cycler>();
  cycler->items = args.positional;
  for (const Value& item : cycler->items) cycler->extent.include(item);
  return heap.object(std::move(cycler));
}

Result<Value> make_joiner(Heap& heap, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("joiner", args, {"sep"}));
  auto joiner = std::make_shared<Joiner>();
  joiner->separator = bound[0] != nullptr ? *bound[0] : Value::literal(", ");
  joiner->extent.include(joiner->separator);
  return heap.object(std::move(joiner));
}

Result<Value> raise_exception(const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("raise_exception", args, {"message"}, 1));
  TextBuilder message;
  print(*bound[0], message);
  // The template's own words, for the client; no place is put in front.
  return fail(Code::kInvalidArgument, message.take().bytes, {}, std::string(kLocated));
}

// Local time, as Python's datetime.now().
Result<Value> strftime_now(Heap& heap, Clock clock, const Args& args) {
  static constexpr size_t kMaxFormat = 256;
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("strftime_now", args, {"format"}, 1));
  SLUICE_ASSIGN_OR_RETURN(const std::string format, bound.string(0, ""));
  if (format.size() > kMaxFormat) {
    return invalid(fmt::format("the format of strftime_now() is longer than {} bytes", kMaxFormat));
  }
  const auto seconds = static_cast<time_t>(std::floor(clock.unix_seconds));
  std::tm local{};
  localtime_r(&seconds, &local);
  const auto micros = static_cast<int>((clock.unix_seconds - std::floor(clock.unix_seconds)) * 1e6);
  std::string expanded;  // %f is Python's own
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      expanded.push_back(format[i]);
    } else if (format[++i] == 'f') {
      expanded += fmt::format("{:06}", micros);
    } else {
      expanded.append(format, i - 1, 2);
    }
  }
  std::array<char, 64 * kMaxFormat> buffer;
  // A last character tells an empty result from one that does not fit.
  expanded.push_back('.');
  const size_t size = std::strftime(buffer.data(), buffer.size(), expanded.c_str(), &local);
  if (size == 0) return invalid("the result of strftime_now() is too long");
  return heap.string(std::string_view(buffer.data(), size - 1), bound[0]->trusted());
}

}  // namespace

bool is_function(std::string_view name) {
  return std::ranges::find(kFunctions, name) != kFunctions.end();
}

Result<Value> call_function(Heap& heap, Clock clock, std::string_view name, const Args& args) {
  if (name == "range") return range(heap, args);
  if (name == "dict") return make_dict(heap, args);
  if (name == "namespace") return make_namespace(heap, args);
  if (name == "cycler") return make_cycler(heap, args);
  if (name == "joiner") return make_joiner(heap, args);
  if (name == "raise_exception") return raise_exception(args);
  if (name == "strftime_now") return strftime_now(heap, clock, args);
  return invalid(fmt::format("there is no function '{}'", name));
}

}  // namespace sluice::text::jinja
