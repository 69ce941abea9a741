#include "cli/client/commands_kit.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <iostream>

#include "control/json_util.h"

namespace sluice::cli {
namespace {

constexpr std::string_view kPrinted = "printed already";

}  // namespace

int with_api(const ApiOptions& options, const std::function<Outcome(ApiClient& api)>& run) {
  auto api = ApiClient::open(options);
  const Outcome done = api ? run(**api) : Outcome(std::unexpected(std::move(api).error()));
  if (done) return 0;
  if (done.error().message() != kPrinted) std::cerr << error_text(done.error()) << "\n";
  return 1;
}

void Failures::note(const Status& status) {
  any_ = true;
  std::cout.flush();
  std::cerr << error_text(status) << "\n";
}

Outcome Failures::outcome() const {
  if (!any_) return {};
  return fail(Code::kUnavailable, std::string(kPrinted));
}

Result<std::vector<Place>> places_of(const ApiClient& api, const ApiOptions& options,
                                     const std::vector<std::string>& words,
                                     const std::vector<std::string>& files, bool recursive,
                                     bool all_namespaces) {
  std::vector<Place> out;
  const std::string& ns = api.address().ns;
  if (!files.empty()) {
    if (!words.empty()) return invalid("give either objects or -f, not both");
    SLUICE_ASSIGN_OR_RETURN(const auto manifests, load_manifests(files, recursive));
    for (const Manifest& each : manifests) {
      SLUICE_ASSIGN_OR_RETURN(std::string where, namespace_of(each, ns, !options.ns.empty()));
      out.push_back({each.type, std::move(where), each.name});
    }
    return out;
  }
  SLUICE_ASSIGN_OR_RETURN(const auto targets, parse_targets(words));
  for (const Target& target : targets) {
    if (all_namespaces && !target.name.empty() && target.type->namespaced) {
      return invalid("an object by its name is of one namespace: leave -A out");
    }
    const bool everywhere = all_namespaces || !target.type->namespaced;
    out.push_back({target.type, everywhere ? std::string() : ns, target.name});
  }
  return out;
}

Result<std::vector<Place>> expand(ApiClient& api, const Place& collection,
                                  const std::string& selector, const std::string& field_selector) {
  QueryParts query;
  if (!selector.empty()) query.emplace_back("labelSelector", selector);
  if (!field_selector.empty()) query.emplace_back("fieldSelector", field_selector);
  SLUICE_ASSIGN_OR_RETURN(
      const ApiAnswer answer,
      api.get(collection.path(), query,
              "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"));
  std::vector<Place> out;
  const json::object* list = answer.body.if_object();
  const json::array* items = list == nullptr ? nullptr : control::array_at(*list, "items");
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    const json::object* item = (*items)[i].if_object();
    if (item == nullptr) continue;
    out.push_back({collection.type, std::string(control::text_at(*item, "metadata.namespace")),
                   std::string(control::text_at(*item, "metadata.name"))});
  }
  return out;
}

Result<std::vector<Place>> expand_all(ApiClient& api, const std::vector<Place>& places,
                                      const std::string& selector,
                                      const std::string& field_selector) {
  std::vector<Place> out;
  for (const Place& place : places) {
    if (!place.name.empty()) {
      out.push_back(place);
      continue;
    }
    SLUICE_ASSIGN_OR_RETURN(const auto found, expand(api, place, selector, field_selector));
    out.insert(out.end(), found.begin(), found.end());
  }
  return out;
}

Result<std::optional<Duration>> parse_patience(const std::string& text) {
  double number = 0;
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto [at, error] = std::from_chars(begin, end, number);
  const std::string_view unit(at, static_cast<size_t>(end - at));
  double scale = 1;
  if (unit == "ms") {
    scale = 0.001;
  } else if (unit == "m") {
    scale = 60;
  } else if (unit == "h") {
    scale = 3600;
  }
  const bool known = unit.empty() || unit == "s" || unit == "ms" || unit == "m" || unit == "h";
  constexpr double kMaxSeconds = 1e8;
  if (error != std::errc() || !known || !(number * scale < kMaxSeconds)) {
    return invalid(fmt::format("\"{}\": expected a time such as 30s, 5m or 1h", text));
  }
  if (number <= 0) return std::nullopt;
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(number * scale));
}

}  // namespace sluice::cli
