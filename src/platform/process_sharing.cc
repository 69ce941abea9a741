#include "platform/process_sharing.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/sizes.h"
#include "control/admission.h"
#include "control/json_util.h"
#include "control/scalars.h"
#include "platform/revision_spec.h"
#include "platform/views.h"

namespace sluice::platform {

using control::array_at;
using control::find_path;
using control::object_at;
using control::ObjectPtr;
using control::StoredObject;
using control::text_at;

namespace {

constexpr std::string_view kModelMount = "/mnt/models";
constexpr std::string_view kNamesOption = "--served-model-name";
constexpr std::string_view kNamesVariable = "SLUICE_SERVED_MODEL_NAME";
constexpr std::string_view kBudgetOption = "--model-memory-bytes";
constexpr std::string_view kBudgetVariable = "SLUICE_MODEL_MEMORY_BYTES";
// Of the memory that the process may have: the rest is for requests and the program itself.
constexpr double kBudgetShare = 0.75;

std::unexpected<Status> cannot(std::string message) {
  return fail(Code::kFailedPrecondition, std::move(message), {}, "NotShareable");
}

bool is_option(std::string_view word, std::string_view option) {
  return word == option ||
         (word.starts_with(option) && word.substr(option.size()).starts_with('='));
}

std::string_view text_of(const json::value& value) {
  const auto* text = value.if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

// The container without its model: /mnt/models stands for all of them, names are given with them.
class ModelRemover {
 public:
  ModelRemover(json::object container, std::string_view service)
      : container_(std::move(container)), service_(service) {}

  Result<json::object> make() {
    container_.erase("name");
    for (const std::string_view field : {"command", "args"}) {
      const auto* given = array_at(container_, field);
      if (given == nullptr) continue;
      SLUICE_ASSIGN_OR_RETURN(json::array words, words_without_name(*given));
      container_[field] = std::move(words);
    }
    SLUICE_RETURN_IF_ERROR(take_variables());
    if (mounts_ != 1) {
      return cannot(fmt::format(
          "its arguments must name {} once, as a word of its own, where the models' files are put",
          kModelMount));
    }
    if (!budget_) SLUICE_RETURN_IF_ERROR(add_budget());
    return std::move(container_);
  }

 private:
  Result<json::array> words_without_name(const json::array& given) {
    json::array words;
    for (size_t i = 0; i < given.size(); ++i) {
      const std::string_view word = text_of(given[i]);
      if (is_option(word, "--model-repository")) {
        return cannot("its argument --model-repository names models of its own");
      }
      if (is_option(word, kNamesOption)) {
        const bool apart = word == kNamesOption;
        const std::string_view name = apart ? (i + 1 < given.size() ? text_of(given[i + 1]) : "")
                                            : word.substr(kNamesOption.size() + 1);
        SLUICE_RETURN_IF_ERROR(check_name(kNamesOption, name));
        i += apart ? 1 : 0;
        continue;
      }
      budget_ = budget_ || is_option(word, kBudgetOption);
      if (word == kModelMount) {
        ++mounts_;
      } else if (word.contains(kModelMount)) {
        return cannot(fmt::format("its argument {} names a file of one model", word));
      }
      words.push_back(given[i]);
    }
    return words;
  }

  Outcome check_name(std::string_view where, std::string_view name) const {
    if (name == service_) return {};
    return cannot(fmt::format("{} is \"{}\": models of one process are called as their services",
                              where, name));
  }

  Outcome take_variables() {
    const auto* given = array_at(container_, "env");
    if (given == nullptr) return {};
    json::array kept;
    for (const json::value& each : *given) {
      const auto* variable = each.if_object();
      const std::string_view name = variable == nullptr ? "" : text_at(*variable, "name");
      const std::string_view value = variable == nullptr ? "" : text_at(*variable, "value");
      if (name == kNamesVariable) {
        SLUICE_RETURN_IF_ERROR(check_name(name, value));
        continue;
      }
      if (value.contains(kModelMount)) {
        return cannot(fmt::format("its variable {} names a file of one model", name));
      }
      budget_ = budget_ || name == kBudgetVariable;
      kept.push_back(each);
    }
    container_["env"] = std::move(kept);
    return {};
  }

  Outcome add_budget() {
    auto limit = control::parse_quantity(text_at(container_, "resources.limits.memory"));
    if (!limit) limit = control::number_at(container_, "resources.limits.memory");
    if (!limit || *limit < 1) {
      return cannot(fmt::format(
          "how much memory the models of the process may take together is not said: give "
          "resources.limits.memory, or {} in args",
          kBudgetOption));
    }
    json::value& args = container_["args"];
    if (!args.is_array()) args = json::array();
    args.get_array().emplace_back(kBudgetOption);
    args.get_array().emplace_back(fmt::format("{:.0f}", *limit * kBudgetShare));
    return {};
  }

  json::object container_;
  const std::string_view service_;
  int mounts_ = 0;
  bool budget_ = false;
};

void copy_field(const json::object& from, std::string_view path, json::object& to,
                std::string_view key) {
  const json::value* value = find_path(from, path);
  if (value != nullptr && !value->is_null()) to[key] = *value;
}

bool is_older(const ObjectPtr& a, const ObjectPtr& b) {
  const std::string_view made_a = text_at(a->body, "metadata.creationTimestamp");
  const std::string_view made_b = text_at(b->body, "metadata.creationTimestamp");
  return made_a == made_b ? a->name < b->name : made_a < made_b;
}

void differences(const json::object& a, const json::object& b, const std::string& prefix,
                 std::vector<std::string>& out) {
  std::set<std::string_view> keys;
  for (const auto* each : {&a, &b}) {
    for (const auto& member : *each) keys.insert(member.key());
  }
  for (const std::string_view key : keys) {
    const json::value* x = a.if_contains(key);
    const json::value* y = b.if_contains(key);
    if (x != nullptr && y != nullptr && control::same_json(*x, *y)) continue;
    const bool inside = prefix.empty() && (key == "container" || key == "scaling");
    if (inside && x != nullptr && y != nullptr && x->is_object() && y->is_object()) {
      differences(x->get_object(), y->get_object(), fmt::format("{}.", key), out);
    } else {
      out.push_back(fmt::format("{}{}", prefix, key));
    }
  }
}

}  // namespace

std::vector<SharedModel> shared_models(const json::object& revision_spec) {
  std::vector<SharedModel> models;
  const auto* list = array_at(revision_spec, "models");
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const auto* fields = (*list)[i].if_object();
    if (fields == nullptr) continue;
    models.push_back(
        {std::string(text_at(*fields, "name")), std::string(text_at(*fields, "storageUri"))});
  }
  return models;
}

bool is_shared(const json::object& revision_spec) { return !process_of(revision_spec).empty(); }

std::string shared_uri(const json::object& revision_spec, std::string_view service) {
  for (SharedModel& each : shared_models(revision_spec)) {
    if (each.name == service) return std::move(each.storage_uri);
  }
  return {};
}

std::string_view process_of(const json::object& revision_spec) {
  return text_at(revision_spec, "process");
}

std::vector<ShareClaim> share_claims(const StoredObject& service) {
  std::vector<ShareClaim> claims;
  const auto* list = array_at(service.body, "status.sluice.shares");
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const auto* fields = (*list)[i].if_object();
    if (fields == nullptr) continue;
    claims.push_back({.process = std::string(text_at(*fields, "process")),
                      .storage_uri = std::string(text_at(*fields, "storageUri")),
                      .leaving = control::true_at(*fields, "leaving")});
  }
  return claims;
}

