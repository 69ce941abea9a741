// PaidSink: passes an answer on and counts its tokens, for the one who pays.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "completion/backend.h"
#include "gateway/quota.h"

namespace sluice::gateway {

// Settles when the answer ends, or when nobody holds the sink any more: what was told until then
// was used. `version` is asked for at that time.
class PaidSink final : public completion::ResponseSink {
 public:
  PaidSink(std::shared_ptr<completion::ResponseSink> inner, std::shared_ptr<Quota::Grant> grant,
           std::function<std::string()> version)
      : inner_(std::move(inner)), grant_(std::move(grant)), version_(std::move(version)) {}
  ~PaidSink() override { settle(); }

  void on_start(completion::PromptInfo info) override;
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override;
  void on_delta(completion::Delta delta) override;
  void on_done(const completion::Usage& usage) override;
  void on_error(const Status& status) override;

 private:
  void settle();

  const std::shared_ptr<completion::ResponseSink> inner_;
  const std::shared_ptr<Quota::Grant> grant_;
  const std::function<std::string()> version_;
  TokenUse used_;
};

}  // namespace sluice::gateway
