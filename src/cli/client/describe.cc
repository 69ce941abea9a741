#include "cli/client/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "cli/client/table_text.h"
#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::cli {
namespace {

using control::array_at;
using control::object_at;
using control::text_at;

constexpr size_t kColumn = 14;

// "storageUri" → "Storage Uri".
std::string in_words(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool after_lower = !out.empty() && out.back() >= 'a' && out.back() <= 'z';
    if (upper && after_lower) out += ' ';
    out += out.empty() && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return out;
}

void tell(const json::value& value, size_t indent, std::string& out);

void tell_member(const std::string& name, const json::value& value, size_t indent,
                 std::string& out) {
  const bool nested = (value.is_object() && !value.get_object().empty()) ||
                      (value.is_array() && !value.get_array().empty());
  const std::string label = std::string(indent, ' ') + name + ":";
  if (nested) {
    out += label + "\n";
    tell(value, indent + 2, out);
  } else if (!value.is_object() && !value.is_array()) {
    const size_t gap = std::max(label.size() + 2, indent + kColumn + 4) - label.size();
    out += label + std::string(gap, ' ') + cell_text(value) + "\n";
  }
}

void tell(const json::value& value, size_t indent, std::string& out) {
  if (const auto* object = value.if_object()) {
    std::vector<std::string_view> keys;
    for (const auto& member : *object) keys.push_back(member.key());
    std::ranges::sort(keys);
    for (const std::string_view key : keys) {
      tell_member(in_words(key), object->at(key), indent, out);
    }
  } else if (const auto* array = value.if_array()) {
    bool first = true;
    for (const json::value& item : *array) {
      if (item.is_object() && !std::exchange(first, false)) out += '\n';
      tell(item, indent, out);
    }
  } else {
    out += std::string(indent, ' ') + cell_text(value) + "\n";
  }
}

void tell_pairs(std::string_view title, const json::object* pairs, std::string& out) {
  const std::string label = fmt::format("{:<{}}", fmt::format("{}:", title), kColumn);
  if (pairs == nullptr || pairs->empty()) {
    out += label + "<none>\n";
    return;
  }
  bool first = true;
  for (const auto& [key, value] : *pairs) {
    // What kubectl apply notes for itself says nothing to people.
    if (key == "kubectl.kubernetes.io/last-applied-configuration") continue;
    out +=
        fmt::format("{}{}{}{}\n", std::exchange(first, false) ? label : std::string(kColumn, ' '),
                    std::string_view(key), title == "Labels" ? "=" : ": ", cell_text(value));
  }
  if (first) out += label + "<none>\n";
}

void line(std::string_view title, std::string_view value, std::string& out) {
  out +=
      fmt::format("{:<{}}{}\n", fmt::format("{}:", title), kColumn, cell_text(json::value(value)));
}

std::string age_of(const json::object& object, std::string_view path) {
  const auto at = control::parse_time(text_at(object, path));
  if (!at) return "<unknown>";
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return control::age_text(now - *at);
}

Result<std::string> events_of(ApiClient& api, const Place& place, const json::object& object) {
  const auto* type = control::find_kind("v1", "Event");
  const std::string ns = place.ns.empty() ? "default" : place.ns;
  SLUICE_ASSIGN_OR_RETURN(
      const ApiAnswer answer,
      api.get(ApiClient::path_of(*type, ns, {}),
              {{"fieldSelector",
                fmt::format("involvedObject.uid={}", text_at(object, "metadata.uid"))}}));
  const json::array* items = array_at(answer.body.as_object(), "items");
  if (items == nullptr || items->empty()) return std::string("Events:       <none>\n");
  std::vector<const json::object*> events;
  for (const json::value& item : *items) events.push_back(&item.as_object());
  std::ranges::sort(events, {},
                    [](const json::object* event) { return text_at(*event, "lastTimestamp"); });
  TextTable table({"  Type", "Reason", "Age", "From", "Message"});
  for (const json::object* event : events) {
    const int64_t count = control::integer_at(*event, "count").value_or(1);
    std::string age = age_of(*event, "lastTimestamp");
    if (count > 1) {
      age += fmt::format(" (x{} over {})", count, age_of(*event, "firstTimestamp"));
    }
    table.add({"  " + std::string(text_at(*event, "type")), std::string(text_at(*event, "reason")),
               std::move(age), std::string(text_at(*event, "source.component")),
               cell_text(json::value(text_at(*event, "message")))});
  }
  return "Events:\n" + table.text(true);
}

// The collection as the server's table, of the objects that name `service` as theirs.
Result<std::string> parts_of(ApiClient& api, const Place& place, std::string_view kind,
                             std::string_view title) {
  const auto* type = control::find_kind("sluice.dev/v1alpha1", kind);
  if (type == nullptr) return std::string();
  SLUICE_ASSIGN_OR_RETURN(
      const ApiAnswer answer,
      api.get(ApiClient::path_of(*type, place.ns, {}),
              {{"labelSelector", fmt::format("serving.kserve.io/inferenceservice={}", place.name)}},
              "application/json;as=Table;v=v1;g=meta.k8s.io"));
  const json::object& body = answer.body.as_object();
  const json::array* columns = array_at(body, "columnDefinitions");
  const json::array* rows = array_at(body, "rows");
  if (columns == nullptr || rows == nullptr || rows->empty()) return std::string();
  const TableStyle style{.prefix = "  "};
  auto head = table_head(*columns, style);
  if (!head.empty()) head.front() = "  " + head.front();
  TextTable table(std::move(head));
  for (const json::value& row : *rows) table.add(table_row(*columns, row.as_object(), style));
  return fmt::format("{}:\n{}", title, table.text(true));
}

}  // namespace

