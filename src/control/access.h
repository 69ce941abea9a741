// Who may do what: bearer tokens, three roles, and the checks that keep browsers out.
//
// Immutable once made; any thread. Tokens are kept as digests only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"
#include "control/api_error.h"
#include "control/resource_types.h"

namespace sluice::control {

// view reads all but secrets; edit also writes what lives in a namespace; admin does everything.
enum class Role { kView, kEdit, kAdmin };
std::string_view role_name(Role role);
std::optional<Role> parse_role(std::string_view name);

struct Identity {
  std::string name;
  Role role = Role::kView;
};

struct Token {
  Identity identity;
  SecretDigest digest;
};

enum class Verb { kGet, kList, kWatch, kCreate, kUpdate, kPatch, kDelete, kDeleteCollection };
std::string_view verb_name(Verb verb);
bool is_write(Verb verb);

class Access {
 public:
  // `hosts` are the names and addresses by which the server may be called, without a port.
  Access(std::vector<Token> tokens, std::vector<std::string> hosts)
      : tokens_(std::move(tokens)), hosts_(std::move(hosts)) {}

  // 401 without a known token ("Bearer …").
  ApiResult<Identity> identify(std::string_view authorization) const;
  // 403 when the Host is none of ours (DNS rebinding), or an Origin is given: no page in a browser
  // has business here.
  ApiOutcome check_source(std::string_view host, std::string_view origin) const;
  // 403 in Kubernetes' words.
  static ApiOutcome authorize(const Identity& who, Verb verb, const ResourceType& type,
                              std::string_view ns, std::string_view name);

 private:
  std::vector<Token> tokens_;
  std::vector<std::string> hosts_;
};

}  // namespace sluice::control
