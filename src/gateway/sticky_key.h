// What keeps a caller on one branch of a route, and maybe on one replica.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gateway/body_scan.h"
#include "gateway/snapshot.h"
#include "net/http.h"
#include "plan/plan.h"

namespace sluice::gateway {

inline std::optional<std::string_view> header_of(const net::Headers& headers,
                                                 std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (net::equals_ignoring_case(key, name)) return value;
  }
  return std::nullopt;
}

// Empty: nothing does.
inline std::string sticky_key(const plan::Sticky& sticky, const net::Headers& headers,
                              const BodyFields& fields, const Caller& caller) {
  std::string key;
  switch (sticky.by) {
    case plan::Sticky::By::kNone:
      return {};
    case plan::Sticky::By::kUser:
      key = fields.user;
      break;
    case plan::Sticky::By::kConversation:
      key = fields.conversation;
      break;
    case plan::Sticky::By::kHeader:
      key = header_of(headers, sticky.header).value_or("");
      break;
  }
  // Equal names of two tenants are two users.
  if (!key.empty()) key.append("\n").append(caller.tenant_name());
  return key;
}

}  // namespace sluice::gateway
