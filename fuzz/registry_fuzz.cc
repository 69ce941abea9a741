// Texts from outside that lead to paths: sources, the hub's listings, manifests. Whatever is let
// through must stay inside the folder it is joined to.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "registry/hub.h"
#include "registry/manifest.h"
#include "registry/model_files.h"
#include "registry/model_uri.h"

namespace {

using namespace sluice::registry;

void check_inside(const std::string& path) {
  const std::filesystem::path joined = (std::filesystem::path("/r") / path).lexically_normal();
  const bool inside = joined.string().starts_with("/r/") && joined.string().size() > 3;
  if (!inside || path.find('\0') != std::string::npos) std::abort();
}

void try_source(std::string_view text) {
  const auto uri = parse_model_uri(text, PlainHttp::kAllowed);
  if (!uri) return;
  if (!uri->file.empty()) check_inside(uri->file);
  if (uri->kind == SourceKind::kHub) check_inside(uri->repository);
}

void try_listing(std::string_view text) {
  const auto files = parse_hub_tree(text, "");
  if (!files) return;
  for (const char* asked : {"", "m.gguf", "m-00001-of-00002.gguf"}) {
    const auto chosen = choose_files(*files, asked);
    if (!chosen) continue;
    for (const ModelFile& file : *chosen) {
      check_inside(file.path);
      if (file.bytes > kMaxModelFileBytes) std::abort();
    }
  }
}

void try_manifest(std::string_view text) {
  const auto manifest = parse_manifest(text);
  if (!manifest) return;
  check_inside(manifest->name);
  for (const ModelFile& file : manifest->files) check_inside(file.path);
  const auto again = parse_manifest(manifest_text(*manifest));
  if (!again || again->content_digest() != manifest->content_digest()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try_source(text);
  try_listing(text);
  try_manifest(text);
  next_page(text);
  return 0;
}
