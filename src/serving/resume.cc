#include "serving/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

namespace sluice::serving {
namespace {

using completion::ChoiceProgress;
using completion::Request;
using completion::Resume;

std::unexpected<Status> bad(const std::string& what) {
  return invalid("resume: " + what, "resume");
}

// `most` is what fits behind the choice's prompt.
Outcome check_ended(const ChoiceProgress& choice, size_t index, int64_t most) {
  if (!choice.tokens.empty() || *choice.ended_after < 0) {
    return bad(fmt::format("choice {} has ended: expected its number of tokens alone", index));
  }
  if (*choice.ended_after <= most) return {};
  return bad(fmt::format("choice {} ended after {} tokens; this request allows {}", index,
                         *choice.ended_after, std::max<int64_t>(most, 0)));
}

Outcome check_ids(const ChoiceProgress& choice, size_t index, int vocab) {
  const auto outside = std::ranges::find_if(
      choice.tokens, [vocab](int32_t token) { return token < 0 || token >= vocab; });
  if (outside == choice.tokens.end()) return {};
  return bad(fmt::format("choice {} holds token id {}; this model's ids end at {}", index, *outside,
                         vocab - 1));
}

// The request's prompts and its choices' number were checked.
Outcome check_choices(const Request& request, const LoadedModel& loaded) {
  const std::vector<ChoiceProgress>& choices = request.resume->choices;
  const int length = context_of(request, loaded);
  for (size_t i = 0; i < choices.size(); ++i) {
    if (!choices[i].ended_after) {
      SLUICE_RETURN_IF_ERROR(check_ids(choices[i], i, loaded.source().config().vocab));
      continue;
    }
    const auto prompt = i / static_cast<size_t>(request.choices_per_prompt);
    int64_t most =
        length - std::ssize(std::get<completion::TokenPrompt>(request.prompts[prompt]).tokens);
    if (request.sampling.max_tokens) most = std::min<int64_t>(most, *request.sampling.max_tokens);
    SLUICE_RETURN_IF_ERROR(check_ended(choices[i], i, most));
  }
  return {};
}

// What must be settled by whoever began the answer, as it would be settled differently here.
Outcome check_settled(const Request& request) {
  if (!request.sampling.seed) return bad("the request needs the seed that it began with");
  if (request.truncate_prompt_tokens || request.echo) {
    return bad("a prompt cannot be truncated or echoed again");
  }
  for (const completion::Prompt& prompt : request.prompts) {
    if (!std::holds_alternative<completion::TokenPrompt>(prompt)) {
      return bad("prompts must be given as tokens");
    }
  }
  return {};
}

Outcome check_shape(const Request& request, const Resume& resume) {
  const size_t prompts = request.prompts.size();
  const size_t choices = prompts * static_cast<size_t>(request.choices_per_prompt);
  if (resume.choices.size() != choices || resume.prompt_logprobs_told.size() != prompts) {
    return bad(fmt::format("expected {} choices and {} prompts, found {} and {}", choices, prompts,
                           resume.choices.size(), resume.prompt_logprobs_told.size()));
  }
  const auto ended = [](const ChoiceProgress& choice) { return choice.ended_after.has_value(); };
  if (std::ranges::all_of(resume.choices, ended)) return bad("every choice has ended already");
  if (request.sampling.prompt_logprobs < 0) return {};
  for (size_t i = 0; i < prompts; ++i) {
    const ChoiceProgress& first =
        resume.choices[i * static_cast<size_t>(request.choices_per_prompt)];
    if (ended(first) && !resume.prompt_logprobs_told[i]) {
      return bad(fmt::format("the logprobs of prompt {} come before its first choice ends", i));
    }
  }
  return {};
}

Outcome check_numerics(const Resume& resume, const LoadedModel& loaded) {
  if (resume.fingerprint.empty() && resume.max_model_len == 0) return {};
  const auto mismatch = [](std::string message) {
    return fail(Code::kFailedPrecondition, std::move(message), "resume", "resume_mismatch");
  };
  const std::string own = loaded.fingerprint();
  if (resume.fingerprint != own) {
    return mismatch(fmt::format("resume: the answer began under numerics id {}; here it is {}",
                                resume.fingerprint.substr(0, 64), own));
  }
  if (resume.max_model_len > 0 && resume.max_model_len <= loaded.max_model_len()) return {};
  return mismatch(fmt::format("resume: the answer began in a context of {}; here it is {}",
                              resume.max_model_len, loaded.max_model_len()));
}

}  // namespace

Outcome check_resume(const Request& request, const LoadedModel& loaded) {
  const Resume& resume = *request.resume;
  SLUICE_RETURN_IF_ERROR(check_settled(request));
  SLUICE_RETURN_IF_ERROR(check_shape(request, resume));
  SLUICE_RETURN_IF_ERROR(check_numerics(resume, loaded));
  return check_choices(request, loaded);
}

int context_of(const Request& request, const LoadedModel& loaded) {
  const bool bound = request.resume && request.resume->max_model_len > 0;
  return bound ? request.resume->max_model_len : loaded.max_model_len();
}

void resume_choice(const Resume& resume, size_t index, engine::Request& one) {
  const ChoiceProgress& choice = resume.choices[index];
  if (choice.ended_after) {
    one.prompt.clear();
    return;
  }
  const auto per_prompt = resume.choices.size() / resume.prompt_logprobs_told.size();
  if (resume.prompt_logprobs_told[index / per_prompt]) one.sampling.prompt_logprobs = -1;
  one.prompt.insert(one.prompt.end(), choice.tokens.begin(), choice.tokens.end());
  one.resumed_tokens = static_cast<int>(choice.tokens.size());
}

}  // namespace sluice::serving
