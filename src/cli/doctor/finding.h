// What `sluice doctor` finds: one line for each thing that was looked at.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::cli {

enum class Health {
  kGood,
  kNote,  // works, and could be better
  kBad,   // something will not work
};
std::string_view health_word(Health health);  // ok, note, bad

struct Finding {
  std::string subject;  // "huge pages"
  Health health = Health::kGood;
  std::string found = {};
  std::string advice = {};  // what to do; empty where it is good
};

using Findings = std::vector<Finding>;

}  // namespace sluice::cli
