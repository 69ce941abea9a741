#include "cli/client/get.h"

#include <fmt/format.h>

#include <iostream>
#include <utility>

#include "cli/client/commands_kit.h"
#include "cli/client/describe.h"
#include "cli/client/table_text.h"
#include "cli/client/yaml_text.h"
#include "control/json_util.h"

namespace sluice::cli {
namespace {

using control::array_at;
using control::object_at;
using control::text_at;

constexpr std::string_view kTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
constexpr std::string_view kObject = "application/json";

QueryParts query_of(const GetOptions& options, const Place& place) {
  QueryParts query;
  if (!options.selector.empty()) query.emplace_back("labelSelector", options.selector);
  std::string fields = options.field_selector;
  // A watch of one object is a watch of its collection.
  if (options.watch && !place.name.empty()) {
    fields += (fields.empty() ? "" : ",") + fmt::format("metadata.name={}", place.name);
  }
  if (!fields.empty()) query.emplace_back("fieldSelector", fields);
  return query;
}

Place collection_of(Place place) {
  place.name.clear();
  return place;
}

void strip(json::object& object, const GetOptions& options) {
  if (options.managed_fields) return;
  json::value* metadata = object.if_contains("metadata");
  if (metadata != nullptr && metadata->is_object()) metadata->get_object().erase("managedFields");
}

// What `get` prints of one kind after another.
class Printer {
 public:
  Printer(const GetOptions& options, bool several)
      : options_(options),
        several_(several),
        as_table_(options.output.empty() || options.output == "wide") {}

  std::string_view accept() const { return as_table_ ? kTable : kObject; }

  // Gives the version from which a watch goes on.
  std::string list(const Place& place, const json::object& body) {
    if (as_table_) {
      rows(place, body);
    } else if (const json::array* items = place.name.empty() ? array_at(body, "items") : nullptr) {
      for (const json::value& item : *items) object(place, item.as_object());
    } else {
      object(place, body);
    }
    return std::string(text_at(body, "metadata.resourceVersion"));
  }

  void change(const Place& place, const json::object& event) {
    const json::object* body = object_at(event, "object");
    if (body == nullptr || text_at(event, "type") == "BOOKMARK") return;
    if (as_table_) return rows(place, *body);
    object(place, *body);
    flush_objects();
  }

  void finish(const std::string& where) {
    if (!as_table_) return flush_objects();
    if (shown_ == 0 && !options_.ignore_not_found) {
      std::cerr << "No resources found"
                << (where.empty() ? "" : fmt::format(" in {} namespace", where)) << ".\n";
    }
  }

 private:
  void rows(const Place& place, const json::object& body) {
    if (const json::array* columns = array_at(body, "columnDefinitions"); columns != nullptr) {
      const bool other = place.type != columns_of_;
      columns_ = *columns;
      columns_of_ = place.type;
      style_ = {.wide = options_.output == "wide",
                .with_namespace = options_.all_namespaces && place.type->namespaced,
                .with_labels = options_.show_labels,
                .prefix = several_ ? shown_name(*place.type, "") : std::string()};
      if (other) {
        table_.emplace(table_head(columns_, style_));
        head_due_ = !options_.no_head;
      }
    }
    const json::array* rows = array_at(body, "rows");
    if (rows == nullptr || rows->empty() || !table_) return;
    table_->clear_rows();
    for (const json::value& row : *rows) {
      if (row.is_object()) table_->add(table_row(columns_, row.get_object(), style_));
    }
    if (several_ && head_due_ && shown_ > 0) std::cout << "\n";
    std::cout << table_->text(std::exchange(head_due_, false)) << std::flush;
    shown_ += rows->size();
  }

  void object(const Place& place, json::object object) {
    ++shown_;
    strip(object, options_);
    // Items of a list do not say what they are.
    if (!object.contains("kind")) object["kind"] = place.type->kind;
    if (!object.contains("apiVersion")) object["apiVersion"] = place.type->api_version();
    if (options_.output == "name") {
      std::cout << shown_name(*place.type, text_at(object, "metadata.name")) << "\n";
    } else {
      objects_.emplace_back(std::move(object));
      one_ = one_ && !place.name.empty();
    }
  }