json::array to_json(const std::vector<ShareClaim>& claims) {
  json::array list;
  for (const ShareClaim& each : claims) {
    json::object fields{{"process", each.process}, {"storageUri", each.storage_uri}};
    if (each.leaving) fields["leaving"] = true;
    list.push_back(std::move(fields));
  }
  return list;
}

bool asks_to_share(const json::object& service_spec) {
  return control::true_at(service_spec, "sluice.shareProcess");
}

Result<json::object> shared_template(const json::object& service_spec,
                                     const json::object& revision_spec) {
  if (const auto* obstacle = control::sharing_obstacle(service_spec)) {
    return cannot(fmt::format("spec.{}: {}", obstacle->field, obstacle->why));
  }
  if (text_at(revision_spec, "storageUri").empty()) return cannot("it has no model.storageUri");
  if (!is_sluice_serve(revision_spec)) {
    return cannot("its runtime is no `sluice serve`, which loads models on demand");
  }
  json::object out;
  const auto* container = object_at(revision_spec, "container");
  SLUICE_ASSIGN_OR_RETURN(out["container"],
                          ModelRemover(container == nullptr ? json::object() : *container,
                                       text_at(revision_spec, "service"))
                              .make());
  for (const std::string_view field : {"runtime", "serviceAccountName", "containerConcurrency",
                                       "terminationGracePeriodSeconds", "labels", "annotations"}) {
    copy_field(revision_spec, field, out, field);
  }
  // By which its replicas are counted, and how long requests wait for them.
  json::object scaling;
  copy_field(service_spec, "predictor.scaleMetric", scaling, "scaleMetric");
  copy_field(service_spec, "predictor.scaleTarget", scaling, "scaleTarget");
  copy_field(service_spec, "sluice.scaling", scaling, "scaling");
  copy_field(service_spec, "sluice.wake", scaling, "wake");
  out["scaling"] = std::move(scaling);
  return out;
}

std::string process_key(const json::object& shared_template) {
  return template_hash({{"shared", shared_template}});
}

