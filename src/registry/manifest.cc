#include "registry/manifest.h"

#include <fmt/format.h>

#include <set>

#include "base/json.h"
#include "registry/digest.h"
#include "registry/names.h"

namespace sluice::registry {
namespace {

constexpr int kVersion = 1;

Result<std::string> text_field(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) {
    return invalid(fmt::format("\"{}\": a string is expected; found {}", key,
                               value == nullptr ? "nothing" : json_kind(*value)));
  }
  return std::string(value->get_string());
}

Result<ModelFile> parse_file(const json::value& value) {
  if (!value.is_object()) {
    return invalid(fmt::format("\"files\": objects are expected; found {}", json_kind(value)));
  }
  const json::object& object = value.get_object();
  ModelFile file;
  SLUICE_ASSIGN_OR_RETURN(file.path, text_field(object, "path"));
  SLUICE_RETURN_IF_ERROR(check_file_path(file.path));
  SLUICE_ASSIGN_OR_RETURN(const std::string digest, text_field(object, "digest"));
  SLUICE_ASSIGN_OR_RETURN(file.digest, parse_digest(digest));
  const json::value* bytes = object.if_contains("bytes");
  if (bytes == nullptr || !bytes->is_int64() || bytes->get_int64() < 0 ||
      static_cast<uint64_t>(bytes->get_int64()) > kMaxModelFileBytes) {
    return invalid(fmt::format("\"bytes\" of {}: a size is expected", shown(file.path)));
  }
  file.bytes = static_cast<uint64_t>(bytes->get_int64());
  return file;
}

}  // namespace

uint64_t Manifest::bytes() const {
  uint64_t sum = 0;
  for (const ModelFile& file : files) sum += file.bytes;
  return sum;
}

std::string Manifest::content_digest() const {
  std::string listing;
  for (const ModelFile& file : files) listing += file.digest + " " + file.path + "\n";
  return sha256_text(listing);
}

std::string manifest_text(const Manifest& manifest) {
  json::array files;
  for (const ModelFile& file : manifest.files) {
    files.push_back({{"path", file.path}, {"digest", file.digest}, {"bytes", file.bytes}});
  }
  return to_json(json::object{{"version", kVersion},
                              {"name", manifest.name},
                              {"source", manifest.source},
                              {"revision", manifest.revision},
                              {"files", std::move(files)}}) +
         "\n";
}

Result<Manifest> parse_manifest(std::string_view text) {
  SLUICE_ASSIGN_OR_RETURN(const json::value root, parse_json(text, {.max_depth = 8}));
  if (!root.is_object()) {
    return invalid(fmt::format("an object is expected; found {}", json_kind(root)));
  }
  const json::object& object = root.get_object();
  const json::value* version = object.if_contains("version");
  if (version == nullptr || *version != json::value(kVersion)) {
    return invalid(fmt::format("\"version\": {} is expected; pull the model again", kVersion));
  }
  Manifest manifest;
  SLUICE_ASSIGN_OR_RETURN(manifest.name, text_field(object, "name"));
  SLUICE_RETURN_IF_ERROR(check_model_name(manifest.name));
  SLUICE_ASSIGN_OR_RETURN(manifest.source, text_field(object, "source"));
  SLUICE_ASSIGN_OR_RETURN(manifest.revision, text_field(object, "revision"));
  const json::value* files = object.if_contains("files");
  if (files == nullptr || !files->is_array() || files->get_array().empty() ||
      files->get_array().size() > kMaxModelFiles) {
    return invalid(fmt::format("\"files\": 1 to {} files are expected", kMaxModelFiles));
  }
  std::set<std::string> seen;
  for (const json::value& value : files->get_array()) {
    SLUICE_ASSIGN_OR_RETURN(ModelFile file, parse_file(value));
    if (!seen.insert(file.path).second) {
      return invalid(fmt::format("\"files\": {} is listed twice", shown(file.path)));
    }
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

}  // namespace sluice::registry
