// ActiveHealth: what regular checks say of a replica. Not thread-safe: ReplicaState guards it.
#pragma once

#include "plan/plan.h"

namespace sluice::gateway {

class ActiveHealth {
 public:
  explicit ActiveHealth(plan::HealthPlan settings) : settings_(std::move(settings)) {}

  void configure(const plan::HealthPlan& settings) { settings_ = settings; }

  // `suspect`: requests fail too, so that one failed check is enough.
  void on_check(bool good, bool suspect = false) {
    row_ = good == last_good_ ? row_ + 1 : 1;
    last_good_ = good;
    if (good && row_ >= settings_.healthy_after) healthy_ = true;
    if (!good && (suspect || row_ >= settings_.unhealthy_after)) healthy_ = false;
    checked_ = true;
  }
  // A request could not even connect: no need to wait for the checks, which bring it back.
  void on_not_reached() {
    if (!settings_.active) return;
    healthy_ = false;
    last_good_ = false;
    row_ = settings_.unhealthy_after;
  }

  // Until the first check says otherwise a replica is taken for healthy.
  bool healthy() const { return healthy_ || !settings_.active; }
  bool checked() const { return checked_; }

 private:
  plan::HealthPlan settings_;
  bool healthy_ = true;
  bool checked_ = false;
  bool last_good_ = true;
  int row_ = 0;
};

}  // namespace sluice::gateway
