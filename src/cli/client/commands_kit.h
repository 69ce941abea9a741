// What the client's commands have in common.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/client/api_client.h"
#include "cli/client/manifests.h"
#include "cli/client/resource_args.h"

namespace sluice::cli {

// One object, or a collection when `name` is empty.
struct Place {
  const control::ResourceType* type = nullptr;
  std::string ns;  // empty: all, or none for a kind without
  std::string name;

  std::string path(std::string_view subresource = {}) const {
    return ApiClient::path_of(*type, ns, name, subresource);
  }
  std::string shown() const { return shown_name(*type, name); }
};

// Opens the client and runs; what fails is printed. The exit status.
int with_api(const ApiOptions& options, const std::function<Outcome(ApiClient& api)>& run);

// Prints the error of one object and remembers that something failed; the others go on.
class Failures {
 public:
  void note(const Status& status);
  // A failure without words of its own, because all were printed.
  Outcome outcome() const;

 private:
  bool any_ = false;
};

// What the words and the files name. `ns` of the options was given when it is not empty.
Result<std::vector<Place>> places_of(const ApiClient& api, const ApiOptions& options,
                                     const std::vector<std::string>& words,
                                     const std::vector<std::string>& files, bool recursive,
                                     bool all_namespaces);

// Names of all objects of the collection that the selectors take.
Result<std::vector<Place>> expand(ApiClient& api, const Place& collection,
                                  const std::string& selector, const std::string& field_selector);
// The same for those of the places that name no object; the others stay as they are.
Result<std::vector<Place>> expand_all(ApiClient& api, const std::vector<Place>& places,
                                      const std::string& selector,
                                      const std::string& field_selector);

// "90", "90s", "5m", "1h"; 0 and below: for ever (nothing).
Result<std::optional<Duration>> parse_patience(const std::string& text);

}  // namespace sluice::cli
