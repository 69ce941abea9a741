// Resume: a request whose answer began in another process, checked and set up to go on exactly.
//
// Pure functions; callable from any thread.
#pragma once

#include <cstddef>

#include "base/status.h"
#include "completion/request.h"
#include "engine/request.h"
#include "serving/loaded_model.h"

namespace sluice::serving {

// Refuses a resume that does not fit its own request (kInvalidArgument), and one that began under
// another numerics id or in a longer context than this model has (kFailedPrecondition, reason
// resume_mismatch), as its next tokens would be others than those of an undisturbed run; unless the
// request says that it takes them.
Outcome check_resume(const completion::Request& request, const LoadedModel& loaded);

// The context that bounds the answer: that of where it began, or this model's.
int context_of(const completion::Request& request, const LoadedModel& loaded);

// Puts the tokens that choice `index` has already behind the prompt of `one`. For a choice that is
// over the prompt becomes empty: nothing is left to compute.
void resume_choice(const completion::Resume& resume, size_t index, engine::Request& one);

}  // namespace sluice::serving
