// The Hugging Face hub's HTTP API: which files a revision has, and where they are fetched.
//
// A revision is turned into its commit first, and listing and files are those of the commit, so
// that a model that is replaced meanwhile is not mixed with its successor.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "net/download.h"
#include "registry/model_files.h"
#include "registry/model_uri.h"

namespace sluice::registry {

inline constexpr std::string_view kDefaultHubEndpoint = "https://huggingface.co";

struct HubOptions {
  std::string endpoint = std::string(kDefaultHubEndpoint);
  std::string token;  // sent to the endpoint's host only, not to where that redirects
  PlainHttp plain_http = PlainHttp::kRefused;
};

// Fetches a document; every status is an answer.
using FetchDocument = std::function<Result<net::HttpResponse>(const std::string& url)>;

struct HubListing {
  std::string commit;
  std::vector<ModelFile> files;  // of the folder in which `uri.file` lies, else of the root
};

// Refuses an endpoint that is no https URL (or http, where allowed).
Outcome check_hub(const HubOptions& hub);

// The headers of every request to the hub.
net::Headers hub_headers(const HubOptions& hub);

Result<HubListing> list_hub_files(const HubOptions& hub, const ModelUri& uri,
                                  const FetchDocument& fetch);

std::string hub_file_url(const HubOptions& hub, const ModelUri& uri, const std::string& commit,
                         std::string_view path);

// One page of a folder's listing: a JSON array of {"type", "path", "size", "lfs": {"oid"}}.
// `folder` is empty or ends in '/'; an entry that lies elsewhere is refused.
Result<std::vector<ModelFile>> parse_hub_tree(std::string_view text, std::string_view folder);

// The URL of rel="next" in a Link field, or empty.
std::string next_page(std::string_view link);

}  // namespace sluice::registry
