#include "control/schema_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

constexpr size_t kMaxCauses = 64;
constexpr size_t kMaxUnknown = 64;

std::string child(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

std::string item(const std::string& path, size_t index) {
  return fmt::format("{}[{}]", path, index);
}

void prune_value(const Schema* schema, json::value& value, const std::string& path,
                 SchemaReport& report);

void prune_members(const Schema& schema, json::object& object, const std::string& path,
                   SchemaReport& report) {
  for (auto at = object.begin(); at != object.end();) {
    const Schema* member = schema.member(at->key());
    if (member == nullptr && !schema.open) {
      if (report.unknown.size() < kMaxUnknown) report.unknown.push_back(child(path, at->key()));
      at = object.stable_erase(at);
    } else if (member != nullptr && at->value().is_null() && member->kind != SchemaKind::kAny) {
      at = object.stable_erase(at);
    } else {
      prune_value(member, at->value(), child(path, at->key()), report);
      ++at;
    }
  }
}

void prune_value(const Schema* schema, json::value& value, const std::string& path,
                 SchemaReport& report) {
  if (schema == nullptr || schema->kind == SchemaKind::kAny) return;
  if (auto* object = value.if_object(); object != nullptr && (schema->kind == SchemaKind::kObject ||
                                                              schema->kind == SchemaKind::kMap)) {
    prune_members(*schema, *object, path, report);
  }
  if (auto* list = value.if_array(); list != nullptr && schema->kind == SchemaKind::kList) {
    for (size_t i = 0; i < list->size(); ++i) {
      prune_value(schema->items, (*list)[i], item(path, i), report);
    }
  }
}

class Checker {
 public:
  enum class Of { kWhole, kPart };
  Checker(SchemaReport& report, Of of) : report_(report), of_(of) {}

  void object(const Schema& schema, const json::object& object, const std::string& path) {
    for (const SchemaField& field : schema.fields) {
      const json::value* value = object.if_contains(field.name);
      const std::string at = child(path, field.name);
      if (value == nullptr) {
        if (field.required && of_ == Of::kWhole) add("FieldValueRequired", at, field.description);
        continue;
      }
      if (!field.refused.empty()) {
        add("FieldValueForbidden", at, fmt::format("is not supported: {}", field.refused));
        continue;
      }
      if (!field.ignored.empty()) {
        report_.ignored.push_back(fmt::format("{} has no effect: {}", at, field.ignored));
      }
      const auto* text = value->if_string();
      if (field.required && text != nullptr && text->empty()) {
        add("FieldValueRequired", at, field.description);
        continue;
      }
      this->value(*field.schema, *value, at);
    }
    if (schema.kind == SchemaKind::kMap) {
      for (const auto& [key, value] : object) this->value(*schema.items, value, child(path, key));
    }
  }

 private:
  void add(std::string_view reason, const std::string& path, std::string message) {
    if (report_.causes.size() < kMaxCauses) {
      report_.causes.push_back({std::string(reason), std::move(message), path});
    }
  }

  void wrong_type(const std::string& path, std::string_view expected, const json::value& value) {
    add("FieldValueTypeInvalid", path,
        fmt::format("expected {}, found {}", expected, shown(value)));
  }

  void value(const Schema& schema, const json::value& value, const std::string& path) {
    switch (schema.kind) {
      case SchemaKind::kAny:
        return;
      case SchemaKind::kObject:
      case SchemaKind::kMap:
        if (const auto* object = value.if_object()) return this->object(schema, *object, path);
        return wrong_type(path, "an object", value);
      case SchemaKind::kList:
        if (const auto* list = value.if_array()) return this->list(schema, *list, path);
        return wrong_type(path, "a list", value);
      case SchemaKind::kBoolean:
        if (!value.is_bool()) wrong_type(path, "true or false", value);
        return;
      case SchemaKind::kString:
        return text(schema, value, path);
      case SchemaKind::kInteger:
      case SchemaKind::kNumber:
        return number(schema, value, path);
      case SchemaKind::kIntOrString:
        return int_or_string(schema, value, path);
    }
  }

  void text(const Schema& schema, const json::value& value, const std::string& path) {
    const auto* text = value.if_string();
    if (text == nullptr) return wrong_type(path, "a string", value);
    if (!schema.one_of.empty() &&
        std::ranges::find(schema.one_of, std::string_view(*text)) == schema.one_of.end()) {
      std::vector<std::string> quoted;
      for (const std::string& word : schema.one_of) quoted.push_back(fmt::format("\"{}\"", word));
      return add("FieldValueNotSupported", path,
                 fmt::format("{}: supported values: {}", shown(value), fmt::join(quoted, ", ")));
    }
    if (schema.format == "date-time" && !parse_time(*text)) {
      return add("FieldValueInvalid", path,
                 fmt::format("{}: expected a time such as 2027-01-31T12:00:00Z", shown(value)));
    }
    if (schema.format == "byte" && !base64_decode(*text)) {
      add("FieldValueInvalid", path, "expected base64 (standard alphabet, padded)");
    }
  }

  void number(const Schema& schema, const json::value& value, const std::string& path) {
    const bool whole = value.is_int64();
    if (schema.kind == SchemaKind::kInteger && !whole) {
      return wrong_type(path, "an integer", value);
    }
    if (!whole && !value.is_uint64() && !value.is_double()) {
      return wrong_type(path, "a number", value);
    }
    const auto number = value.to_number<double>();
    if (schema.format == "int32" && (number < -2147483648.0 || number > 2147483647.0)) {
      return add("FieldValueInvalid", path,
                 fmt::format("{}: expected an integer of 32 bits", shown(value)));
    }
    if ((schema.min && number < *schema.min) || (schema.max && number > *schema.max)) {
      std::string wanted = schema.min ? fmt::format("at least {}", *schema.min) : std::string();
      if (schema.max) {
        wanted += fmt::format("{}at most {}", wanted.empty() ? "" : " and ", *schema.max);
      }
      add("FieldValueInvalid", path, fmt::format("{}: must be {}", shown(value), wanted));
    }
  }

  void int_or_string(const Schema& schema, const json::value& value, const std::string& path) {
    const bool number = value.is_int64() || value.is_uint64() || value.is_double();
    if (!number && !value.is_string()) {
      return wrong_type(path, "a number or a string", value);
    }
    if (schema.format == "quantity" && value.is_string() && !parse_quantity(value.get_string())) {
      add("FieldValueInvalid", path,
          fmt::format("{}: expected a quantity such as 500m, 2 or 4Gi", shown(value)));
    }
  }

  void list(const Schema& schema, const json::array& list, const std::string& path) {
    std::set<std::string> seen;
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string at = item(path, i);
      value(*schema.items, list[i], at);
      std::string key;
      if (schema.list == ListKind::kSet) {
        key = shown(list[i]);
      } else if (const auto* object = list[i].if_object();
                 schema.list == ListKind::kMap && object != nullptr) {
        for (const std::string& name : schema.keys) {
          const json::value* part = object->if_contains(name);
          key += fmt::format("{}={};", name, part == nullptr ? "" : shown(*part));
        }
      }
      if (!key.empty() && !seen.insert(key).second) {
        add("FieldValueDuplicate", at, fmt::format("{} stands in the list twice", key));
      }
    }
  }

  SchemaReport& report_;
  const Of of_;
};

}  // namespace

void prune(const Schema& schema, json::object& object, SchemaReport& report) {
  prune_members(schema, object, {}, report);
}

void check(const Schema& schema, const json::object& object, SchemaReport& report) {
  Checker(report, Checker::Of::kWhole).object(schema, object, {});
}

void check_part(const Schema& schema, const json::object& object, SchemaReport& report) {
  Checker(report, Checker::Of::kPart).object(schema, object, {});
}

void fill_defaults(const Schema& schema, json::object& object) {
  for (const SchemaField& field : schema.fields) {
    json::value* value = object.if_contains(field.name);
    if (value == nullptr) {
      if (!field.default_value.is_null()) object[field.name] = field.default_value;
    } else if (auto* nested = value->if_object(); nested != nullptr) {
      fill_defaults(*field.schema, *nested);
    } else if (auto* list = value->if_array(); list != nullptr) {
      const Schema* items = items_of(field.schema);
      for (json::value& each : *list) {
        if (items != nullptr && each.is_object()) fill_defaults(*items, each.get_object());
      }
    }
  }
}

}  // namespace sluice::control
