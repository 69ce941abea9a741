// Where the control plane's API is, and who we are there: kubeconfig files, ours and kubectl's.
//
// Of a kubeconfig we need: servers with their authority, tokens (or files of them), contexts.
// Client certificates and plugins that log in are refused by name. Pure functions on foreign text,
// but for find_api() and the files that a kubeconfig names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::cli {

struct ApiAddress {
  std::string server;  // https://host:port, without a slash behind
  std::string ca_pem;  // empty: the system's authorities
  std::string tls_name;
  std::string token;
  std::string ns = "default";
  std::string context;  // its name
  std::string source;   // the file, for messages
};

struct KubeConfigText {
  std::string file;
  std::string text;
};

// The context of that name, or the current one when it is empty. Of several files the first that
// has an entry wins, as with kubectl.
Result<ApiAddress> read_kube_configs(const std::vector<KubeConfigText>& files,
                                     const std::string& context);

// What every command that talks to the API is told.
struct ApiOptions {
  std::string kubeconfig = {};  // empty: $KUBECONFIG, then that of `sluice up`, then ~/.kube/config
  std::string context = {};
  std::string ns = {};  // empty: the context's
};
Result<ApiAddress> find_api(const ApiOptions& options);

// $XDG_STATE_HOME/sluice/control, or below the home folder: what --data is by default.
std::string default_data_folder();

}  // namespace sluice::cli
