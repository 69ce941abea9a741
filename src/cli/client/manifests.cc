#include "cli/client/manifests.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <utility>

#include "base/files.h"
#include "control/api_request.h"
#include "control/json_util.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;
using control::text_at;

constexpr size_t kMaxFileBytes = 32u << 20;
constexpr size_t kMaxDocuments = 10'000;

// A line "---" at the margin ends a document, wherever it stands (YAML 1.2 §9.1.2).
std::vector<std::string_view> split_documents(std::string_view text) {
  std::vector<std::string_view> out;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const size_t next = std::min(end + 1, text.size());
    if (line.starts_with("---") && (line.size() == 3 || line[3] == ' ' || line[3] == '\r')) {
      out.push_back(text.substr(begin, at - begin));
      begin = at + 3;
    }
    at = next;
    if (next == text.size()) break;
  }
  out.push_back(text.substr(begin));
  return out;
}

bool is_blank(std::string_view document) {
  while (!document.empty()) {
    const size_t end = document.find('\n');
    const std::string_view line = document.substr(0, end);
    const size_t first = line.find_first_not_of(" \t\r");
    if (first != std::string_view::npos && line[first] != '#') return false;
    document.remove_prefix(end == std::string_view::npos ? document.size() : end + 1);
  }
  return true;
}

Outcome add(const json::value& value, const std::string& place, std::vector<Manifest>& out) {
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return invalid(fmt::format("{}: expected an object with apiVersion and kind, found {}", place,
                               json_kind(value)));
  }
  const std::string_view kind = text_at(*object, "kind");
  const std::string_view version = text_at(*object, "apiVersion");
  if (kind.empty() || version.empty()) {
    return invalid(fmt::format("{}: {} is missing", place, kind.empty() ? "kind" : "apiVersion"));
  }
  if (const json::array* items = control::array_at(*object, "items");
      kind.ends_with("List") && items != nullptr) {
    for (size_t i = 0; i < items->size(); ++i) {
      SLUICE_RETURN_IF_ERROR(add((*items)[i], fmt::format("{}, items[{}]", place, i), out));
    }
    return {};
  }
  Manifest manifest{.place = place, .object = *object};
  manifest.type = control::find_kind(version, kind);
  manifest.name = text_at(*object, "metadata.name");
  manifest.ns = text_at(*object, "metadata.namespace");
  if (manifest.type == nullptr) {
    return fail(Code::kNotFound, fmt::format("{}: no matches for kind \"{}\" in version \"{}\"",
                                             place, kind, version));
  }
  if (manifest.name.empty()) return invalid(fmt::format("{}: metadata.name is missing", place));
  if (!manifest.type->namespaced) manifest.ns.clear();
  out.push_back(std::move(manifest));
  return {};
}

bool is_manifest(const fs::path& path) {
  const std::string ending = path.extension().string();
  return ending == ".yaml" || ending == ".yml" || ending == ".json";
}

Result<std::vector<fs::path>> files_of(const fs::path& folder, bool recursive) {
  std::vector<fs::path> out;
  std::error_code error;
  const auto take = [&](const fs::directory_entry& entry) {
    if (entry.is_regular_file(error) && is_manifest(entry.path())) out.push_back(entry.path());
  };
  if (recursive) {
    for (const auto& entry : fs::recursive_directory_iterator(folder, error)) take(entry);
  } else {
    for (const auto& entry : fs::directory_iterator(folder, error)) take(entry);
  }
  if (error) {
    return fail(Code::kUnavailable, fmt::format("{}: {}", folder.string(), error.message()));
  }
  if (out.empty()) {
    return fail(Code::kNotFound,
                fmt::format("{}: the folder holds no *.yaml, *.yml or *.json", folder.string()));
  }
  std::ranges::sort(out);
  return out;
}

Outcome add_file(const fs::path& path, std::vector<Manifest>& out) {
  SLUICE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxFileBytes));
  SLUICE_ASSIGN_OR_RETURN(std::vector<Manifest> found, read_manifests(text, path.string()));
  std::ranges::move(found, std::back_inserter(out));
  return {};
}

}  // namespace

Result<std::vector<Manifest>> read_manifests(std::string_view text, const std::string& file) {
  std::vector<Manifest> out;
  const auto documents = split_documents(text);
  if (documents.size() > kMaxDocuments) {
    return fail(Code::kTooLarge, fmt::format("{}: more than {} documents", file, kMaxDocuments));
  }
  for (size_t i = 0; i < documents.size(); ++i) {
    if (is_blank(documents[i])) continue;
    const std::string place =
        documents.size() == 1 ? file : fmt::format("{}, document {}", file, i + 1);
    auto value = control::parse_yaml_body(documents[i]);
    if (!value) return invalid(fmt::format("{}: {}", place, value.error().message));
    if (!value->is_null()) SLUICE_RETURN_IF_ERROR(add(*value, place, out));
  }
  return out;
}

Result<std::vector<Manifest>> load_manifests(const std::vector<std::string>& files,
                                             bool recursive) {
  std::vector<Manifest> out;
  for (const std::string& file : files) {
    std::error_code error;
    if (file == "-") {
      const std::string text(std::istreambuf_iterator<char>(std::cin), {});
      SLUICE_ASSIGN_OR_RETURN(std::vector<Manifest> found, read_manifests(text, "standard input"));
      std::ranges::move(found, std::back_inserter(out));
    } else if (fs::is_directory(file, error)) {
      SLUICE_ASSIGN_OR_RETURN(const auto paths, files_of(file, recursive));
      for (const fs::path& path : paths) SLUICE_RETURN_IF_ERROR(add_file(path, out));
    } else {
      SLUICE_RETURN_IF_ERROR(add_file(file, out));
    }
  }
  if (out.empty()) return invalid("no objects were given: -f names no manifest with an object");
  return out;
}

Result<std::string> namespace_of(const Manifest& manifest, const std::string& ns, bool demanded) {
  if (!manifest.type->namespaced) return std::string();
  if (manifest.ns.empty() || manifest.ns == ns) return ns;
  if (!demanded) return manifest.ns;
  return invalid(fmt::format("{}: the object is of the namespace \"{}\", and -n says \"{}\"",
                             manifest.place, manifest.ns, ns));
}

}  // namespace sluice::cli
