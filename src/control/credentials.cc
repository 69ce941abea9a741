#include "control/credentials.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <array>
#include <optional>
#include <system_error>

#include "base/files.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileBytes = 1u << 20;
constexpr size_t kTokenBytes = 32;
constexpr std::array kRoles = {Role::kAdmin, Role::kEdit, Role::kView};
constexpr std::string_view kTokenKey = "token: ";

Result<std::string> random_token() {
  std::array<char, kTokenBytes> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return fail(Code::kInternal, "the system gives no random bytes");
  }
  return base64url_encode({bytes.data(), bytes.size()});
}

std::optional<std::string> token_in(std::string_view kubeconfig) {
  const size_t at = kubeconfig.find(kTokenKey);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = kubeconfig.substr(at + kTokenKey.size());
  const std::string_view token = rest.substr(0, rest.find_first_of(" \r\n\""));
  if (token.size() < kTokenBytes) return std::nullopt;
  return std::string(token);
}

std::string user_name(Role role) { return fmt::format("sluice-{}", role_name(role)); }

std::string kubeconfig_text(Role role, const std::string& token, const std::string& server,
                            const std::string& ca) {
  return fmt::format(
      "# Written by `sluice controller` at each start. Remove the file for a new token.\n"
      "apiVersion: v1\n"
      "kind: Config\n"
      "clusters:\n"
      "- name: sluice\n"
      "  cluster:\n"
      "    server: {}\n"
      "    certificate-authority-data: {}\n"
      "users:\n"
      "- name: {}\n"
      "  user:\n"
      "    {}{}\n"
      "contexts:\n"
      "- name: sluice\n"
      "  context:\n"
      "    cluster: sluice\n"
      "    user: {}\n"
      "    namespace: default\n"
      "current-context: sluice\n",
      server, base64_encode(ca), user_name(role), kTokenKey, token, user_name(role));
}

// Readable by its owner only, from its first byte on. A file that says the same is left as it is:
// a controller also starts on a full disk.
Outcome write_private(const fs::path& path, std::string_view text) {
  struct stat info{};
  const bool is_private = ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
                          (info.st_mode & 07777) == (S_IRUSR | S_IWUSR);
  if (is_private && read_file(path, kMaxFileBytes).value_or("") == text) return {};
  const mode_t before = ::umask(0077);
  Outcome written = write_file_atomically(path, text);
  ::umask(before);
  SLUICE_RETURN_IF_ERROR(written);
  std::error_code error;
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write, error);
  if (!error) return {};
  return fail(Code::kPermissionDenied,
              fmt::format("{}: cannot make it private: {}", path.string(), error.message()));
}

// The token in the kubeconfig; nothing where there is none.
Result<std::optional<std::string>> token_of(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::optional<std::string>();
  SLUICE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxFileBytes));
  return token_in(text);
}

std::string_view next_part(std::string_view& line) {
  const size_t comma = line.find(',');
  std::string_view part = line.substr(0, comma);
  line.remove_prefix(comma == std::string_view::npos ? line.size() : comma + 1);
  while (part.starts_with(' ')) part.remove_prefix(1);
  while (part.ends_with(' ') || part.ends_with('\r')) part.remove_suffix(1);
  return part;
}

}  // namespace

std::filesystem::path kubeconfig_path(const fs::path& folder, Role role) {
  if (role == Role::kAdmin) return folder / "kubeconfig";
  return folder / fmt::format("kubeconfig-{}", role_name(role));
}

Result<std::vector<Token>> parse_tokens(std::string_view text, const std::string& file) {
  std::vector<Token> tokens;
  int number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (line.empty() || line.starts_with('#')) continue;
    const std::string_view name = next_part(line);
    const auto role = parse_role(next_part(line));
    const auto digest = SecretDigest::from_hex(next_part(line));
    if (name.empty() || !role || !digest || !line.empty()) {
      return invalid(fmt::format(
          "{}:{}: expected NAME,ROLE,SHA256 (role admin, edit or view; the digest from: printf %s "
          "TOKEN | sha256sum)",
          file, number));
    }
    tokens.push_back({.identity = {std::string(name), *role}, .digest = *digest});
  }
  return tokens;
}

Result<std::vector<Token>> ensure_tokens(const fs::path& folder) {
  std::vector<Token> tokens;
  for (const Role role : kRoles) {
    const fs::path path = kubeconfig_path(folder, role);
    SLUICE_ASSIGN_OR_RETURN(std::optional<std::string> token, token_of(path));
    if (!token) {
      SLUICE_ASSIGN_OR_RETURN(token, random_token());
      // The address comes with write_kubeconfigs(), once the port is known.
      SLUICE_RETURN_IF_ERROR(write_private(path, kubeconfig_text(role, *token, "", "")));
    }
    tokens.push_back({.identity = {user_name(role), role}, .digest = SecretDigest(*token)});
  }
  const fs::path more = folder / "tokens.csv";
  std::error_code error;
  if (!fs::exists(more, error)) return tokens;
  SLUICE_ASSIGN_OR_RETURN(const std::string text, read_file(more, kMaxFileBytes));
  SLUICE_ASSIGN_OR_RETURN(std::vector<Token> listed, parse_tokens(text, more.string()));
  tokens.insert(tokens.end(), listed.begin(), listed.end());
  return tokens;
}

Outcome write_kubeconfigs(const fs::path& folder, const std::string& host, uint16_t port,
                          const Certificate& certificate) {
  const bool everywhere = host == "0.0.0.0" || host == "::" || host.empty();
  const std::string name = everywhere ? "127.0.0.1" : host;
  const std::string server = name.contains(':') ? fmt::format("https://[{}]:{}", name, port)
                                                : fmt::format("https://{}:{}", name, port);
  for (const Role role : kRoles) {
    const fs::path path = kubeconfig_path(folder, role);
    SLUICE_ASSIGN_OR_RETURN(const std::optional<std::string> token, token_of(path));
    if (!token) return fail(Code::kDataLoss, path.string() + ": its token has gone");
    SLUICE_RETURN_IF_ERROR(
        write_private(path, kubeconfig_text(role, *token, server, certificate.pem)));
  }
  return {};
}

}  // namespace sluice::control