  void flush_objects() {
    std::cout << std::flush;
    if (options_.output == "name") return;
    if (objects_.empty() && (options_.watch || (options_.ignore_not_found && one_))) return;
    json::value out;
    if (objects_.size() == 1 && (one_ || options_.watch)) {
      out = std::move(objects_.front());
    } else {
      out = json::object{{"apiVersion", "v1"},
                         {"kind", "List"},
                         {"metadata", json::object{{"resourceVersion", ""}}},
                         {"items", std::move(objects_)}};
    }
    objects_ = json::array();
    if (options_.output == "yaml") {
      std::cout << (std::exchange(documents_, true) ? "---\n" : "") << yaml_text(out) << std::flush;
    } else {
      std::cout << pretty_json(out) << std::flush;
    }
  }

  const GetOptions& options_;
  const bool several_;
  const bool as_table_;
  json::array columns_;
  const control::ResourceType* columns_of_ = nullptr;
  TableStyle style_;
  std::optional<TextTable> table_;
  bool head_due_ = false;
  size_t shown_ = 0;
  json::array objects_;
  bool one_ = true;  // all that was asked for are objects by name
  bool documents_ = false;
};

bool not_found(const Status& status) { return status.reason() == "NotFound"; }

Outcome watch(ApiClient& api, const Place& place, const GetOptions& options, Printer& printer,
              std::string version) {
  const Place collection = collection_of(place);
  while (true) {
    QueryParts query = query_of(options, place);
    query.emplace_back("watch", "true");
    query.emplace_back("allowWatchBookmarks", "true");
    if (!version.empty()) query.emplace_back("resourceVersion", version);
    Outcome bad;
    const Outcome ended = api.stream(
        collection.path(), query, printer.accept(), std::nullopt, [&](std::string_view line) {
          const auto event = parse_json(line);
          const json::object* fields = event ? event->if_object() : nullptr;
          if (fields == nullptr) return true;
          if (text_at(*fields, "type") == "ERROR") {
            const json::object* why = object_at(*fields, "object");
            bad = std::unexpected(status_of(410, why == nullptr ? json::value() : *why));
            return false;
          }
          const auto found = text_at(*fields, "object.metadata.resourceVersion");
          if (!found.empty()) version = found;
          printer.change(place, *fields);
          return true;
        });
    SLUICE_RETURN_IF_ERROR(bad);
    SLUICE_RETURN_IF_ERROR(ended);
  }
}

Outcome get(ApiClient& api, const GetOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto places,
                          places_of(api, options.api, options.targets, options.files,
                                    options.recursive, options.all_namespaces));
  bool several = false;
  for (const Place& place : places) several = several || place.type != places.front().type;
  if (options.watch && places.size() != 1) {
    return invalid("-w watches one kind or one object: name one");
  }
  Printer printer(options, several);
  Failures failures;
  std::string version;
  for (const Place& place : places) {
    auto answer = api.get(place.path(), query_of(options, place), printer.accept());
    if (answer && answer->body.is_object()) {
      version = printer.list(place, answer->body.get_object());
    } else if (!answer && !(options.ignore_not_found && not_found(answer.error()))) {
      failures.note(answer.error());
    }
  }
  if (options.watch) return watch(api, places.front(), options, printer, version);
  const Outcome done = failures.outcome();
  const bool somewhere = !options.all_namespaces && places.front().type->namespaced;
  if (done) printer.finish(somewhere ? api.address().ns : std::string());
  return done;
}

Outcome describe(ApiClient& api, const GetOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto named,
                          places_of(api, options.api, options.targets, options.files,
                                    options.recursive, options.all_namespaces));
  SLUICE_ASSIGN_OR_RETURN(const auto places,
                          expand_all(api, named, options.selector, options.field_selector));
  if (places.empty()) std::cerr << "No resources found.\n";
  Failures failures;
  bool first = true;
  for (const Place& place : places) {
    const auto text = describe_object(api, place);
    if (!text) {
      failures.note(text.error());
      continue;
    }
    std::cout << (std::exchange(first, false) ? "" : "\n\n") << *text << std::flush;
  }
  return failures.outcome();
}

}  // namespace

int run_get(const GetOptions& options) {
  return with_api(options.api, [&](ApiClient& api) { return get(api, options); });
}

int run_describe(const GetOptions& options) {
  return with_api(options.api, [&](ApiClient& api) { return describe(api, options); });
}

}  // namespace sluice::cli
