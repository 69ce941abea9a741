#include "control/api_request.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <vector>

#include "control/limits.h"
#include "control/protobuf_body.h"
#include "net/syntax.h"
#include "plan/node.h"

namespace sluice::control {
namespace {

constexpr JsonLimits kBodyLimits{.max_bytes = 2 * limits::kMaxBodyBytes,
                                 .max_depth = limits::kMaxJsonDepth,
                                 .max_nodes = limits::kMaxJsonNodes};

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    if (path.front() == '/') path.remove_prefix(1);
    const size_t end = path.find('/');
    if (const std::string_view segment = path.substr(0, end); !segment.empty()) {
      segments.push_back(segment);
    }
    path.remove_prefix(end == std::string_view::npos ? path.size() : end);
  }
  return segments;
}

std::string decode_query(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && net::hex_digit(text[i + 1]) >= 0 &&
               net::hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(net::hex_digit(text[i + 1]) * 16 + net::hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// A plain scalar as YAML's core schema reads it.
json::value scalar_of(const plan::Node& node) {
  if (node.quoted) return json::value(node.text);
  const std::string_view text = node.text;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const char* begin = text.data();
  const char* end = begin + text.size();
  const char* digits = text.starts_with('+') ? begin + 1 : begin;
  int64_t integer = 0;
  if (const auto [at, error] = std::from_chars(digits, end, integer);
      error == std::errc() && at == end) {
    return integer;
  }
  // "nan", "infinity" and hexadecimal floats are words here.
  if (text.find_first_not_of("+-0123456789.eE") == std::string_view::npos) {
    double number = 0;
    if (const auto [at, error] = std::from_chars(digits, end, number);
        error == std::errc() && at == end && std::isfinite(number)) {
      return number;
    }
  }
  return json::value(node.text);
}

json::value value_of(const plan::Node& node) {
  switch (node.kind) {
    case plan::Node::Kind::kNull:
      return nullptr;
    case plan::Node::Kind::kScalar:
      return scalar_of(node);
    case plan::Node::Kind::kList: {
      json::array items;
      for (const plan::Node& item : node.items) items.push_back(value_of(item));
      return items;
    }
    case plan::Node::Kind::kMap:
      break;
  }
  json::object fields;
  for (const auto& [key, value] : node.fields) fields[key] = value_of(value);
  return fields;
}

std::string_view parameter(std::string_view clause, std::string_view name) {
  while (true) {
    const size_t mark = clause.find(';');
    if (mark == std::string_view::npos) return {};
    clause = net::trim_blanks(clause.substr(mark + 1));
    const size_t equals = clause.find('=');
    if (equals == std::string_view::npos || clause.substr(0, equals) != name) continue;
    const std::string_view value = clause.substr(equals + 1);
    return net::trim_blanks(value.substr(0, value.find(';')));
  }
}

}  // namespace

std::optional<ApiPath> parse_api_path(std::string_view path) {
  const std::vector<std::string_view> parts = segments_of(path);
  ApiPath out;
  size_t at = 0;
  if (parts.size() >= 2 && parts[0] == "api") {
    out.version = parts[1];
    at = 2;
  } else if (parts.size() >= 3 && parts[0] == "apis") {
    out.group = parts[1];
    out.version = parts[2];
    at = 3;
  } else {
    return std::nullopt;
  }
  const auto left = [&] { return parts.size() - at; };
  if (left() == 0) return out;
  // "namespaces/NS/…" is a place, unless it ends there or goes on with a subresource of it.
  if (parts[at] == "namespaces" && left() >= 3 && parts[at + 2] != "status" &&
      parts[at + 2] != "finalize") {
    out.ns = parts[at + 1];
    at += 2;
  }
  out.type = find_resource(out.group, out.version, parts[at]);
  if (out.type == nullptr || left() > 3) return std::nullopt;
  if (!out.ns.empty() && !out.type->namespaced) return std::nullopt;
  if (left() >= 2) out.name = parts[at + 1];
  if (left() == 3) out.subresource = parts[at + 2];
  return out;
}

Query::Query(std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find('&');
    const std::string_view pair = text.substr(0, end);
    const size_t equals = pair.find('=');
    if (!pair.empty()) {
      values_.emplace(
          decode_query(pair.substr(0, equals)),
          equals == std::string_view::npos ? std::string() : decode_query(pair.substr(equals + 1)));
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

std::string_view Query::get(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::string_view() : std::string_view(found->second);
}

bool Query::flag(std::string_view name) const {
  const std::string_view value = get(name);
  return value == "true" || value == "1";
}

ApiResult<std::optional<uint64_t>> Query::number(std::string_view name) const {
  const std::string_view value = get(name);
  if (value.empty()) return std::nullopt;
  const auto number = net::parse_decimal(value);
  if (!number) {
    return bad_request(
        fmt::format("{}: expected a number, found \"{}\"", name, value.substr(0, 64)));
  }
  return number;
}

std::string media_type(std::string_view content_type) {
  return net::to_lower(net::trim_blanks(content_type.substr(0, content_type.find(';'))));
}

ApiResult<json::value> parse_yaml_body(std::string_view text) {
  const plan::NodeLimits bounds{.max_bytes = limits::kMaxBodyBytes,
                                .max_nodes = limits::kMaxJsonNodes,
                                .max_depth = limits::kMaxJsonDepth,
                                .max_text_bytes = 2 * limits::kMaxBodyBytes};
  auto node = plan::parse_yaml(text, "body", bounds);
  if (!node) return bad_request(node.error().message());
  // Read again as JSON, so that broken UTF-8 and what passes a limit is refused by one reader.
  auto checked = parse_json(json::serialize(value_of(*node)), kBodyLimits);
  if (!checked) return std::unexpected(ApiError(checked.error()));
  return *std::move(checked);
}

ApiResult<json::value> parse_body(const net::HttpRequest& request) {
  const std::string type = media_type(request.header("content-type"));
  const std::string_view text = request.body;
  const bool either = type == "application/apply-patch+yaml" && text.starts_with('{');
  if (either || type.empty() || type == "application/json" || type.ends_with("+json")) {
    auto parsed = parse_json(text, kBodyLimits);
    if (parsed) return *std::move(parsed);
    if (!either) return std::unexpected(ApiError(parsed.error()));
  }
  if (type == "application/yaml" || type == "application/apply-patch+yaml") {
    return parse_yaml_body(text);
  }
  if (type == kProtobufType) return parse_protobuf_body(text);
  return std::unexpected(
      ApiError(415, "UnsupportedMediaType",
               fmt::format("the content type \"{}\" is not supported: send application/json or "
                           "application/yaml",
                           type.substr(0, 100))));
}

ApiResult<Form> form_of(std::string_view accept) {
  if (accept.empty()) return Form::kObject;
  std::string_view rest = accept;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view clause = net::trim_blanks(rest.substr(0, comma));
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    const std::string type = media_type(clause);
    if (type != "application/json" && type != "*/*" && type != "application/*") continue;
    const std::string_view as = parameter(clause, "as");
    if (as.empty()) return Form::kObject;
    if (parameter(clause, "v") != "v1") continue;
    if (as == "Table") return Form::kTable;
    if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") {
      return Form::kMetadata;
    }
  }
  return std::unexpected(
      ApiError(406, "NotAcceptable",
               "only application/json is served, as an object, a Table or PartialObjectMetadata"));
}

}  // namespace sluice::control
