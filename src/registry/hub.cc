#include "registry/hub.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "net/url.h"
#include "registry/digest.h"
#include "registry/names.h"

namespace sluice::registry {
namespace {

constexpr size_t kMaxEntries = 20'000;
constexpr size_t kMaxPages = 64;
constexpr JsonLimits kListingLimits = {.max_bytes = 16u << 20, .max_depth = 32};

// RFC 3986: everything but unreserved characters and the slash.
std::string percent_encoded(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != path.npos;
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Status hub_failure(int status, const ModelUri& uri) {
  const std::string what = fmt::format("{} at revision {}", uri.repository, uri.revision);
  if (status == 401 || status == 403) {
    return {status == 401 ? Code::kUnauthenticated : Code::kPermissionDenied,
            fmt::format("the hub answered {} for {}: it does not exist or needs a token; set "
                        "HF_TOKEN to one that may read it, and accept the model's terms there",
                        status, what)};
  }
  if (status == 404) {
    return {Code::kNotFound, fmt::format("the hub knows no {}; check owner, model and revision "
                                         "(private models need HF_TOKEN)",
                                         what)};
  }
  return {Code::kUnavailable, fmt::format("the hub answered {} for {}", status, what)};
}

Result<net::HttpResponse> ask(const std::string& url, const ModelUri& uri,
                              const FetchDocument& fetch) {
  SLUICE_ASSIGN_OR_RETURN(net::HttpResponse answer, fetch(url));
  if (answer.status != 200) return std::unexpected(hub_failure(answer.status, uri));
  return answer;
}

bool is_commit(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Result<std::string> commit_of(const HubOptions& hub, const ModelUri& uri,
                              const FetchDocument& fetch) {
  const std::string url =
      fmt::format("{}/api/models/{}/revision/{}", hub.endpoint, uri.repository, uri.revision);
  SLUICE_ASSIGN_OR_RETURN(const net::HttpResponse answer, ask(url, uri, fetch));
  const auto parsed = parse_json(answer.body, kListingLimits);
  if (!parsed) return std::unexpected(parsed.error().at("the hub's answer"));
  const json::value* sha = parsed->is_object() ? parsed->get_object().if_contains("sha") : nullptr;
  if (sha == nullptr || !sha->is_string() || !is_commit(sha->get_string())) {
    return fail(Code::kDataLoss,
                "the hub's answer names no commit: \"sha\" is expected to be a "
                "string of 40 hex digits");
  }
  return std::string(sha->get_string());
}

Result<uint64_t> size_field(const json::object& object, std::string_view path) {
  const json::value* size = object.if_contains("size");
  if (size == nullptr || !size->is_int64() || size->get_int64() < 0) {
    return invalid(fmt::format("\"size\" of \"{}\": a size is expected", shown(path)));
  }
  return static_cast<uint64_t>(size->get_int64());
}

// Nothing for what is no file.
Result<std::vector<ModelFile>> parse_entry(const json::value& value, std::string_view folder) {
  const auto text = [&](std::string_view key) -> std::string_view {
    const json::value* found = value.get_object().if_contains(key);
    return found != nullptr && found->is_string() ? std::string_view(found->get_string()) : "";
  };
  if (!value.is_object()) {
    return invalid(fmt::format("an entry is {}; an object is expected", json_kind(value)));
  }
  if (text("type") != "file") return std::vector<ModelFile>();
  const std::string_view path = text("path");
  const bool inside = path.starts_with(folder) && path.size() > folder.size() &&
                      path.find('/', folder.size()) == std::string_view::npos;
  if (!inside) {
    return invalid(
        fmt::format("the file \"{}\" does not lie in the folder asked for", shown(path)));
  }
  ModelFile file{.path = std::string(path)};
  SLUICE_ASSIGN_OR_RETURN(file.bytes, size_field(value.get_object(), path));
  const json::value* lfs = value.get_object().if_contains("lfs");
  if (lfs != nullptr && lfs->is_object()) {
    const json::value* oid = lfs->get_object().if_contains("oid");
    if (oid == nullptr || !oid->is_string()) {
      return invalid(fmt::format("\"lfs\" of \"{}\" has no \"oid\"", shown(path)));
    }
    SLUICE_ASSIGN_OR_RETURN(file.digest, parse_digest(oid->get_string()));
    SLUICE_ASSIGN_OR_RETURN(file.bytes, size_field(lfs->get_object(), path));
  }
  return std::vector<ModelFile>{std::move(file)};
}

}  // namespace

Outcome check_hub(const HubOptions& hub) {
  const auto url = net::parse_url(hub.endpoint);
  if (!url) return std::unexpected(url.error().at("HF_ENDPOINT"));
  if (url->target.find('?') != std::string::npos) {
    return invalid("HF_ENDPOINT: a URL without a query is expected");
  }
  if (url->scheme == "http" && hub.plain_http == PlainHttp::kRefused) {
    return invalid("HF_ENDPOINT: https is expected, or --allow-http");
  }
  return {};
}

net::Headers hub_headers(const HubOptions& hub) {
  if (hub.token.empty()) return {};
  return {{"Authorization", "Bearer " + hub.token}};
}

std::string hub_file_url(const HubOptions& hub, const ModelUri& uri, const std::string& commit,
                         std::string_view path) {
  return fmt::format("{}/{}/resolve/{}/{}", hub.endpoint, uri.repository, commit,
                     percent_encoded(path));
}

Result<std::vector<ModelFile>> parse_hub_tree(std::string_view text, std::string_view folder) {
  SLUICE_ASSIGN_OR_RETURN(const json::value root, parse_json(text, kListingLimits));
  if (!root.is_array()) {
    return invalid(fmt::format("an array of files is expected; found {}", json_kind(root)));
  }
  std::vector<ModelFile> files;
  for (const json::value& value : root.get_array()) {
    SLUICE_ASSIGN_OR_RETURN(auto entry, parse_entry(value, folder));
    for (ModelFile& file : entry) files.push_back(std::move(file));
  }
  return files;
}

std::string next_page(std::string_view link) {
  const size_t end = link.find(">; rel=\"next\"");
  if (end == std::string_view::npos) return "";
  const size_t begin = link.rfind('<', end);
  if (begin == std::string_view::npos) return "";
  return std::string(link.substr(begin + 1, end - begin - 1));
}

Result<HubListing> list_hub_files(const HubOptions& hub, const ModelUri& uri,
                                  const FetchDocument& fetch) {
  HubListing listing;
  SLUICE_ASSIGN_OR_RETURN(listing.commit, commit_of(hub, uri, fetch));
  const size_t slash = uri.file.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : uri.file.substr(0, slash + 1);
  std::string url =
      fmt::format("{}/api/models/{}/tree/{}", hub.endpoint, uri.repository, listing.commit);
  if (!folder.empty()) url += "/" + percent_encoded(folder.substr(0, slash));
  for (size_t page = 0; !url.empty(); ++page) {
    if (page == kMaxPages || listing.files.size() > kMaxEntries) {
      return fail(Code::kTooLarge,
                  fmt::format("{} lists more than {} files", uri.repository, kMaxEntries));
    }
    // The token goes along, so the next page must be of the same host.
    if (!url.starts_with(hub.endpoint + "/")) {
      return fail(Code::kPermissionDenied, "the hub's listing goes on at another host");
    }
    SLUICE_ASSIGN_OR_RETURN(const net::HttpResponse answer, ask(url, uri, fetch));
    auto files = parse_hub_tree(answer.body, folder);
    if (!files) return std::unexpected(files.error().at("the hub's listing"));
    std::ranges::move(*files, std::back_inserter(listing.files));
    url = next_page(net::find_header(answer.headers, "link"));
  }
  return listing;
}

}  // namespace sluice::registry
