#include "registry/names.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::registry {
namespace {

constexpr size_t kMaxPathBytes = 512;
constexpr size_t kMaxSegmentBytes = 200;
constexpr size_t kMaxModelNameBytes = 150;  // as a file name with each '/' escaped it must fit too
constexpr size_t kMaxSegments = 8;
constexpr size_t kMaxShown = 120;

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

template <typename Allowed>
bool segments_hold(std::string_view text, Allowed allowed, std::string_view bad_starts) {
  size_t count = 0;
  while (true) {
    const std::string_view segment = text.substr(0, text.find('/'));
    if (segment.empty() || segment.size() > kMaxSegmentBytes || ++count > kMaxSegments)
      return false;
    if (bad_starts.find(segment.front()) != std::string_view::npos) return false;
    if (!std::ranges::all_of(segment, allowed)) return false;
    if (segment.size() == text.size()) return true;
    text.remove_prefix(segment.size() + 1);
  }
}

}  // namespace

std::string shown(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, kMaxShown)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  return name.size() > kMaxShown ? out + "..." : out;
}

Outcome check_file_path(std::string_view path) {
  const auto allowed = [](char c) {
    return is_alnum(c) || std::string_view("._-+ ,()[]=@~").find(c) != std::string_view::npos;
  };
  if (path.size() <= kMaxPathBytes && segments_hold(path, allowed, ". ~")) return {};
  return invalid(
      fmt::format("the file name \"{}\" is refused: expected a relative path of letters, "
                  "digits and ._-+ ,()[]=@~ without .. or hidden parts",
                  shown(path)));
}

Outcome check_model_name(std::string_view name) {
  const auto allowed = [](char c) {
    return is_alnum(c) || std::string_view("._-:").find(c) != std::string_view::npos;
  };
  if (name.size() <= kMaxModelNameBytes && segments_hold(name, allowed, ".-:")) return {};
  return invalid(fmt::format("the model name \"{}\" is refused: expected letters, digits and ._-: "
                             "with / between parts, at most {} characters; give one by --name",
                             shown(name), kMaxModelNameBytes),
                 "name");
}

}  // namespace sluice::registry