std::string described(const json::object& object, bool secret) {
  std::string out;
  line("Name", text_at(object, "metadata.name"), out);
  if (const auto ns = text_at(object, "metadata.namespace"); !ns.empty()) {
    line("Namespace", ns, out);
  }
  tell_pairs("Labels", object_at(object, "metadata.labels"), out);
  tell_pairs("Annotations", object_at(object, "metadata.annotations"), out);
  line("API Version", text_at(object, "apiVersion"), out);
  line("Kind", text_at(object, "kind"), out);
  line("Created", text_at(object, "metadata.creationTimestamp"), out);
  if (const auto ends = text_at(object, "metadata.deletionTimestamp"); !ends.empty()) {
    line("Ends since", ends, out);
  }
  for (const auto& [key, value] : object) {
    if (key == "metadata" || key == "apiVersion" || key == "kind") continue;
    if (secret && (key == "data" || key == "stringData") && value.is_object()) {
      out += "Data:\n";
      for (const auto& [name, data] : value.get_object()) {
        const auto bytes = control::base64_decode(
            data.is_string() ? std::string_view(data.get_string()) : std::string_view());
        out += fmt::format("  {}: {} bytes\n", std::string_view(name), bytes ? bytes->size() : 0);
      }
      continue;
    }
    tell_member(in_words(key), value, 0, out);
  }
  return out;
}

Result<std::string> describe_object(ApiClient& api, const Place& place) {
  SLUICE_ASSIGN_OR_RETURN(const ApiAnswer answer, api.get(place.path()));
  if (!answer.body.is_object()) return fail(Code::kUnavailable, "the server's answer is no object");
  const json::object& object = answer.body.get_object();
  std::string out = described(object, place.type->kind == "Secret");
  if (place.type->kind == "InferenceService") {
    for (const auto& [kind, title] :
         {std::pair{"Revision", "Revisions"}, {"Replica", "Replicas"}}) {
      SLUICE_ASSIGN_OR_RETURN(const std::string part, parts_of(api, place, kind, title));
      out += part;
    }
  }
  if (place.type->kind != "Event") {
    SLUICE_ASSIGN_OR_RETURN(const std::string events, events_of(api, place, object));
    out += events;
  }
  return out;
}

}  // namespace sluice::cli
