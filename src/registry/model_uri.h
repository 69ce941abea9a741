// What `sluice pull SOURCE` may name. Pure functions on text; nothing is opened.
//
//   /path, ../path, file:///path        a GGUF file or a Hugging Face folder of this machine
//   https://host/x.gguf                 one file (http:// only where it is allowed)
//   hf://owner/model[:revision][/file.gguf]   of the Hugging Face hub
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::registry {

enum class SourceKind { kLocal, kUrl, kHub };

struct ModelUri {
  SourceKind kind = SourceKind::kLocal;
  std::string path = {};        // kLocal: as given, or decoded from file:
  std::string url = {};         // kUrl
  std::string file = {};        // kUrl: the file's name; kHub: the file asked for, or empty
  std::string repository = {};  // kHub: "owner/model"
  std::string revision = {};    // kHub: "main" unless given
  std::string name = {};  // under which it is cached when none is given; may need --name if empty
};

enum class PlainHttp { kRefused, kAllowed };

Result<ModelUri> parse_model_uri(std::string_view text, PlainHttp plain_http);

}  // namespace sluice::registry
