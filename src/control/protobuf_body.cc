#include "control/protobuf_body.h"

#include <fmt/format.h>

#include <optional>
#include <span>
#include <string>

#include "control/json_util.h"
#include "control/limits.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

constexpr std::string_view kMagic{"k8s\0", 4};

enum class Type { kText, kBytes, kFlag, kNumber, kTime, kMessage, kTextMap, kBytesMap };

struct Kind;

// A field of a message, and what it is called in JSON.
struct Field {
  uint32_t number;
  std::string_view name;
  Type type;
  bool repeated = false;
  const Kind* message = nullptr;
};

struct Kind {
  std::span<const Field> fields;
};

constexpr Field kOwnerFields[] = {
    {1, "kind", Type::kText},       {3, "name", Type::kText},
    {4, "uid", Type::kText},        {5, "apiVersion", Type::kText},
    {6, "controller", Type::kFlag}, {7, "blockOwnerDeletion", Type::kFlag}};
constexpr Kind kOwner{kOwnerFields};

constexpr Field kMetaFields[] = {{1, "name", Type::kText},
                                 {2, "generateName", Type::kText},
                                 {3, "namespace", Type::kText},
                                 {5, "uid", Type::kText},
                                 {6, "resourceVersion", Type::kText},
                                 {8, "creationTimestamp", Type::kTime},
                                 {11, "labels", Type::kTextMap},
                                 {12, "annotations", Type::kTextMap},
                                 {13, "ownerReferences", Type::kMessage, true, &kOwner},
                                 {14, "finalizers", Type::kText, true}};
constexpr Kind kMeta{kMetaFields};

constexpr Field kReferenceFields[] = {
    {1, "kind", Type::kText},       {2, "namespace", Type::kText},
    {3, "name", Type::kText},       {4, "uid", Type::kText},
    {5, "apiVersion", Type::kText}, {6, "resourceVersion", Type::kText},
    {7, "fieldPath", Type::kText}};
constexpr Kind kReference{kReferenceFields};
constexpr Field kLocalFields[] = {{1, "name", Type::kText}};
constexpr Kind kLocal{kLocalFields};

constexpr Field kNamespaceFields[] = {{1, "metadata", Type::kMessage, false, &kMeta}};
constexpr Field kSecretFields[] = {{1, "metadata", Type::kMessage, false, &kMeta},
                                   {2, "data", Type::kBytesMap},
                                   {3, "type", Type::kText},
                                   {4, "stringData", Type::kTextMap},
                                   {5, "immutable", Type::kFlag}};
constexpr Field kConfigMapFields[] = {{1, "metadata", Type::kMessage, false, &kMeta},
                                      {2, "data", Type::kTextMap},
                                      {3, "binaryData", Type::kBytesMap},
                                      {4, "immutable", Type::kFlag}};
constexpr Field kServiceAccountFields[] = {{1, "metadata", Type::kMessage, false, &kMeta},
                                           {2, "secrets", Type::kMessage, true, &kReference},
                                           {3, "imagePullSecrets", Type::kMessage, true, &kLocal},
                                           {4, "automountServiceAccountToken", Type::kFlag}};

struct Root {
  std::string_view kind;
  Kind message;
};
constexpr Root kRoots[] = {{"Namespace", {kNamespaceFields}},
                           {"Secret", {kSecretFields}},
                           {"ConfigMap", {kConfigMapFields}},
                           {"ServiceAccount", {kServiceAccountFields}}};

// One field off the wire: a number, or bytes.
struct WireField {
  uint32_t number = 0;
  uint64_t integer = 0;
  std::string_view bytes = {};
  bool is_bytes = false;
};

std::optional<uint64_t> take_varint(std::string_view& in) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

std::optional<WireField> take_field(std::string_view& in) {
  const auto key = take_varint(in);
  if (!key || *key >> 3 == 0 || *key >> 3 > 0x1FFFFFFF) return std::nullopt;
  WireField field{.number = static_cast<uint32_t>(*key >> 3)};
  size_t length = 0;
  switch (*key & 7) {
    case 0: {
      const auto value = take_varint(in);
      if (!value) return std::nullopt;
      field.integer = *value;
      return field;
    }
    case 1:
      length = 8;
      break;
    case 2: {
      const auto stated = take_varint(in);
      if (!stated || *stated > in.size()) return std::nullopt;
      length = *stated;
      field.is_bytes = true;
      break;
    }
    case 5:
      length = 4;
      break;
    default:
      return std::nullopt;
  }
  if (length > in.size()) return std::nullopt;
  field.bytes = in.substr(0, length);
  in.remove_prefix(length);
  return field;
}

