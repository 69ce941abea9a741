// ApiClient: requests to a Kubernetes-shaped API, one after another.
//
// One owner, one thread. Errors are Status values whose reason() is the API's own word (NotFound,
// Conflict, …) and whose message reads like kubectl's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/status.h"
#include "cli/client/kube_config.h"
#include "control/resource_types.h"

namespace sluice::net {
class HttpClient;
class TlsContext;
}  // namespace sluice::net

namespace sluice::cli {

// Parts of a query; values are escaped.
using QueryParts = std::vector<std::pair<std::string, std::string>>;

struct ApiAnswer {
  int status = 0;
  json::value body;
};

class ApiClient {
 public:
  static Result<std::unique_ptr<ApiClient>> open(const ApiOptions& options);
  ~ApiClient();

  const ApiAddress& address() const { return address_; }

  // Of an object, or of the collection when `name` is empty; of all namespaces when `ns` is empty.
  static std::string path_of(const control::ResourceType& type, std::string_view ns,
                             std::string_view name, std::string_view subresource = {});

  Result<ApiAnswer> get(const std::string& path, const QueryParts& query = {},
                        std::string_view accept = "application/json");
  Result<ApiAnswer> send(std::string_view method, const std::string& path, const QueryParts& query,
                         std::string body, std::string_view content_type);
  // The body as it is: pages that are no objects.
  Result<std::string> text(const std::string& path, const QueryParts& query = {});

  // Calls `line` for each line of the answer until it returns false, the answer ends, or
  // `patience` is over (kDeadlineExceeded); no patience: for ever.
  Outcome stream(const std::string& path, const QueryParts& query, std::string_view accept,
                 std::optional<Duration> patience,
                 const std::function<bool(std::string_view line)>& line);

 private:
  explicit ApiClient(ApiAddress address);

  ApiAddress address_;
  std::shared_ptr<const net::TlsContext> tls_;
  std::unique_ptr<net::HttpClient> http_;
};

// "Error from server (NotFound): …", or the message alone where no server said it.
std::string error_text(const Status& status);

// The Status object of an API as ours.
Status status_of(int http_status, const json::value& body);

std::string escape_query(std::string_view text);

}  // namespace sluice::cli
