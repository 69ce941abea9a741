// The texts that Kubernetes' API gives a meaning: names, label values, quantities, times, base64.
// Pure functions on foreign text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::control {

// Each says what is wrong, or nothing when it is well.
std::string name_problem(std::string_view name);        // DNS-1123 subdomain, up to 253
std::string label_name_problem(std::string_view name);  // DNS-1123 label, up to 63
// DNS-1035 label (begins with a letter), as names that become host names must be.
std::string host_name_problem(std::string_view name);
std::string label_key_problem(std::string_view key);  // [prefix/]name
std::string label_value_problem(std::string_view value);

// "500m" → 0.5, "2Gi" → 2147483648. Nothing when it is malformed.
std::optional<double> parse_quantity(std::string_view text);

// RFC 3339 ("2026-01-31T12:00:00Z", fractions and offsets allowed) ↔ seconds since the epoch.
std::optional<double> parse_time(std::string_view text);
std::string time_text(double unix_seconds);
std::string micro_time_text(double unix_seconds);  // with six digits of fraction

// "5d3h", "12m", "42s": an age as kubectl shows it.
std::string age_text(double seconds);

// Foreign text as it may stand in a log or an object: other than printable ASCII becomes '?'.
std::string printable(std::string_view text, size_t max_bytes);

std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);
std::string base64url_encode(std::string_view bytes);  // unpadded
std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace sluice::control
