// What `sluice doctor` asks of the machine: processor, memory, limits, clock, disk, ports.
//
// Each look is a function of its own and changes nothing. Files of /proc and /sys are read below
// `root`, so that tests can show other machines.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/doctor/finding.h"

namespace sluice::cli {

Finding check_cores(const std::filesystem::path& root);
Finding check_instructions();
Finding check_frequency(const std::filesystem::path& root);
Finding check_memory(const std::filesystem::path& root);
Finding check_huge_pages(const std::filesystem::path& root);
Finding check_descriptors();
Finding check_backlog(const std::filesystem::path& root);
Finding check_control_groups(const std::filesystem::path& root);
Finding check_clock();
Finding check_disk(std::string_view subject, const std::filesystem::path& folder);
// Whether `port` can be listened on.
Finding check_port(const std::string& host, uint16_t port, std::string_view use);

// "50000 100000" of cpu.max → 0.5; 0: no limit. Pure.
double cpu_limit_of(std::string_view cpu_max);
// The word in brackets of "always [madvise] never". Pure.
std::string chosen_word(std::string_view text);

}  // namespace sluice::cli
