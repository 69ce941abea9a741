#include "control/schema.h"

#include <charconv>
#include <utility>

#include "base/check.h"
#include "control/schema_texts.h"

namespace sluice::control {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// The text up to the next blank outside of parentheses.
std::string_view next_word(std::string_view& rest) {
  rest = trim(rest);
  size_t depth = 0;
  size_t end = 0;
  for (; end < rest.size(); ++end) {
    if (rest[end] == '(') ++depth;
    if (rest[end] == ')' && depth > 0) --depth;
    if (rest[end] == ' ' && depth == 0) break;
  }
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end);
  return word;
}

std::vector<std::string> split(std::string_view text, char mark) {
  std::vector<std::string> parts;
  while (true) {
    const size_t at = text.find(mark);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

// "spec -- Words." → "spec" and "Words.".
std::pair<std::string_view, std::string_view> split_description(std::string_view line) {
  const size_t at = line.find(" -- ");
  SLUICE_CHECK(at != std::string_view::npos, "a schema line without a description");
  return {trim(line.substr(0, at)), trim(line.substr(at + 4))};
}

// Lines without the empty ones; one that begins with blanks goes on where the one before ended.
std::vector<std::string> whole_lines(std::string_view text) {
  std::vector<std::string> lines;
  for (const std::string& line : split(text, '\n')) {
    const std::string_view content = trim(line);
    if (content.empty()) continue;
    if (line.starts_with("    ") && !lines.empty()) {
      lines.back().append(" ").append(content);
    } else {
      lines.emplace_back(content);
    }
  }
  return lines;
}

double number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  SLUICE_CHECK(error == std::errc() && end == text.data() + text.size(), "a bound is no number");
  return value;
}

std::string unwrapped(std::string_view text) {
  SLUICE_CHECK(text.size() > 2 && text.front() == '(' && text.back() == ')',
               "a reason without its parentheses");
  return std::string(text.substr(1, text.size() - 2));
}

}  // namespace

const SchemaField* Schema::find(std::string_view field) const {
  for (const SchemaField& candidate : fields) {
    if (candidate.name == field) return &candidate;
  }
  return nullptr;
}

const Schema* Schema::member(std::string_view key) const {
  if (kind == SchemaKind::kMap) return items;
  const SchemaField* field = find(key);
  return field == nullptr ? nullptr : field->schema;
}

SchemaBook::SchemaBook(const std::vector<std::string_view>& texts) {
  for (const std::string_view text : texts) read(text);
  for (const auto& [name, schema] : types_) {
    SLUICE_CHECK(!schema->fields.empty() || schema->open, "a schema names a type that is nowhere");
  }
}

const Schema* SchemaBook::find(std::string_view name) const {
  const auto found = types_.find(name);
  return found == types_.end() ? nullptr : found->second;
}

const SchemaBook& SchemaBook::ours() {
  static const SchemaBook book(schema_texts());
  return book;
}

void SchemaBook::read(std::string_view text) {
  Schema* owner = nullptr;
  for (const std::string& line : whole_lines(text)) {
    if (line.starts_with("= ")) {
      auto [head, description] = split_description(std::string_view(line).substr(2));
      owner = type_of(next_word(head));
      owner->description = description;
      continue;
    }
    SLUICE_CHECK(owner != nullptr, "a field before the first type");
    if (line.starts_with("include ")) {
      std::string_view head = split_description(line).first.substr(8);
      const Schema* other = find(next_word(head));
      SLUICE_CHECK(other != nullptr, "a schema includes a type that comes later");
      for (const SchemaField& field : other->fields) {
        if (owner->find(field.name) == nullptr) owner->fields.push_back(field);
      }
    } else {
      read_field(*owner, line);
    }
  }
}

