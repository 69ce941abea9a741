#include "cli/client/yaml_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::cli {
namespace {

// Words that YAML 1.1 or 1.2 reads as something other than text.
constexpr std::array<std::string_view, 13> kWords = {
    "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// Digits, signs, points, colons alone could be a number, a date or a time.
bool looks_like_a_number(std::string_view text) {
  const char first = text.front();
  if (first >= '0' && first <= '9') return true;
  const bool sign = first == '+' || first == '-' || first == '.';
  return sign && text.size() > 1 && (text[1] == '.' || (text[1] >= '0' && text[1] <= '9'));
}

bool may_be_plain(std::string_view text) {
  if (std::ranges::find(kWords, lower(text)) != kWords.end()) return false;
  if (looks_like_a_number(text)) {
    return text.find_first_not_of("0123456789+-._:eExXabcdfABCDF") != std::string_view::npos;
  }
  if (std::string_view("-?:,[]{}#&*!|>'\"%@` =").contains(text.front())) return false;
  if (text.back() == ' ' || text.back() == ':') return false;
  if (text.contains(": ") || text.contains(" #")) return false;
  return std::ranges::all_of(
      text, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

bool may_be_a_block(std::string_view text) {
  if (!text.contains('\n') || text.front() == ' ' || text.front() == '\n') return false;
  if (text.contains(" \n") || text.contains('\t')) return false;
  return std::ranges::all_of(text, [](char c) {
    return c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  });
}

void write(const json::value& value, size_t indent, bool in_list, std::string& out);

void write_text(std::string_view text, size_t indent, std::string& out) {
  if (!text.empty() && may_be_plain(text)) {
    out += text;
  } else if (!text.empty() && may_be_a_block(text)) {
    const size_t trailing = text.size() - (text.find_last_not_of('\n') + 1);
    out += trailing == 0 ? "|-" : trailing == 1 ? "|" : "|+";
    std::string_view rest = trailing == 0 ? text : text.substr(0, text.size() - 1);
    while (true) {
      const size_t end = rest.find('\n');
      const std::string_view line = rest.substr(0, end);
      out += "\n" + (line.empty() ? std::string() : std::string(indent, ' ')) + std::string(line);
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  } else {
    out += json::serialize(json::value(text));  // a JSON text is a YAML text
  }
  out += '\n';
}

void write_object(const json::object& object, size_t indent, bool in_list, std::string& out) {
  std::vector<const json::key_value_pair*> members;
  for (const auto& member : object) members.push_back(&member);
  std::ranges::sort(members, {}, [](const auto* member) { return member->key(); });
  bool first = in_list;
  for (const auto* member : members) {
    if (!first) out += std::string(indent, ' ');
    first = false;
    std::string key;
    write_text(member->key(), 0, key);
    key.pop_back();
    out += key + ":";
    write(member->value(), indent, false, out);
  }
}

void write(const json::value& value, size_t indent, bool in_list, std::string& out) {
  const std::string gap = in_list ? "" : " ";
  if (const auto* object = value.if_object()) {
    if (object->empty()) {
      out += gap + "{}\n";
    } else {
      if (!in_list) out += '\n';
      write_object(*object, in_list ? indent : indent + 2, in_list, out);
    }
  } else if (const auto* array = value.if_array()) {
    if (array->empty()) {
      out += gap + "[]\n";
      return;
    }
    // kubectl does not indent lists below their name.
    if (!in_list) out += '\n';
    bool first = in_list;
    for (const json::value& item : *array) {
      if (!first) out += std::string(indent, ' ');
      first = false;
      out += "- ";
      write(item, indent + 2, true, out);
    }
  } else if (const auto* text = value.if_string()) {
    out += gap;
    write_text(*text, in_list ? indent : indent + 2, out);
  } else {
    out += gap + json::serialize(value) + "\n";
  }
}

void write_pretty(const json::value& value, size_t indent, std::string& out) {
  const std::string inner(indent + 4, ' ');
  const std::string outer(indent, ' ');
  const auto separate = [&](bool first) { out += (first ? "\n" : ",\n") + inner; };
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : *object) {
      separate(std::exchange(first, false));
      out += json::serialize(json::value(key)) + ": ";
      write_pretty(member, indent + 4, out);
    }
    out += "\n" + outer + "}";
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    out += '[';
    bool first = true;
    for (const json::value& item : *array) {
      separate(std::exchange(first, false));
      write_pretty(item, indent + 4, out);
    }
    out += "\n" + outer + "]";
  } else {
    out += json::serialize(value);
  }
}

}  // namespace

std::string pretty_json(const json::value& value) {
  std::string out;
  write_pretty(value, 0, out);
  return out + "\n";
}

std::string yaml_text(const json::value& value) {
  std::string out;
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    write_object(*object, 0, false, out);
  } else {
    write(value, 0, true, out);
  }
  return out;
}

}  // namespace sluice::cli
