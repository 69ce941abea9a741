#include "endpoint/error_shape.h"

#include <string>

#include "api/anthropic_response.h"
#include "api/oip_response.h"
#include "api/openai_response.h"
#include "base/ids.h"
#include "endpoint/sinks.h"

namespace sluice::endpoint {
namespace {

enum class Shape { kOpenAi, kAnthropic, kPlain, kGenerate };

Shape shape_of(std::string_view path) {
  if (path == "/v1/messages" || path.starts_with("/v1/messages/")) return Shape::kAnthropic;
  if (path.starts_with("/v1/models/") &&
      (path.ends_with(":predict") || path.ends_with(":explain"))) {
    return Shape::kPlain;
  }
  if (path != "/v2" && !path.starts_with("/v2/")) return Shape::kOpenAi;
  const bool generates = path.ends_with("/generate") || path.ends_with("/generate_stream");
  return generates ? Shape::kGenerate : Shape::kPlain;
}

net::HttpResponse shaped(Shape shape, int status, std::string_view message) {
  if (shape == Shape::kAnthropic) {
    const std::string id = new_id("req_");
    net::HttpResponse response =
        json_response(api::anthropic_error_body(status, message, id), status);
    response.headers.emplace_back("request-id", id);
    return response;
  }
  // The specification of generate has 422 for what other routes answer with 400.
  if (shape == Shape::kGenerate && status == 400) status = 422;
  return json_response(api::oip_error_body(message), status);
}

}  // namespace

net::HttpResponse shaped_error(std::string_view path, const Status& status) {
  const Shape shape = shape_of(path);
  net::HttpResponse plain = error_response(status);
  if (shape == Shape::kOpenAi) return plain;
  net::HttpResponse response = shaped(shape, plain.status, status.message());
  for (auto& header : plain.headers) {
    if (header.first != "Content-Type") response.headers.push_back(std::move(header));
  }
  return response;
}

net::HttpResponse shaped_error_page(std::string_view path, int status, std::string_view message) {
  const Shape shape = shape_of(path);
  if (shape == Shape::kOpenAi) return json_response(api::error_body(status, message), status);
  return shaped(shape, status, message);
}

}  // namespace sluice::endpoint
