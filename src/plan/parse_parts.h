// The parts of parse_plan(), by subject. Internal to the room.
#pragma once

#include <cstdint>
#include <span>

#include "plan/fields.h"
#include "plan/parse.h"
#include "plan/plan.h"

namespace sluice::plan {

inline constexpr size_t kMaxEndpoints = 1024;
inline constexpr size_t kMaxTargets = 64;
inline constexpr size_t kMaxGraphs = 1024;
inline constexpr size_t kMaxTenants = 10'000;
inline constexpr size_t kMaxKeys = 1024;

Upstream read_upstream(Fields& fields, const SecretSource& secrets);
Route read_route(Fields& fields);
Graph read_graph(Fields& fields);
Tenant read_tenant(Fields& fields, const SecretSource& secrets);

// Which fields stand in a route that are of no use over upstreams of some kind: a bit for each.
using Mentions = uint32_t;
Mentions mentions_of(const Node& route);

// All of a plan but its upstreams and routes: what stands before them, and what behind.
void read_settings(Fields& root, const SecretSource& secrets, Plan& out);
void read_graphs_and_tenants(Fields& root, const SecretSource& secrets, Plan& out);
// What is left to look at once all has been read; `mentions` are of its routes.
void check_whole(const Plan& plan, std::span<const Mentions> mentions, Fields& root);
// Names must be unique, and those that are referred to must exist.
void check_references(const Plan& plan, std::span<const Mentions> mentions, Fields& root);

// As `secrets`, but a file that many fields name is read once.
SecretSource remembering(const SecretSource& secrets);

void read_shared_limits(Fields& fields, const SecretSource& secrets, LimitsPlan& out);

// Money for a million tokens of each kind.
void read_price(Fields& fields, Price& out);

// A secret: {env: NAME} or {file: PATH}; never in plain.
void read_secret(Fields& fields, std::string_view name, const SecretSource& secrets,
                 std::string& out);

// A text that may have line breaks.
void read_template(Fields& f, std::string_view name, std::string& out, size_t max_bytes);

// "http://host:port", nothing behind it.
Outcome check_base_url(std::string_view url);

// "host", "host:port" or "[address]:port"; the port stays as it is where none is given.
bool read_host_and_port(std::string_view text, std::string& host, uint16_t& port);

// The fields certificate and key of `f`.
void read_certificate(Fields& f, CertificateFiles& out);

}  // namespace sluice::plan
