#include "platform/replica_environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "control/json_util.h"
#include "control/scalars.h"
#include "platform/placeholders.h"

namespace sluice::platform {
namespace {

using control::object_at;
using control::text_at;

std::unexpected<Status> missing(std::string message) {
  return fail(Code::kFailedPrecondition, std::move(message), {}, "CreateContainerConfigError");
}

// What the C library and the system take for a variable: no '=', no NUL.
bool is_variable(std::string_view name) {
  return !name.empty() && name.find('=') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

struct Reference {
  std::string_view field;
  std::string_view kind;
};
constexpr Reference kFromKeys[] = {{"secretKeyRef", "Secret"}, {"configMapKeyRef", "ConfigMap"}};
constexpr Reference kFromObjects[] = {{"secretRef", "Secret"}, {"configMapRef", "ConfigMap"}};

class Resolver {
 public:
  Resolver(const FindCore& find, Environment& out) : find_(find), out_(out) {}

  // All keys of an object. Those that are no names of variables are left out, as Kubernetes does.
  Outcome add_all(const json::object& source) {
    const std::string_view prefix = text_at(source, "prefix");
    for (const auto& [field, kind] : kFromObjects) {
      const auto* reference = object_at(source, field);
      if (reference == nullptr) continue;
      const std::string_view name = text_at(*reference, "name");
      const control::ObjectPtr object = find_ ? find_(kind, name) : nullptr;
      if (object == nullptr) {
        if (control::true_at(*reference, "optional")) continue;
        return missing(fmt::format("envFrom names the {} \"{}\", which is not there", kind, name));
      }
      for (const std::string_view part : {"data", "binaryData"}) {
        const auto* data = object_at(object->body, part);
        if (data == nullptr) continue;
        for (const auto& each : *data) add_key(object->body, prefix, each.key());
      }
    }
    return {};
  }

  Outcome add(const json::object& variable) {
    const std::string name(text_at(variable, "name"));
    if (!is_variable(name)) return {};
    const auto* from = object_at(variable, "valueFrom");
    if (from == nullptr) {
      auto value = expand_variables(
          text_at(variable, "value"), [&](std::string_view other) { return known(other); }, room_);
      if (!value) {
        return fail(Code::kInvalidArgument,
                    fmt::format("env {}: {}", name, value.error().message()), {},
                    "InvalidPredictorSpec");
      }
      out_[name] = *std::move(value);
      return {};
    }
    for (const auto& [field, kind] : kFromKeys) {
      const auto* reference = object_at(*from, field);
      if (reference == nullptr) continue;
      const std::string_view object_name = text_at(*reference, "name");
      const std::string_view key = text_at(*reference, "key");
      const control::ObjectPtr object = find_ ? find_(kind, object_name) : nullptr;
      auto value = object == nullptr ? std::nullopt : value_of_key(object->body, key);
      if (value) {
        out_[name] = *std::move(value);
      } else if (!control::true_at(*reference, "optional")) {
        return missing(fmt::format("env {} names the key \"{}\" of the {} \"{}\", which {}", name,
                                   key, kind, object_name,
                                   object == nullptr ? "is not there" : "has no such key"));
      }
    }
    return {};
  }

 private:
  void add_key(const json::object& object, std::string_view prefix, std::string_view key) {
    const std::string name = std::string(prefix) + std::string(key);
    if (!is_variable(name)) return;
    if (auto value = value_of_key(object, key)) out_[name] = *std::move(value);
  }

  std::optional<std::string> known(std::string_view name) const {
    if (name == "PORT") return "$(PORT)";
    const auto found = out_.find(name);
    return found == out_.end() ? std::nullopt : std::optional(found->second);
  }

  const FindCore& find_;
  Environment& out_;
  size_t room_ = kMaxTextBytes;
};

}  // namespace

std::optional<std::string> value_of_key(const json::object& object, std::string_view key) {
  const bool secret = text_at(object, "kind") == "Secret";
  for (const std::string_view part : {"data", "binaryData"}) {
    const auto* data = object_at(object, part);
    const json::value* value = data == nullptr ? nullptr : control::find_member(*data, key);
    if (value == nullptr || !value->is_string()) continue;
    const std::string_view text = value->get_string();
    if (!secret && part == "data") return std::string(text);
    return control::base64_decode(text);
  }
  return std::nullopt;
}

Result<Environment> replica_environment(const json::object& container, const FindCore& find) {
  Environment out;
  Resolver resolver(find, out);
  const auto* sources = control::array_at(container, "envFrom");
  for (size_t i = 0; sources != nullptr && i < sources->size(); ++i) {
    if (const auto* source = (*sources)[i].if_object()) {
      SLUICE_RETURN_IF_ERROR(resolver.add_all(*source));
    }
  }
  const auto* variables = control::array_at(container, "env");
  for (size_t i = 0; variables != nullptr && i < variables->size(); ++i) {
    if (const auto* variable = (*variables)[i].if_object()) {
      SLUICE_RETURN_IF_ERROR(resolver.add(*variable));
    }
  }
  return out;
}

}  // namespace sluice::platform