class Reader {
 public:
  bool message(const Kind& kind, std::string_view bytes, json::object& out) {
    while (!bytes.empty()) {
      const auto wire = take_field(bytes);
      if (!wire || ++fields_ > limits::kMaxJsonNodes) return false;
      for (const Field& field : kind.fields) {
        if (field.number == wire->number && !take(field, *wire, out)) return false;
      }
    }
    return true;
  }

 private:
  bool take(const Field& field, const WireField& wire, json::object& out) {
    if (field.type == Type::kTextMap || field.type == Type::kBytesMap) {
      return wire.is_bytes && entry(field.type, wire.bytes, object_of(out, field.name));
    }
    auto value = value_of(field, wire);
    if (!value) return false;
    if (field.repeated) {
      json::value& list = out[field.name];
      if (!list.is_array()) list = json::array();
      list.get_array().push_back(*std::move(value));
    } else if (!value->is_string() || !value->get_string().empty()) {
      // An empty text is one that was not given.
      out[field.name] = *std::move(value);
    }
    return true;
  }

  std::optional<json::value> value_of(const Field& field, const WireField& wire) {
    switch (field.type) {
      case Type::kFlag:
        return json::value(wire.integer != 0);
      case Type::kNumber:
        return json::value(static_cast<int64_t>(wire.integer));
      case Type::kText:
        if (!wire.is_bytes) return std::nullopt;
        return json::value(wire.bytes);
      case Type::kBytes:
        return json::value(base64_encode(wire.bytes));
      case Type::kTime:
        return time(wire.bytes);
      case Type::kMessage: {
        json::object nested;
        if (!wire.is_bytes || !message(*field.message, wire.bytes, nested)) return std::nullopt;
        return json::value(std::move(nested));
      }
      case Type::kTextMap:
      case Type::kBytesMap:
        break;
    }
    return std::nullopt;
  }

  static std::optional<json::value> time(std::string_view bytes) {
    int64_t seconds = 0;
    while (!bytes.empty()) {
      const auto part = take_field(bytes);
      if (!part) return std::nullopt;
      if (part->number == 1) seconds = static_cast<int64_t>(part->integer);
    }
    // The zero time of Go, and all else that no calendar of four digits has.
    constexpr int64_t kYear10000 = 253'402'300'800;
    if (seconds <= 0 || seconds >= kYear10000) return json::value("");
    return json::value(time_text(static_cast<double>(seconds)));
  }

  bool entry(Type type, std::string_view bytes, json::object& out) {
    std::string_view key;
    std::string_view value;
    while (!bytes.empty()) {
      const auto part = take_field(bytes);
      if (!part || ++fields_ > limits::kMaxJsonNodes) return false;
      if (part->number == 1) key = part->bytes;
      if (part->number == 2) value = part->bytes;
    }
    out[key] = type == Type::kTextMap ? std::string(value) : base64_encode(value);
    return true;
  }

  size_t fields_ = 0;
};

std::unexpected<ApiError> malformed() {
  return bad_request("the body is no protocol buffer message of Kubernetes");
}

}  // namespace

ApiResult<json::value> parse_protobuf_body(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return malformed();
  bytes.remove_prefix(kMagic.size());
  // runtime.Unknown: 1 type (1 apiVersion, 2 kind), 2 the object's own message.
  std::string_view type;
  std::string_view raw;
  while (!bytes.empty()) {
    const auto field = take_field(bytes);
    if (!field) return malformed();
    if (field->number == 1) type = field->bytes;
    if (field->number == 2) raw = field->bytes;
  }
  std::string_view version;
  std::string_view kind;
  while (!type.empty()) {
    const auto field = take_field(type);
    if (!field) return malformed();
    if (field->number == 1) version = field->bytes;
    if (field->number == 2) kind = field->bytes;
  }
  for (const Root& root : kRoots) {
    if (root.kind != kind || version != "v1") continue;
    json::object object{{"apiVersion", version}, {"kind", kind}};
    Reader reader;
    if (!reader.message(root.message, raw, object)) return malformed();
    // Read again as JSON, so that broken UTF-8 and what passes a limit is refused by one reader.
    auto checked = parse_json(json::serialize(object), {.max_bytes = 2 * limits::kMaxBodyBytes,
                                                        .max_depth = limits::kMaxJsonDepth,
                                                        .max_nodes = limits::kMaxJsonNodes});
    if (!checked) return malformed();
    return *std::move(checked);
  }
  return std::unexpected(ApiError(415, "UnsupportedMediaType",
                                  "this kind is not read as a protocol buffer: send "
                                  "application/json"));
}

}  // namespace sluice::control
