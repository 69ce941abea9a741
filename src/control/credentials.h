// What clients need to reach the API: a certificate, tokens, and kubeconfig files of mode 0600.
//
// All of it lies in the data folder and is made on the first start. The kubeconfig of a role is
// where its token is kept: remove the file, and the next start makes a new token. Further tokens
// may stand in tokens.csv, one "name,role,sha256" a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "control/access.h"

namespace sluice::control {

struct Certificate {
  std::filesystem::path certificate_file;  // PEM
  std::filesystem::path key_file;
  std::string pem;
};

// A self-signed certificate for the loopback names and `host`; made anew when it ends within
// three months or does not name `host`.
Result<Certificate> ensure_certificate(const std::filesystem::path& folder,
                                       const std::string& host);

// The tokens of the kubeconfig files, made where they are missing, and those of tokens.csv.
Result<std::vector<Token>> ensure_tokens(const std::filesystem::path& folder);

// Writes the kubeconfig of each role anew, with its token and this address.
Outcome write_kubeconfigs(const std::filesystem::path& folder, const std::string& host,
                          uint16_t port, const Certificate& certificate);

std::filesystem::path kubeconfig_path(const std::filesystem::path& folder, Role role);

// "name,role,sha256" lines, '#' for comments.
Result<std::vector<Token>> parse_tokens(std::string_view text, const std::string& file);

}  // namespace sluice::control
