// The outline of a JSON text: where the items of its large lists begin and end, found without
// reading what is in them. For whoever reads one text again and again, of which little changes:
// what stands there byte for byte as before is found by comparing.
//
// Pure; foreign text.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::plan {

struct OutlineItem {
  static constexpr size_t kNew = static_cast<size_t>(-1);
  std::string_view text;  // points into the text
  size_t before = kNew;   // the index of the same item in the list before
};

// A list that is cut into its items: a member of the outermost object.
struct OutlineList {
  std::string_view name;
  std::span<const std::string_view> before;  // its items as they stood in an earlier outline
  std::vector<OutlineItem> items{};
  bool found = false;
};

// The text without these lists, whose items it fills in; nothing when the text has another form: it
// must be an object, each list a list of objects that stands there once. The text is JSON exactly
// when what is returned and every item are.
std::optional<std::string> outline_json(std::string_view text, std::span<OutlineList> lists);

}  // namespace sluice::plan
