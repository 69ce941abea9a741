// A request of the API taken apart: what it is about, its query, its body, and the form of the
// answer that it wants. Pure functions on foreign text.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "control/api_error.h"
#include "control/resource_types.h"
#include "net/http.h"

namespace sluice::control {

// /api/v1/namespaces/NS/secrets/NAME, /apis/GROUP/VERSION/…
struct ApiPath {
  std::string group;
  std::string version;
  const ResourceType* type = nullptr;  // null: the group's own page
  std::string ns;
  std::string name;  // empty: the collection
  std::string subresource;
};
// Nothing when the path is none of an API group's.
std::optional<ApiPath> parse_api_path(std::string_view path);

class Query {
 public:
  explicit Query(std::string_view text);
  std::string_view get(std::string_view name) const;
  bool flag(std::string_view name) const;  // "true" or "1"
  // Nothing when absent; 400 when it is no number.
  ApiResult<std::optional<uint64_t>> number(std::string_view name) const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

// Media type without parameters, in lower case.
std::string media_type(std::string_view content_type);

// JSON, or YAML where the type says so or is absent.
ApiResult<json::value> parse_body(const net::HttpRequest& request);
ApiResult<json::value> parse_yaml_body(std::string_view text);

// What the Accept header asks for first, of what there is.
enum class Form { kObject, kTable, kMetadata };
ApiResult<Form> form_of(std::string_view accept);

}  // namespace sluice::control
