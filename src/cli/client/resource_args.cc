#include "cli/client/resource_args.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "net/syntax.h"

namespace sluice::cli {
namespace {

using control::ResourceType;

bool is_called(const ResourceType& type, const std::string& word) {
  if (word == type.plural || word == type.singular || word == net::to_lower(type.kind)) return true;
  if (std::ranges::find(type.short_names, word) != type.short_names.end()) return true;
  const size_t dot = word.find('.');
  if (dot == std::string::npos || type.group.empty()) return false;
  const std::string_view rest = std::string_view(word).substr(dot + 1);
  if (rest != type.group && rest != fmt::format("{}.{}", type.version, type.group)) return false;
  return is_called(type, word.substr(0, dot));
}

std::string known_types() {
  std::string out;
  for (const ResourceType& type : control::resource_types()) {
    if (type.refused) continue;
    out += out.empty() ? "" : ", ";
    out += type.plural;
    if (!type.short_names.empty()) out += fmt::format(" ({})", type.short_names.front());
  }
  return out;
}

}  // namespace

Result<const ResourceType*> find_type(std::string_view word) {
  const std::string lower = net::to_lower(word);
  const std::span<const ResourceType> types = control::resource_types();
  const auto found = std::ranges::find_if(
      types, [&](const ResourceType& type) { return !type.refused && is_called(type, lower); });
  if (found != types.end()) return &*found;
  return fail(Code::kNotFound, fmt::format("the server has no resource type \"{}\"; there are {}",
                                           word, known_types()));
}

Result<std::vector<const ResourceType*>> find_types(std::string_view words) {
  std::vector<const ResourceType*> out;
  while (true) {
    const size_t comma = words.find(',');
    const std::string_view word = words.substr(0, comma);
    size_t before = out.size();
    for (const ResourceType& type : control::resource_types()) {
      const bool in = std::ranges::find(type.categories, word) != type.categories.end();
      if (in && !type.refused) out.push_back(&type);
    }
    if (out.size() == before) {
      SLUICE_ASSIGN_OR_RETURN(const ResourceType* type, find_type(word));
      out.push_back(type);
    }
    if (comma == std::string_view::npos) return out;
    words.remove_prefix(comma + 1);
  }
}

Result<std::vector<Target>> parse_targets(const std::vector<std::string>& words) {
  if (words.empty()) {
    return invalid("name a resource type, such as isvc, or TYPE/NAME");
  }
  std::vector<Target> out;
  const bool slashes = words.front().contains('/');
  if (slashes) {
    for (const std::string& word : words) {
      const size_t slash = word.find('/');
      if (slash == std::string::npos || slash + 1 == word.size() ||
          word.find('/', slash + 1) != std::string::npos) {
        return invalid(fmt::format("\"{}\": expected TYPE/NAME, as the arguments before it", word));
      }
      SLUICE_ASSIGN_OR_RETURN(const ResourceType* type, find_type(word.substr(0, slash)));
      out.push_back({type, word.substr(slash + 1)});
    }
    return out;
  }
  SLUICE_ASSIGN_OR_RETURN(const auto types, find_types(words.front()));
  for (const ResourceType* type : types) {
    if (words.size() == 1) out.push_back({type, {}});
    for (size_t i = 1; i < words.size(); ++i) {
      if (words[i].contains('/')) {
        return invalid(fmt::format("\"{}\": TYPE/NAME and TYPE NAME do not mix", words[i]));
      }
      out.push_back({type, words[i]});
    }
  }
  return out;
}

std::string shown_name(const ResourceType& type, std::string_view name) {
  return type.group.empty() ? fmt::format("{}/{}", type.singular, name)
                            : fmt::format("{}.{}/{}", type.singular, type.group, name);
}

}  // namespace sluice::cli
