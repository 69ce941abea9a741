#include "registry/model_uri.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "net/url.h"
#include "registry/names.h"

namespace sluice::registry {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGguf = ".gguf";

std::optional<int> hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// Decodes once. NUL and an escaped slash are refused: they mean different things to different
// readers.
Result<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto high = i + 2 < text.size() ? hex_value(text[i + 1]) : std::nullopt;
    const auto low = high ? hex_value(text[i + 2]) : std::nullopt;
    if (!low) return invalid(fmt::format("\"{}\" has a % without two hex digits", shown(text)));
    const char c = static_cast<char>(*high * 16 + *low);
    if (c == '\0' || c == '/') {
      return invalid(fmt::format("\"{}\" holds an escaped NUL or slash", shown(text)));
    }
    out += c;
    i += 2;
  }
  return out;
}

bool climbs(std::string_view path) {
  for (const fs::path& part : fs::path(path)) {
    if (part == "..") return true;
  }
  return false;
}

std::string stem(std::string_view file) {
  return std::string(file.ends_with(kGguf) ? file.substr(0, file.size() - kGguf.size()) : file);
}

Result<ModelUri> local_source(std::string path) {
  fs::path whole = fs::path(path).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  const std::string last = whole.filename() == "." || whole.filename() == ".."
                               ? std::string()
                               : stem(whole.filename().string());
  ModelUri uri{.kind = SourceKind::kLocal, .path = std::move(path)};
  if (check_model_name(last)) uri.name = last;
  return uri;
}

Result<ModelUri> file_uri(std::string_view rest) {
  for (const std::string_view host : {"//localhost/", "///"}) {
    if (!rest.starts_with(host)) continue;
    rest.remove_prefix(host.size() - 1);
    SLUICE_ASSIGN_OR_RETURN(std::string path, percent_decoded(rest));
    if (climbs(path)) {
      return invalid(fmt::format("\"{}\": a file: URI may not hold ..", shown(path)), "source");
    }
    return local_source(std::move(path));
  }
  return invalid("a file URI is expected as file:///path", "source");
}

Result<ModelUri> web_source(std::string_view text, PlainHttp plain_http) {
  SLUICE_ASSIGN_OR_RETURN(const net::Url url, net::parse_url(text));
  if (url.scheme == "http" && plain_http == PlainHttp::kRefused) {
    return invalid("http is neither secret nor safe from forgery: use https, or --allow-http",
                   "source");
  }
  const std::string_view path = std::string_view(url.target).substr(0, url.target.find('?'));
  SLUICE_ASSIGN_OR_RETURN(const std::string file,
                          percent_decoded(path.substr(path.rfind('/') + 1)));
  if (!file.ends_with(kGguf) || file.size() == kGguf.size()) {
    return invalid(fmt::format("a URL must end in the name of a .gguf file; found \"{}\". A model "
                               "of several files is pulled from a folder or by hf://",
                               shown(file)),
                   "source");
  }
  SLUICE_RETURN_IF_ERROR(check_file_path(file));
  ModelUri uri{.kind = SourceKind::kUrl, .url = std::string(text), .file = file};
  if (check_model_name(stem(file))) uri.name = stem(file);
  return uri;
}

Result<ModelUri> hub_source(std::string_view rest) {
  const auto malformed = [&] {
    return invalid(
        fmt::format("expected hf://owner/model[:revision][/file.gguf]; found \"hf://{}\"",
                    shown(rest)),
        "source");
  };
  const size_t owner_end = rest.find('/');
  if (owner_end == std::string_view::npos) return malformed();
  const size_t model_end = std::min(rest.find('/', owner_end + 1), rest.size());
  const std::string_view model = rest.substr(owner_end + 1, model_end - owner_end - 1);
  const size_t colon = std::min(model.find(':'), model.size());
  ModelUri uri{.kind = SourceKind::kHub};
  uri.repository = fmt::format("{}/{}", rest.substr(0, owner_end), model.substr(0, colon));
  uri.revision = colon < model.size() ? std::string(model.substr(colon + 1)) : "main";
  uri.file = model_end < rest.size() ? std::string(rest.substr(model_end + 1)) : "";
  const bool plain = check_model_name(uri.repository) && check_model_name(uri.revision) &&
                     uri.repository.find(':') == std::string::npos &&
                     uri.revision.find(':') == std::string::npos;
  if (!plain) return malformed();
  if (model_end < rest.size()) {
    SLUICE_RETURN_IF_ERROR(check_file_path(uri.file));
    if (!uri.file.ends_with(kGguf)) {
      return invalid(fmt::format("of a repository a single .gguf file can be pulled, or all that "
                                 "the model needs; \"{}\" is neither",
                                 shown(uri.file)),
                     "source");
    }
  }
  if (check_model_name(rest)) uri.name = rest;
  return uri;
}

}  // namespace

Result<ModelUri> parse_model_uri(std::string_view text, PlainHttp plain_http) {
  if (text.empty() || text.find('\0') != std::string_view::npos) {
    return invalid("a source is expected: a path, https://…, hf://…", "source");
  }
  if (text.starts_with("hf://")) return hub_source(text.substr(5));
  if (text.starts_with("file:")) return file_uri(text.substr(5));
  const size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return local_source(std::string(text));
  const std::string_view scheme = text.substr(0, scheme_end);
  if (scheme == "http" || scheme == "https") return web_source(text, plain_http);
  return invalid(fmt::format("the scheme of \"{}\" is not known: expected file, https or hf",
                             shown(text.substr(0, text.find('?')))),
                 "source");
}

}  // namespace sluice::registry
