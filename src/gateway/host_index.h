// HostIndex: what stands under the names of hosts, exact ones ("api.example.com") and those below
// one ("*.example.com"), found by as many look-ups as the name has parts, however many there are.
//
// Built once, then any thread.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sluice::gateway {

// The name of a Host field: no port, no trailing dot, lower case.
std::string host_name(std::string_view host);

// "api.example.com", or "*.example.com" for what is below it.
bool host_matches(const std::vector<std::string>& patterns, std::string_view host);

class HostIndex {
 public:
  using Lists = std::vector<std::span<const size_t>>;

  // The pattern outlives it. Items that are added in rising order are found so.
  void add(std::string_view pattern, size_t item);

  // Appends lists of the items with a pattern that a host_name() matches; one item may stand in
  // several.
  void find(std::string_view host, Lists& lists) const;

  bool empty() const { return exact_.empty() && below_.empty(); }

 private:
  using Items = std::unordered_map<std::string_view, std::vector<size_t>>;

  Items exact_;
  Items below_;  // by ".example.com"
};

}  // namespace sluice::gateway
