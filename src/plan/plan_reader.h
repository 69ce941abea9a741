// PlanReader: reads one configuration again and again. Of a JSON file, as a control plane writes
// it, the upstreams and routes that stand there byte for byte as before are taken from the plan
// before, so that a change in one of a thousand services costs little more than that one.
//
// What it gives and refuses is what load_plan() gives and refuses: whatever is not plain is left to
// that, and so is every complaint, because the fast way knows no lines.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "plan/parse.h"
#include "plan/plan.h"

namespace sluice::plan {

// One thread.
class PlanReader {
 public:
  explicit PlanReader(std::filesystem::path path, SecretSource from = system_secrets(),
                      Duration settled = std::chrono::seconds(2));
  ~PlanReader();

  // The file or folder as it is now.
  Result<std::shared_ptr<const Plan>> read();
  // Upstreams and routes of the last plan that were read anew; none where load_plan() read it.
  size_t read_anew() const { return read_anew_; }

 private:
  struct Former;
  struct Reading;

  std::shared_ptr<const Plan> read_text(std::string text, const SecretSource& secrets);
  void add_upstream(std::string_view text, size_t before, Reading& reading);
  void add_route(std::string_view text, size_t before, Reading& reading);

  const std::filesystem::path path_;
  SecretFiles secrets_;
  std::unique_ptr<Former> former_;  // null: nothing was read in the fast way
  size_t read_anew_ = 0;
};

}  // namespace sluice::plan
