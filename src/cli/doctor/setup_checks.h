// What `sluice doctor` asks of what was set up: folders, kubeconfig, plan, manifests, models.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/doctor/finding.h"

namespace sluice::cli {

// Mode and content of the data folder's kubeconfig; that none is there yet is good.
Finding check_kubeconfig(const std::filesystem::path& file);
// Whether a controller uses the folder now, and its API answers.
Finding check_controller(const std::filesystem::path& data);
// The gateway's configuration; a file that is not there is good unless it was `asked` for.
Findings check_plan(const std::filesystem::path& file, bool asked);
Findings check_manifests(const std::vector<std::string>& files);
// That the model can be read, and has room.
Finding check_model(const std::string& model);

}  // namespace sluice::cli
