#include "control/listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "control/json_util.h"
#include "control/limits.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

struct Page {
  std::vector<ObjectPtr> objects;
  uint64_t version = 0;
  std::string next;  // token; empty at the end
  std::optional<size_t> remaining;
};

ApiOutcome check_version(const ObjectStore& store, const Query& query) {
  SLUICE_ASSIGN_OR_RETURN(const auto wanted, query.number("resourceVersion"));
  const std::string_view match = query.get("resourceVersionMatch");
  const uint64_t present = store.version();
  if (!match.empty() && match != "Exact" && match != "NotOlderThan") {
    return bad_request("resourceVersionMatch: expected Exact or NotOlderThan");
  }
  if (!wanted) return {};
  if (*wanted > present) {
    ApiError error(504, "Timeout",
                   fmt::format("Too large resource version: {}, current: {}", *wanted, present));
    error.causes = {{"ResourceVersionTooLarge", "Too large resource version", ""}};
    error.retry_after_seconds = 1;
    return std::unexpected(std::move(error));
  }
  if (match == "Exact" && *wanted != present) {
    return expired(fmt::format("the list of version {} is no longer kept, the present one is {}",
                               *wanted, present));
  }
  return {};
}

ApiResult<Page> page_of(const ObjectStore& store, const ApiPath& path, const Query& query,
                        const Selector& selector) {
  SLUICE_ASSIGN_OR_RETURN(const auto stated, query.number("limit"));
  const size_t limit = std::min<size_t>(stated.value_or(0), limits::kMaxListPage);
  Page page;
  ObjectStore::Listing all = store.list(*path.type, path.ns);
  page.version = all.version;
  PageToken from;
  if (!query.get("continue").empty()) {
    SLUICE_ASSIGN_OR_RETURN(from, decode_token(query.get("continue")));
    // What changed since the first page is told to a watch that begins at the list's version.
    if (from.version < store.oldest_version()) {
      return expired(
          "The provided continue parameter is too old to display a consistent list result: list "
          "anew without it");
    }
    page.version = from.version;
    const auto begin = std::ranges::find_if(all.objects, [&](const ObjectPtr& object) {
      return std::tie(object->ns, object->name) > std::tie(from.ns, from.name);
    });
    all.objects.erase(all.objects.begin(), begin);
  }
  for (size_t i = 0; i < all.objects.size(); ++i) {
    if (!selector.all() && !selector.matches(all.objects[i]->body)) continue;
    if (limit != 0 && page.objects.size() == limit) {
      page.next = encode_token({page.version, page.objects.back()->ns, page.objects.back()->name});
      if (selector.all()) page.remaining = all.objects.size() - i;
      break;
    }
    page.objects.push_back(all.objects[i]);
  }
  return page;
}

json::object list_metadata(const Page& page) {
  json::object metadata{{"resourceVersion", std::to_string(page.version)}};
  if (!page.next.empty()) metadata["continue"] = page.next;
  if (page.remaining) metadata["remainingItemCount"] = *page.remaining;
  return metadata;
}

// The objects' JSON is at hand: it is put together, not made again.
std::string object_list(const ResourceType& type, const Page& page) {
  std::string text =
      fmt::format("{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
                  type.kind, type.api_version(), json::serialize(list_metadata(page)));
  size_t bytes = text.size() + 2;
  for (const ObjectPtr& object : page.objects) bytes += object->text->size() + 1;
  text.reserve(bytes);
  bool first = true;
  for (const ObjectPtr& object : page.objects) {
    if (!first) text += ',';
    first = false;
    text += *object->text;
  }
  return text + "]}";
}

std::string metadata_list(const Page& page) {
  json::array items;
  for (const ObjectPtr& object : page.objects) items.push_back(metadata_only(object->body));
  return json::serialize(json::object{{"kind", "PartialObjectMetadataList"},
                                      {"apiVersion", "meta.k8s.io/v1"},
                                      {"metadata", list_metadata(page)},
                                      {"items", std::move(items)}});
}

std::string table_list(const ResourceType& type, const Page& page, RowObject include, double now) {
  json::object table = empty_table(type);
  table["metadata"] = list_metadata(page);
  json::array rows;
  for (const ObjectPtr& object : page.objects) {
    rows.push_back(table_row(type, object->body, include, now));
  }
  table["rows"] = std::move(rows);
  return json::serialize(table);
}

}  // namespace

std::string encode_token(const PageToken& token) {
  return base64url_encode(
      json::serialize(json::object{{"v", token.version}, {"ns", token.ns}, {"name", token.name}}));
}

ApiResult<PageToken> decode_token(std::string_view text) {
  const auto bytes = base64url_decode(text);
  const auto parsed = bytes ? parse_json(*bytes, {.max_bytes = 4096, .max_depth = 4})
                            : Result<json::value>(invalid("no base64"));
  const auto* fields = parsed ? parsed->if_object() : nullptr;
  const auto version = fields == nullptr ? std::nullopt : integer_at(*fields, "v");
  if (!version || *version < 0) {
    return bad_request("continue: this token was not given by this server");
  }
  return PageToken{static_cast<uint64_t>(*version), std::string(text_at(*fields, "ns")),
                   std::string(text_at(*fields, "name"))};
}

ApiResult<RowObject> row_object_of(const Query& query) {
  const std::string_view include = query.get("includeObject");
  if (include.empty() || include == "Metadata") return RowObject::kMetadata;
  if (include == "None") return RowObject::kNone;
  if (include == "Object") return RowObject::kObject;
  return bad_request("includeObject: expected None, Metadata or Object");
}

ApiResult<net::HttpResponse> list_objects(const ObjectStore& store, const ApiPath& path,
                                          const Query& query, Form form, double now) {
  SLUICE_RETURN_IF_ERROR(check_version(store, query));
  SLUICE_ASSIGN_OR_RETURN(const Selector selector,
                          Selector::parse(query.get("labelSelector"), query.get("fieldSelector")));
  SLUICE_ASSIGN_OR_RETURN(const Page page, page_of(store, path, query, selector));
  switch (form) {
    case Form::kObject:
      return json_answer(200, object_list(*path.type, page));
    case Form::kMetadata:
      return json_answer(200, metadata_list(page));
    case Form::kTable:
      break;
  }
  SLUICE_ASSIGN_OR_RETURN(const RowObject include, row_object_of(query));
  return json_answer(200, table_list(*path.type, page, include, now));
}

}  // namespace sluice::control
