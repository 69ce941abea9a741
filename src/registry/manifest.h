// Manifest: what a cached name stands for. One JSON file per name in the cache.
//
//   {"version": 1, "name": "story", "source": "https://…", "revision": "…",
//    "files": [{"path": "story.gguf", "digest": "sha256:…", "bytes": 123}, …]}
//
// Values with no thread of their own. A parsed manifest is checked: its names and digests may be
// made into paths.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "registry/model_files.h"

namespace sluice::registry {

struct Manifest {
  std::string name = {};
  std::string source = {};    // for people: where it came from, without a query
  std::string revision = {};  // the commit, where the source has such
  std::vector<ModelFile> files = {};

  uint64_t bytes() const;
  // Of the listed files alone, so that two names of one model share a snapshot.
  std::string content_digest() const;
};

std::string manifest_text(const Manifest& manifest);
Result<Manifest> parse_manifest(std::string_view text);

}  // namespace sluice::registry
