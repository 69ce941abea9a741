// Schema: what an object of a kind may hold. One description serves validation, defaults, pruning,
// merging, field ownership and the OpenAPI documents.
//
// Schemas are written in a small language, one field a line (schemas_*.cc):
//
//   = TypeName -- Description.
//   field type flags… -- Description.
//   include TypeName -- .              the fields of another type that stands before
//
// Types: string int32 int64 number bool time bytes quantity intstr object any, Name of another
// type, []T, map<T>. A '!' behind the type: required. Flags:
//   min=0 max=9 enum=a|b default=JSON      of values
//   key=a,b   a list of objects told apart by these fields; set: of values; else it is one value
//   patch=merge  in a strategic merge patch too (by the first key)
//   ignored=(why)  accepted, warned about by name; refused=(what to do)  not accepted
//
// A line that begins with four blanks goes on with the one before.
//
// Immutable once read; any thread.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace sluice::control {

enum class SchemaKind {
  kString,
  kInteger,
  kNumber,
  kBoolean,
  kIntOrString,
  kObject,  // fields; with `open`, others beside them
  kMap,     // any keys, values of `items`
  kList,    // of `items`
  kAny,
};

// How lists are merged and owned.
enum class ListKind { kAtomic, kSet, kMap };

struct Schema;

struct SchemaField {
  std::string name;
  const Schema* schema = nullptr;
  bool required = false;
  std::string description;
  json::value default_value;  // null: none
  std::string ignored;        // why it has no effect here; empty: it has
  std::string refused;        // what to do instead; empty: it is accepted
};

struct Schema {
  SchemaKind kind = SchemaKind::kAny;
  std::string name;  // of a named type, else empty
  std::string description;
  std::string format;  // int32, int64, date-time, byte, quantity, or empty
  std::vector<SchemaField> fields;
  const Schema* items = nullptr;
  ListKind list = ListKind::kAtomic;
  std::vector<std::string> keys;  // of ListKind::kMap
  bool patch_merge = false;
  bool open = false;  // unknown fields are kept
  std::optional<double> min;
  std::optional<double> max;
  std::vector<std::string> one_of;

  const SchemaField* find(std::string_view field) const;
  // The schema of a member: of a field, or of any key of a map. Null when it is unknown; then it is
  // kept as it is where `open` or kAny says so.
  const Schema* member(std::string_view key) const;
  // Whether members are owned and merged one by one.
  bool granular() const {
    return kind == SchemaKind::kObject || kind == SchemaKind::kMap || kind == SchemaKind::kAny;
  }
};

// Every named type. The texts are ours: a mistake in them is a bug and aborts.
class SchemaBook {
 public:
  explicit SchemaBook(const std::vector<std::string_view>& texts);
  SchemaBook(const SchemaBook&) = delete;
  SchemaBook& operator=(const SchemaBook&) = delete;

  const Schema* find(std::string_view name) const;
  const std::map<std::string, Schema*, std::less<>>& types() const { return types_; }

  // Of the kinds that this server knows.
  static const SchemaBook& ours();

 private:
  void read(std::string_view text);
  void read_field(Schema& owner, std::string_view line);
  Schema* type_of(std::string_view text);
  void add_flag(Schema& schema, SchemaField& field, std::string_view name, std::string_view value);
  Schema* anonymous(SchemaKind kind, std::string_view format = {});

  std::deque<Schema> all_;
  std::map<std::string, Schema*, std::less<>> types_;
};

// The member of an object with this schema, where the schema itself may be unknown (null).
const Schema* member_of(const Schema* schema, std::string_view key);
const Schema* items_of(const Schema* schema);
ListKind list_kind_of(const Schema* schema);

}  // namespace sluice::control
