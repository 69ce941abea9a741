// Arguments of template_builtins.h.

#include <fmt/format.h>

#include <algorithm>

#include "text/template_builtins.h"

namespace sluice::text::jinja {

Result<Bound> bind(std::string_view what, const Args& args,
                   std::initializer_list<std::string_view> names, size_t required) {
  Bound bound;
  bound.what_ = what;
  std::ranges::copy(names, bound.names_.begin());
  if (args.positional.size() > names.size()) {
    return invalid(fmt::format("{}() takes at most {} arguments, found {}", what, names.size(),
                               args.positional.size()));
  }
  for (size_t i = 0; i < args.positional.size(); ++i) bound.values_[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto* it = std::ranges::find(names, name);
    if (it == names.end()) return invalid(fmt::format("{}() has no argument '{}'", what, name));
    const Value*& slot = bound.values_[static_cast<size_t>(it - names.begin())];
    if (slot != nullptr) {
      return invalid(fmt::format("{}() is given the argument '{}' twice", what, name));
    }
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound.values_[i] == nullptr) {
      return invalid(fmt::format("{}() needs the argument '{}'", what, bound.names_[i]));
    }
  }
  return bound;
}

bool Bound::flag(size_t i, bool fallback) const {
  return values_[i] == nullptr ? fallback : values_[i]->truthy();
}

Result<Int> Bound::integer(size_t i, Int fallback) const {
  if (values_[i] == nullptr || values_[i]->is_none()) return fallback;
  if (values_[i]->is_int()) return values_[i]->as_int();
  return invalid(fmt::format("{}() needs an integer for '{}', found a value of type '{}'", what_,
                             names_[i], values_[i]->type_name()));
}

Result<std::string> Bound::string(size_t i, std::string_view fallback) const {
  if (values_[i] == nullptr || values_[i]->is_none()) return std::string(fallback);
  if (values_[i]->is_string()) return values_[i]->bytes();
  return invalid(fmt::format("{}() needs a string for '{}', found a value of type '{}'", what_,
                             names_[i], values_[i]->type_name()));
}

}  // namespace sluice::text::jinja
