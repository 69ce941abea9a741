// OpenAPI v2 as the protocol buffer message openapi.v2.Document of gnostic, written by hand: the
// few constructs that our document has. Field numbers are those of gnostic's OpenAPIv2.proto.

#include <bit>
#include <string>
#include <string_view>

#include "control/json_util.h"
#include "control/openapi.h"

namespace sluice::control {
namespace {

// Protocol buffer wire format: a key of field number and wire type, then the value.
class Message {
 public:
  void text(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    bytes_.append(value);
  }
  void flag(int field, bool value) {
    if (!value) return;
    key(field, 0);
    varint(1);
  }
  void message(int field, const Message& value) { text(field, value.bytes_); }
  void number(int field, double value) {
    key(field, 1);
    const auto bits = std::bit_cast<uint64_t>(value);
    for (int i = 0; i < 8; ++i) bytes_ += static_cast<char>(bits >> (8 * i) & 0xFF);
  }
  std::string take() { return std::move(bytes_); }

 private:
  void key(int field, unsigned type) { varint(static_cast<uint64_t>(field) << 3 | type); }
  void varint(uint64_t value) {
    while (value >= 0x80) {
      bytes_ += static_cast<char>((value & 0x7F) | 0x80);
      value >>= 7;
    }
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Any: the value as YAML, of which JSON is a part.
Message any(const json::value& value) {
  Message out;
  out.text(2, json::serialize(value));
  return out;
}

Message named(std::string_view name, const Message& value) {
  Message out;
  out.text(1, name);
  out.message(2, value);
  return out;
}

void put_text(Message& out, int field, const json::object& from, std::string_view key) {
  const std::string_view value = text_at(from, key);
  if (!value.empty()) out.text(field, value);
}

void put_texts(Message& out, int field, const json::object& from, std::string_view key) {
  const auto* list = from.if_contains(key);
  if (list == nullptr || !list->is_array()) return;
  for (const json::value& item : list->get_array()) {
    if (item.is_string()) out.text(field, item.get_string());
  }
}

void put_extensions(Message& out, int field, const json::object& from) {
  for (const auto& [key, value] : from) {
    if (std::string_view(key).starts_with("x-")) out.message(field, named(key, any(value)));
  }
}

Message schema(const json::object& from) {
  Message out;
  if (const json::value* target = from.if_contains("$ref"); target != nullptr) {
    out.text(1, target->get_string());
  }
  put_text(out, 2, from, "format");
  put_text(out, 4, from, "description");
  if (const json::value* value = from.if_contains("default")) out.message(5, any(*value));
  if (const auto maximum = number_at(from, "maximum")) out.number(7, *maximum);
  if (const auto minimum = number_at(from, "minimum")) out.number(9, *minimum);
  put_texts(out, 19, from, "required");
  if (const auto* words = from.if_contains("enum"); words != nullptr && words->is_array()) {
    for (const json::value& word : words->get_array()) out.message(20, any(word));
  }
  if (const auto* more = object_at(from, "additionalProperties"); more != nullptr) {
    Message item;
    item.message(1, schema(*more));
    out.message(21, item);
  }
  if (const std::string_view type = text_at(from, "type"); !type.empty()) {
    Message item;
    item.text(1, type);
    out.message(22, item);
  }
  if (const auto* items = object_at(from, "items"); items != nullptr) {
    Message item;
    item.message(1, schema(*items));
    out.message(23, item);
  }
  if (const auto* properties = object_at(from, "properties"); properties != nullptr) {
    Message list;
    for (const auto& [name, value] : *properties) {
      list.message(1, named(name, schema(value.get_object())));
    }
    out.message(25, list);
  }
  put_extensions(out, 31, from);
  return out;
}

// ParametersItem → Parameter → NonBodyParameter → the form for its place.
Message parameter(const json::object& from) {
  const bool query = text_at(from, "in") == "query";
  Message form;
  form.flag(1, true_at(from, "required"));
  put_text(form, 2, from, "in");
  put_text(form, 3, from, "description");
  put_text(form, 4, from, "name");
  put_text(form, query ? 6 : 5, from, "type");
  form.flag(query ? 20 : 19, true_at(from, "uniqueItems"));
  Message non_body;
  non_body.message(query ? 3 : 4, form);
  Message either;
  either.message(2, non_body);
  Message item;
  item.message(1, either);
  return item;
}

void put_parameters(Message& out, int field, const json::object& from) {
  const auto* list = array_at(from, "parameters");
  if (list == nullptr) return;
  for (const json::value& each : *list) out.message(field, parameter(each.get_object()));
}

Message responses(const json::object& from) {
  Message out;
  for (const auto& [code, value] : from) {
    Message response;
    put_text(response, 1, value.get_object(), "description");
    Message either;
    either.message(1, response);
    out.message(1, named(code, either));
  }
  return out;
}

Message operation(const json::object& from) {
  Message out;
  put_text(out, 3, from, "description");
  put_text(out, 5, from, "operationId");
  put_texts(out, 6, from, "produces");
  put_texts(out, 7, from, "consumes");
  put_parameters(out, 8, from);
  if (const auto* codes = object_at(from, "responses")) out.message(9, responses(*codes));
  put_extensions(out, 13, from);
  return out;
}

Message path_item(const json::object& from) {
  struct Row {
    std::string_view method;
    int field;
  };
  Message out;
  for (const Row& row :
       {Row{"get", 2}, Row{"put", 3}, Row{"post", 4}, Row{"delete", 5}, Row{"patch", 8}}) {
    if (const auto* each = object_at(from, row.method)) out.message(row.field, operation(*each));
  }
  put_parameters(out, 9, from);
  return out;
}

}  // namespace

std::string encode_gnostic(const json::object& document) {
  Message out;
  put_text(out, 1, document, "swagger");
  if (const auto* info = object_at(document, "info")) {
    Message message;
    put_text(message, 1, *info, "title");
    put_text(message, 2, *info, "version");
    out.message(2, message);
  }
  if (const auto* paths = object_at(document, "paths")) {
    Message list;
    for (const auto& [path, item] : *paths) {
      list.message(2, named(path, path_item(item.get_object())));
    }
    out.message(8, list);
  }
  if (const auto* definitions = object_at(document, "definitions")) {
    Message list;
    for (const auto& [name, value] : *definitions) {
      list.message(1, named(name, schema(value.get_object())));
    }
    out.message(9, list);
  }
  return out.take();
}

}  // namespace sluice::control
