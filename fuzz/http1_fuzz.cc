// The HTTP/1.1 request parser: no crash, no endless loop, and the same requests and faults however
// the bytes are split. The first byte of the input seeds the split.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/rng.h"
#include "net/request_parser.h"

namespace {

using sluice::net::RequestParser;

constexpr sluice::net::RequestLimits kLimits{
    .body_bytes = 4096, .header_bytes = 2048, .headers = 16, .target_bytes = 256};

// All that came out, as one text.
std::string parse(std::string_view bytes, sluice::Rng* split) {
  RequestParser parser(kLimits);
  std::string seen;
  while (!bytes.empty()) {
    const size_t size = split != nullptr ? 1 + split->below(9) : bytes.size();
    std::string_view piece = bytes.substr(0, size);
    bytes.remove_prefix(piece.size());
    while (!piece.empty()) {
      const size_t taken = parser.feed(piece);
      piece.remove_prefix(taken);
      if (parser.state() == RequestParser::State::kHeadDone) parser.accept_body();
      if (parser.state() == RequestParser::State::kDone) {
        const auto& request = parser.request();
        if (request.body.size() > kLimits.body_bytes) std::abort();
        if (request.path.empty() || (request.path[0] != '/' && request.path != "*")) std::abort();
        seen += request.method + '\n' + request.path + '\n' + request.query + '\n';
        for (const auto& [name, value] : request.headers) seen += name + ':' + value + '\n';
        seen += request.body + '\n' + (parser.keep_alive() ? '+' : '-');
        parser.reset();
      } else if (parser.state() == RequestParser::State::kFault) {
        return seen + std::to_string(parser.fault().status) + std::string(parser.fault().reason) +
               parser.fault().message;
      } else if (taken == 0) {
        std::abort();
      }
    }
  }
  return seen + (parser.begun() ? "unfinished" : "");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  sluice::Rng split(data[0]);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (parse(bytes, nullptr) != parse(bytes, &split)) std::abort();
  return 0;
}