void SchemaBook::read_field(Schema& owner, std::string_view line) {
  auto [head, description] = split_description(line);
  SchemaField field;
  field.name = next_word(head);
  field.description = description;
  std::string_view type = next_word(head);
  if (type.ends_with('!')) {
    field.required = true;
    type.remove_suffix(1);
  }
  Schema* schema = type_of(type);
  field.schema = schema;
  while (true) {
    const std::string_view flag = next_word(head);
    if (flag.empty()) break;
    const size_t mark = flag.find('=');
    add_flag(*schema, field, flag.substr(0, mark),
             mark == std::string_view::npos ? std::string_view() : flag.substr(mark + 1));
  }
  SLUICE_CHECK(owner.find(field.name) == nullptr, "a schema has a field twice");
  owner.fields.push_back(std::move(field));
}

void SchemaBook::add_flag(Schema& schema, SchemaField& field, std::string_view name,
                          std::string_view value) {
  if (name == "ignored") {
    field.ignored = unwrapped(value);
    return;
  }
  if (name == "refused") {
    field.refused = unwrapped(value);
    return;
  }
  if (name == "default") {
    auto parsed = parse_json(value);
    SLUICE_CHECK(parsed.has_value(), "a default that is no JSON");
    field.default_value = *std::move(parsed);
    return;
  }
  SLUICE_CHECK(schema.name.empty(), "a named type is shared: it takes no flags of a field");
  if (name == "min") {
    schema.min = number(value);
  } else if (name == "max") {
    schema.max = number(value);
  } else if (name == "enum") {
    schema.one_of = split(value, '|');
  } else if (name == "key") {
    schema.list = ListKind::kMap;
    schema.keys = split(value, ',');
  } else if (name == "set") {
    schema.list = ListKind::kSet;
  } else if (name == "patch") {
    schema.patch_merge = value == "merge";
  } else {
    SLUICE_CHECK(false, "a schema flag that is not known");
  }
}

Schema* SchemaBook::anonymous(SchemaKind kind, std::string_view format) {
  Schema& schema = all_.emplace_back();
  schema.kind = kind;
  schema.format = format;
  return &schema;
}

Schema* SchemaBook::type_of(std::string_view text) {
  SLUICE_CHECK(!text.empty(), "a field without a type");
  if (text.starts_with("[]")) {
    Schema* list = anonymous(SchemaKind::kList);
    list->items = type_of(text.substr(2));
    return list;
  }
  if (text.starts_with("map<") && text.ends_with('>')) {
    Schema* map = anonymous(SchemaKind::kMap);
    map->items = type_of(text.substr(4, text.size() - 5));
    return map;
  }
  if (text == "string") return anonymous(SchemaKind::kString);
  if (text == "int32" || text == "int64") return anonymous(SchemaKind::kInteger, text);
  if (text == "number") return anonymous(SchemaKind::kNumber, "double");
  if (text == "bool") return anonymous(SchemaKind::kBoolean);
  if (text == "time") return anonymous(SchemaKind::kString, "date-time");
  if (text == "bytes") return anonymous(SchemaKind::kString, "byte");
  if (text == "quantity") return anonymous(SchemaKind::kIntOrString, "quantity");
  if (text == "intstr") return anonymous(SchemaKind::kIntOrString);
  if (text == "any") return anonymous(SchemaKind::kAny);
  if (text == "object") {
    Schema* object = anonymous(SchemaKind::kObject);
    object->open = true;
    return object;
  }
  const auto known = types_.find(text);
  if (known != types_.end()) return known->second;
  Schema* named = anonymous(SchemaKind::kObject);
  named->name = text;
  types_.emplace(named->name, named);
  return named;
}

const Schema* member_of(const Schema* schema, std::string_view key) {
  return schema == nullptr ? nullptr : schema->member(key);
}

const Schema* items_of(const Schema* schema) {
  return schema == nullptr || schema->kind != SchemaKind::kList ? nullptr : schema->items;
}

ListKind list_kind_of(const Schema* schema) {
  return schema == nullptr || schema->kind != SchemaKind::kList ? ListKind::kAtomic : schema->list;
}

}  // namespace sluice::control