std::optional<int64_t> model_budget(const json::object& shared_template) {
  std::optional<int64_t> budget;
  const auto take = [&budget](std::string_view text) {
    const auto bytes = parse_size(text);
    budget = bytes ? std::optional(*bytes) : std::nullopt;
  };
  const auto* variables = array_at(shared_template, "container.env");
  for (size_t i = 0; variables != nullptr && i < variables->size(); ++i) {
    const auto* variable = (*variables)[i].if_object();
    if (variable == nullptr || text_at(*variable, "name") != kBudgetVariable) continue;
    take(text_at(*variable, "value"));
  }
  // Arguments go before variables, and the last of them holds.
  for (const std::string_view field : {"container.command", "container.args"}) {
    const auto* words = array_at(shared_template, field);
    for (size_t i = 0; words != nullptr && i < words->size(); ++i) {
      const std::string_view word = text_of((*words)[i]);
      if (!is_option(word, kBudgetOption)) continue;
      if (word != kBudgetOption) {
        take(word.substr(kBudgetOption.size() + 1));
      } else {
        take(i + 1 < words->size() ? text_of((*words)[i + 1]) : std::string_view());
      }
    }
  }
  return budget;
}

std::vector<std::string> template_differences(const json::object& a, const json::object& b) {
  std::vector<std::string> out;
  differences(a, b, {}, out);
  return out;
}

ObjectPtr ProcessGroup::leader() const {
  const auto first =
      std::ranges::find_if(members, [](const GroupMember& each) { return !each.claim.leaving; });
  return first == members.end() ? nullptr : first->service;
}

std::vector<SharedModel> ProcessGroup::models() const {
  std::vector<SharedModel> out;
  out.reserve(members.size());
  for (const GroupMember& each : members) {
    out.push_back({each.service->name, each.claim.storage_uri});
  }
  std::ranges::sort(out, {}, &SharedModel::name);
  return out;
}

std::vector<std::string> ProcessGroup::uids() const {
  std::vector<std::string> out;
  out.reserve(members.size());
  for (const GroupMember& each : members) out.push_back(each.service->uid);
  std::ranges::sort(out);
  return out;
}

ProcessGroup process_group(const std::vector<ObjectPtr>& services, const std::string& process,
                           const ObjectPtr& self, const std::vector<ShareClaim>& own) {
  ProcessGroup group;
  for (const ObjectPtr& service : services) {
    if (service->deleting()) continue;
    const bool is_self = service->uid == self->uid;
    const std::vector<ShareClaim> claims = is_self ? own : share_claims(*service);
    const auto claim = std::ranges::find(claims, process, &ShareClaim::process);
    if (claim != claims.end()) group.members.push_back({service, *claim});
  }
  std::ranges::sort(group.members, is_older, &GroupMember::service);
  return group;
}

json::object shared_revision_spec(const json::object& shared_template, const ProcessGroup& group,
                                  std::string_view maker) {
  json::object spec = shared_template;
  spec["process"] = process_key(shared_template);
  spec.erase("scaling");
  spec["component"] = component_name(Component::kPredictor);
  spec["service"] = maker;
  json::array models;
  for (const SharedModel& each : group.models()) {
    models.push_back(json::object{{"name", each.name}, {"storageUri", each.storage_uri}});
  }
  spec["models"] = std::move(models);
  spec["templateHash"] = template_hash(spec);
  return spec;
}

bool is_of_group(const StoredObject& revision, const std::string& process,
                 const ProcessGroup& group) {
  const json::object& spec = spec_of(revision);
  if (process_of(spec) != process || shared_models(spec) != group.models()) return false;
  std::vector<std::string> owners = owner_uids(revision, service_type().kind);
  std::ranges::sort(owners);
  return owners == group.uids();
}

std::vector<ObjectPtr> services_of(const control::ObjectStore& store,
                                   const StoredObject& revision) {
  std::vector<ObjectPtr> services;
  const auto* owners = array_at(revision.body, "metadata.ownerReferences");
  for (size_t i = 0; owners != nullptr && i < owners->size(); ++i) {
    const auto* fields = (*owners)[i].if_object();
    if (fields == nullptr || text_at(*fields, "kind") != service_type().kind) continue;
    ObjectPtr service =
        store.get({&service_type(), revision.ns, std::string(text_at(*fields, "name"))});
    if (!service || service->uid != text_at(*fields, "uid") || service->deleting()) continue;
    services.push_back(std::move(service));
  }
  std::ranges::sort(services, is_older);
  return services;
}

ObjectPtr policy_service(const control::ObjectStore& store, const StoredObject& revision) {
  const std::vector<ObjectPtr> services = services_of(store, revision);
  const std::string_view process = process_of(spec_of(revision));
  for (const ObjectPtr& each : services) {
    for (const ShareClaim& claim : share_claims(*each)) {
      if (claim.process == process && !claim.leaving) return each;
    }
  }
  return services.empty() ? nullptr : services.front();
}

}  // namespace sluice::platform
