#include "control/scrape_targets.h"

#include <fmt/format.h>

#include <utility>

#include "base/json.h"
#include "control/json_util.h"
#include "control/resource_types.h"

namespace sluice::control {

std::string scrape_targets(const ObjectStore& store, std::string_view host) {
  const ResourceType& replicas = *find_kind("sluice.dev/v1alpha1", "Replica");
  json::array out;
  for (const ObjectPtr& replica : store.list(replicas, {}).objects) {
    if (replica->deleting() || text_at(replica->body, "status.phase") != "Ready") continue;
    json::object labels{{"__metrics_path__",
                         fmt::format("/apis/{}/namespaces/{}/{}/{}/metrics", replicas.api_version(),
                                     replica->ns, replicas.plural, replica->name)},
                        {"namespace", replica->ns},
                        {"service", text_at(replica->body, "spec.service")},
                        {"revision", text_at(replica->body, "spec.revision")},
                        {"replica", replica->name}};
    out.push_back(json::object{{"targets", json::array{host}}, {"labels", std::move(labels)}});
  }
  return json::serialize(out);
}

}  // namespace sluice::control
